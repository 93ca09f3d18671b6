import java.io.IOException;
import java.math.BigDecimal;
import java.sql.Blob;
import java.sql.Clob;
import java.sql.ResultSet;
import java.sql.SQLException;

/** How one column becomes load text. Encodings are letters (cells.ts). Flags: `k` key column, `t` text at the destination, where no rule is needed, `r` values as they are kept (SQLite's driver misreads fractions of seconds in texts), `s` and the digits that it keeps after the point. */
final class Cell {
  static final char MASKED = 'm';

  final String name;
  final boolean key;
  final boolean asText;
  final boolean raw;
  /** Column of the statement, from 1. */
  final int place;
  /** Digits that the destination keeps after the point; -1: all. */
  private final int scale;
  private final Row row;
  private final char encoding;
  private final Times times;

  Cell(Row row, char encoding, int place, String name, String flags) {
    this.row = row;
    this.encoding = encoding;
    this.place = place;
    this.name = name;
    key = flags.indexOf('k') >= 0;
    asText = flags.indexOf('t') >= 0;
    raw = flags.indexOf('r') >= 0;
    scale = flags.indexOf('s') < 0 ? -1 : Integer.parseInt(flags.substring(flags.indexOf('s') + 1));
    times = new Times(row, this);
  }

  /** Writes the current row's value; its rough size in bytes. */
  long write(LoadText out) throws SQLException, IOException, Refused {
    ResultSet values = row.values;
    switch (encoding) {
      case MASKED:
        out.nothing();
        return 2;
      case 'l':
        long number = values.getLong(place);
        if (values.wasNull()) out.nothing();
        else out.number(number);
        return 8;
      case 'b':
        boolean flag = values.getBoolean(place);
        if (values.wasNull()) out.nothing();
        else out.sign(flag ? '1' : '0');
        return 1;
      case 'n':
        return number(out, values.getObject(place));
      case 'x':
      case 'X':
        return binary(out, bytes(values));
      case 'D':
        times.date(out);
        return 10;
      case 'S':
        times.timestamp(out);
        return 26;
      case 'Z':
        times.instant(out);
        return 26;
      case 'T':
        times.time(out);
        return 15;
      default:
        return text(out, string(values));
    }
  }

  private long number(LoadText out, Object value) throws IOException, Refused {
    if (value == null) out.nothing();
    else if (value instanceof Long || value instanceof Integer || value instanceof Short || value instanceof Byte)
      out.number(((Number) value).longValue());
    else if (value instanceof BigDecimal) decimal(out, (BigDecimal) value);
    else if (value instanceof Double || value instanceof Float) {
      double number = ((Number) value).doubleValue();
      boolean finite = !Double.isNaN(number) && !Double.isInfinite(number);
      if (finite && scale >= 0) decimal(out, new BigDecimal(value.toString()));
      else if (finite || asText) out.plain(value.toString());
      else {
        row.replaced("not_a_number", this, value.toString());
        out.nothing();
      }
    } else if (value instanceof Boolean) out.sign((Boolean) value ? '1' : '0');
    // SQLite keeps any text in a column of numbers: the destination judges it.
    else if (value instanceof byte[]) throw row.unrepresentable(this, "(bytes)");
    else return text(out, value.toString());
    return 10;
  }

  /** Refuses digits that the destination would round away without a word. */
  private void decimal(LoadText out, BigDecimal value) throws IOException, Refused {
    if (scale >= 0 && value.scale() > scale && value.stripTrailingZeros().scale() > scale)
      throw row.unrepresentable(this, value.toPlainString());
    out.plain(value.toPlainString());
  }

  private long text(LoadText out, String value) throws IOException, Refused {
    if (value == null) {
      out.nothing();
      return 2;
    }
    if (encoding == 'o' && isHandle(value)) throw row.unrepresentable(this, value);
    if (!out.text(value)) throw row.unrepresentable(this, "(a text with half of a surrogate pair)");
    return value.length();
  }

  /** What Object.toString prints: the driver has no text for the value. */
  private static boolean isHandle(String value) {
    return value.length() < 200 && value.matches("\\[*[\\w.$]+;?@[0-9a-f]{1,8}");
  }

  private long binary(LoadText out, byte[] value) throws IOException {
    if (value == null) {
      out.nothing();
      return 2;
    }
    out.hex(value);
    return 2L * value.length;
  }

  private String string(ResultSet values) throws SQLException {
    if (encoding != 'c') return values.getString(place);
    Clob clob = values.getClob(place);
    return clob == null ? null : clob.getSubString(1, length(clob.length()));
  }

  private byte[] bytes(ResultSet values) throws SQLException {
    if (encoding != 'X') return values.getBytes(place);
    Blob blob = values.getBlob(place);
    return blob == null ? null : blob.getBytes(1, length(blob.length()));
  }

  private static int length(long length) throws SQLException {
    if (length > Integer.MAX_VALUE - 16) throw new SQLException("a value of " + length + " bytes is longer than Java's texts");
    return (int) length;
  }
}
