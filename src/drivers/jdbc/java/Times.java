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
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Dates and times of one column as the destination takes them (EXACTNESS.md §9). Values are asked for as java.time, which knows no zone
 * and no change of calendars; drivers that can't are asked for java.sql's types, which are exact because the process runs in UTC. A
 * server's own text is taken as it is where it is what the destination takes.
 */
final class Times {
  private static final LocalDateTime FIRST = LocalDateTime.of(1000, 1, 1, 0, 0);
  private static final LocalDateTime LAST = LocalDateTime.of(9999, 12, 31, 23, 59, 59, 999_999_000);
  /** The year 1 of java.sql's calendar, whose fields lose the era before it. */
  private static final long YEAR_ONE = -62_135_769_600_000L;
  private static final Pattern TIME = Pattern.compile("(-?\\d{1,3}:\\d\\d:\\d\\d(?:\\.\\d{1,6})?)(\\d*)");
  private static final Pattern ISO =
    Pattern.compile("(\\d{4})-(\\d\\d)-(\\d\\d)(?:[ T](\\d\\d:\\d\\d(?::\\d\\d(?:\\.\\d{1,9})?)?)Z?)?");

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
    if (value == null) unparsed(out, true);
    else if (value.equals(LocalDate.MAX)) write(out, LocalDateTime.MAX, true);
    else if (value.equals(LocalDate.MIN)) write(out, LocalDateTime.MIN, true);
    else write(out, value.atStartOfDay(), true);
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
    if (text == null) {
      out.nothing();
      return;
    }
    if (cell.asText) {
      if (!out.text(text)) throw row.unrepresentable(cell, text);
      return;
    }
    Matcher time = TIME.matcher(text);
    if (!time.matches()) throw row.unrepresentable(cell, text);
    for (int i = time.start(2); i < text.length(); i++)
      if (text.charAt(i) != '0') {
        row.replaced("fraction", cell, text);
        break;
      }
    out.plain(text, time.end(1));
  }

  /** Length of the part of a server's ISO text that the destination takes; 0: it takes none. Years from 1000 to 9999, moments in UTC. */
  static int plainLength(byte[] text, char kind) {
    int length = text.length;
    if (kind == 'Z') {
      length -= 3;
      if (length < 19 || text[length] != '+' || text[length + 1] != '0' || text[length + 2] != '0') return 0;
    }
    if (length < 10 || text[0] == '0' || text[4] != '-' || text[7] != '-') return 0;
    if (kind == 'D' ? length != 10 : length < 19 || length > 26 || text[10] != ' ') return 0;
    // With a year of more digits, and with an era behind it, there is another sign in one of these places.
    for (int i = 0; i < length; i++) {
      byte b = text[i];
      if ((b < '0' || b > '9') && i != 4 && i != 7 && i != 10 && i != 13 && i != 16 && (i != 19 || b != '.')) return 0;
    }
    return length;
  }

  @SuppressWarnings("unchecked")
  private <T> T get(Class<T> type) throws SQLException {
    ResultSet values = row.values;
    if (!oldDriver && !cell.sqlite)
      try {
        T value = values.getObject(cell.place, type);
        newDriver |= value != null;
        return value;
      } catch (DateTimeException noDate) {
        return null;
      } catch (SQLException | AbstractMethodError | UnsupportedOperationException unknown) {
        if (newDriver) return null;
      }
    Object raw;
    try {
      raw = values.getObject(cell.place);
    } catch (SQLException | RuntimeException noDate) {
      // It knows the type, but not this value: MySQL's zero dates.
      return null;
    }
    // SQLite has no dates: a text is taken as it is.
    if (raw == null || raw instanceof String || raw instanceof byte[]) return null;
    oldDriver = true;
    // What a number means to SQLite is the driver's to say (its parameter `date_precision`).
    Timestamp stamp = raw instanceof Timestamp ? (Timestamp) raw : raw instanceof Date ? null : values.getTimestamp(cell.place);
    LocalDateTime time;
    if (stamp == null)
      time = ((Date) raw).getTime() < YEAR_ONE ? fields((Date) raw) : ((Date) raw).toLocalDate().atStartOfDay();
    else time = stamp.getTime() < YEAR_ONE ? fields(stamp) : stamp.toLocalDateTime();
    if (type == LocalDate.class) {
      if (!time.toLocalTime().equals(LocalTime.MIDNIGHT)) return null;
      return (T) time.toLocalDate();
    }
    return type == LocalDateTime.class ? (T) time : (T) time.atOffset(ZoneOffset.UTC);
  }

  private static LocalDateTime fields(java.util.Date early) {
    return Instant.ofEpochMilli(early.getTime()).atOffset(ZoneOffset.UTC).toLocalDateTime();
  }

  /**
   * NULL, or what is no date to the driver: MySQL's zero dates, and SQLite's texts. Repaired as the documented rules say: the years 0 to 999
   * gain 1000; a month or a day 00 becomes 01; a day past the month's end becomes the last one.
   */
  private void unparsed(LoadText out, boolean day) throws SQLException, IOException, Refused {
    String text = row.values.getString(cell.place);
    if (text == null) {
      out.nothing();
      return;
    }
    if (cell.asText) {
      if (!out.text(text)) throw row.unrepresentable(cell, text);
      return;
    }
    Matcher iso = ISO.matcher(text);
    if (!iso.matches()) throw row.unrepresentable(cell, text);
    int year = Integer.parseInt(iso.group(1));
    int month = Integer.parseInt(iso.group(2));
    int dayOfMonth = Integer.parseInt(iso.group(3));
    LocalTime time;
    LocalDate date;
    try {
      time = iso.group(4) == null ? LocalTime.MIDNIGHT : LocalTime.parse(iso.group(4));
      date = LocalDate.of(year < 1000 ? year + 1000 : year, Math.max(month, 1), 1);
    } catch (DateTimeException none) {
      throw row.unrepresentable(cell, text);
    }
    if (dayOfMonth > 31 || day && !time.equals(LocalTime.MIDNIGHT)) throw row.unrepresentable(cell, text);
    date = date.withDayOfMonth(Math.min(Math.max(dayOfMonth, 1), date.lengthOfMonth()));
    if (date.getYear() != year || date.getMonthValue() != month || date.getDayOfMonth() != dayOfMonth)
      row.replaced("date_repair", cell, text);
    write(out, date.atTime(time), day);
  }

  private void write(LoadText out, LocalDateTime value, boolean day) throws IOException, Refused {
    int year = value.getYear();
    if (year >= 1000 && year <= 9999) {
      if (value.getNano() % 1000 == 0 || cell.asText) {
        digits(out, value, day);
        return;
      }
      row.replaced("fraction", cell, shown(value, day));
      digits(out, value.withNano(value.getNano() / 1000 * 1000), day);
    } else if (cell.asText) {
      out.plain(shown(value, day));
    } else if (year > 9999) {
      row.replaced("date_range", cell, shown(value, day));
      digits(out, LAST, day);
    } else if (year < 1) {
      // Year 0 is 1 BC to java.time; MySQL's year 0 comes as a text.
      row.replaced("date_range", cell, shown(value, day));
      digits(out, FIRST, day);
    } else {
      row.replaced("date_repair", cell, shown(value, day));
      // Of the years 1 to 999, only 400 and 800 are leap years whose counterpart is none: their 29th of February becomes the 28th.
      digits(out, value.plusYears(1000), day);
    }
  }

  /** As people read it, of any year. */
  private static String shown(LocalDateTime value, boolean day) {
    if (value.equals(LocalDateTime.MAX)) return "infinity";
    if (value.equals(LocalDateTime.MIN)) return "-infinity";
    return day ? value.toLocalDate().toString() : value.toLocalDate() + " " + DateTimeFormatter.ISO_LOCAL_TIME.format(value);
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
