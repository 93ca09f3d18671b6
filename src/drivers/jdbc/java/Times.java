import java.io.IOException;
import java.sql.Date;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Timestamp;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;

/**
 * Dates and times of one column as the destination takes them (EXACTNESS.md §9). Values are asked for as java.time, which knows no zone
 * and no change of calendars; drivers that can't are asked for java.sql's types, which are exact because the process runs in UTC.
 */
final class Times {
  private static final LocalDateTime FIRST = LocalDateTime.of(1000, 1, 1, 0, 0);
  private static final LocalDateTime LAST = LocalDateTime.of(9999, 12, 31, 23, 59, 59, 999_999_000);

  private final Row row;
  private final Cell cell;
  /** The driver has given a java.time value, or has shown that it can't. */
  private boolean newDriver;
  private boolean oldDriver;

  Times(Row row, Cell cell) {
    this.row = row;
    this.cell = cell;
  }

  void date(LoadText out) throws SQLException, IOException, Refused {
    LocalDate value = get(LocalDate.class);
    if (value != null) write(out, value.equals(LocalDate.MAX) ? LocalDateTime.MAX : value.equals(LocalDate.MIN) ? LocalDateTime.MIN : value.atStartOfDay(), true);
    else unparsed(out, true);
  }

  void timestamp(LoadText out) throws SQLException, IOException, Refused {
    LocalDateTime value = get(LocalDateTime.class);
    if (value != null) write(out, value, false);
    else unparsed(out, false);
  }

  /** A moment, in UTC. */
  void instant(LoadText out) throws SQLException, IOException, Refused {
    OffsetDateTime value = get(OffsetDateTime.class);
    if (value == null) unparsed(out, false);
    else if (value.equals(OffsetDateTime.MAX)) write(out, LocalDateTime.MAX, false);
    else if (value.equals(OffsetDateTime.MIN)) write(out, LocalDateTime.MIN, false);
    else write(out, value.withOffsetSameInstant(ZoneOffset.UTC).toLocalDateTime(), false);
  }

  /** As the driver prints it, where that is a time: java.time has no 24:00:00, and no hours beyond. */
  void time(LoadText out) throws SQLException, IOException, Refused {
    String text = row.values.getString(cell.place);
    if (text == null) out.nothing();
    else if (text.matches("-?\\d{1,3}:\\d\\d:\\d\\d(\\.\\d{1,6}0*)?") || cell.asText) out.plain(text);
    else if (text.matches("-?\\d+")) {
      LocalTime time = row.values.getTime(cell.place).toLocalTime();
      out.plain(time.getSecond() == 0 ? time + ":00" : time.toString());
    } else throw row.unrepresentable(cell, text);
  }

  @SuppressWarnings("unchecked")
  private <T> T get(Class<T> type) throws SQLException {
    ResultSet values = row.values;
    if (!oldDriver && !cell.raw)
      try {
        T value = values.getObject(cell.place, type);
        newDriver |= value != null;
        return value;
      } catch (DateTimeException noDate) {
        return null;
      } catch (SQLException | AbstractMethodError | UnsupportedOperationException unknown) {
        if (newDriver) return null;
        oldDriver = true;
      }
    Object raw = values.getObject(cell.place);
    // SQLite has no dates: a text is taken as it is, a number is milliseconds since 1970, as its driver writes them.
    if (raw == null || raw instanceof String || raw instanceof byte[]) return null;
    Object value;
    if (raw instanceof Number) value = Instant.ofEpochMilli(((Number) raw).longValue()).atOffset(ZoneOffset.UTC).toLocalDateTime();
    else if (raw instanceof Timestamp) value = ((Timestamp) raw).toLocalDateTime();
    else if (raw instanceof Date) value = ((Date) raw).toLocalDate().atStartOfDay();
    else value = values.getTimestamp(cell.place).toLocalDateTime();
    LocalDateTime time = (LocalDateTime) value;
    if (type == LocalDate.class) return (T) time.toLocalDate();
    return type == LocalDateTime.class ? (T) time : (T) time.atOffset(ZoneOffset.UTC);
  }

  /** NULL, or what is no date to the driver: MySQL's zero dates, and SQLite's texts. */
  private void unparsed(LoadText out, boolean day) throws SQLException, IOException, Refused {
    String text = row.values.getString(cell.place);
    if (text == null) {
      out.nothing();
      return;
    }
    if (text.matches("\\d{4}-\\d\\d-\\d\\d.*")) {
      String whole = text.length() == 10 ? text + "T00:00:00" : text.replaceFirst("[ T]", "T").replaceFirst("Z$", "");
      try {
        LocalDateTime value = LocalDateTime.parse(whole);
        if (value.getYear() != 0 || cell.asText) write(out, value, day);
        else repaired(out, text, value, day);
        return;
      } catch (DateTimeException none) {
        // A day or a month that the calendar lacks.
      }
      if (whole.matches("\\d{4}-(00-\\d\\d|\\d\\d-00)T[\\d:.]+")) {
        String mended = whole.replaceFirst("-00", "-01").replaceFirst("-00T", "-01T");
        repaired(out, text, LocalDateTime.parse(whole.startsWith("0000-00-00") ? "1000-01-01T00:00:00" : mended), day);
        return;
      }
    }
    if (cell.asText) out.text(text);
    else throw row.unrepresentable(cell, text);
  }

  private void repaired(LoadText out, String text, LocalDateTime value, boolean day) throws IOException, Refused {
    row.replaced("date_repair", cell, text);
    digits(out, value.getYear() < 1000 ? later(value) : value, day);
  }

  private void write(LoadText out, LocalDateTime value, boolean day) throws IOException, Refused {
    int year = value.getYear();
    if (year >= 1000 && year <= 9999) {
      if (value.getNano() % 1000 != 0 && !cell.asText) throw row.unrepresentable(cell, shown(value, day));
      digits(out, value, day);
    } else if (cell.asText) {
      out.plain(shown(value, day));
    } else if (year > 9999) {
      row.replaced("date_range", cell, shown(value, day));
      digits(out, LAST, day);
    } else if (year < 1 && year != 0) {
      row.replaced("date_range", cell, shown(value, day));
      digits(out, FIRST, day);
    } else {
      // Year 0 is 1 BC to java.time, and MySQL's year 0 comes as a text.
      row.replaced(year == 0 ? "date_range" : "date_repair", cell, shown(value, day));
      digits(out, year == 0 ? FIRST : later(value), day);
    }
  }

  /** As people read it, of any year. */
  private static String shown(LocalDateTime value, boolean day) {
    if (value.equals(LocalDateTime.MAX)) return "infinity";
    if (value.equals(LocalDateTime.MIN)) return "-infinity";
    return day ? value.toLocalDate().toString() : value.toLocalDate() + " " + DateTimeFormatter.ISO_LOCAL_TIME.format(value);
  }

  /** Of the years 1 to 999, only 400 and 800 are leap years whose counterpart is none: their 29th of February becomes the 28th. */
  private static LocalDateTime later(LocalDateTime value) {
    return value.plusYears(1000);
  }

  private static void digits(LoadText out, LocalDateTime value, boolean day) throws IOException {
    out.padded(value.getYear(), 4);
    out.sign('-');
    out.padded(value.getMonthValue(), 2);
    out.sign('-');
    out.padded(value.getDayOfMonth(), 2);
    if (day) return;
    out.sign(' ');
    out.padded(value.getHour(), 2);
    out.sign(':');
    out.padded(value.getMinute(), 2);
    out.sign(':');
    out.padded(value.getSecond(), 2);
    if (value.getNano() == 0) return;
    out.sign('.');
    if (value.getNano() % 1000 == 0) out.padded(value.getNano() / 1000, 6);
    else out.padded(value.getNano(), 9);
  }
}
