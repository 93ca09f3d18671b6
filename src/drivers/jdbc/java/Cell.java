import java.io.IOException;
import java.io.InputStream;
import java.io.Reader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Blob;
import java.sql.Clob;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.regex.Pattern;

/**
 * How one column becomes load text. Encodings are letters (types.ts). Flags: `k` key column, `t` text at the destination, where no rule is
 * needed, `r` SQLite, which keeps any value in any column, `p` the driver's bytes of a value are the server's text of it, dates in ISO form, `s` and
 * the digits that the destination keeps after the point.
 */
final class Cell {
  static final char MASKED = 'm';
  private static final Pattern NUMBER = Pattern.compile("-?\\d{1,1000}(\\.\\d{1,1000})?([eE][+-]?\\d{1,3})?");
  private static final int PIECE = 8192;
  private static final int COMPARED = 8;

  final String name;
  final boolean key;
  final boolean asText;
  final boolean sqlite;
  private boolean printed;
  private int compared;
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
    sqlite = flags.indexOf('r') >= 0;
    printed = flags.indexOf('p') >= 0 && "nDSZto".indexOf(encoding) >= 0;
    scale = flags.indexOf('s') < 0 ? -1 : Integer.parseInt(flags.substring(flags.indexOf('s') + 1));
    times = new Times(row, this);
  }

  /** Writes the current row's value; its rough size in bytes. */
  long write(LoadText out) throws SQLException, IOException, Refused {
    ResultSet values = row.values;
    if (printed) {
      byte[] bytes = values.getBytes(place);
      if (bytes == null) {
        out.nothing();
        return 2;
      }
      if (agrees(bytes) && printed(out, bytes)) return bytes.length;
    }
    switch (encoding) {
      case MASKED:
        out.nothing();
        return 2;
      case 'y':
        int year = values.getInt(place);
        if (values.wasNull()) out.nothing();
        // With fewer digits it would be another year to the destination: 0 is 2000.
        else out.padded(year, 4);
        return 4;
      case 'b':
        boolean flag = values.getBoolean(place);
        if (values.wasNull()) out.nothing();
        else out.sign(flag ? '1' : '0');
        return 1;
      case 'n':
        return number(out, values.getObject(place));
      case 'x':
        return bytes(out, values.getBytes(place));
      case 'X':
        return blob(out, values.getBlob(place));
      case 'c':
        return clob(out, values.getClob(place));
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
        return text(out, values.getString(place));
    }
  }

  /** That the driver's bytes are the text of a value is shown by the first ones of each column; else they are left alone. */
  private boolean agrees(byte[] bytes) throws SQLException {
    if (compared == COMPARED) return true;
    compared++;
    printed = new String(bytes, StandardCharsets.UTF_8).equals(row.values.getString(place));
    return printed;
  }

  /** Writes the server's own text of a value where that is what the destination takes; false: it is not, and nothing is written. */
  private boolean printed(LoadText out, byte[] bytes) throws IOException, Refused {
    switch (encoding) {
      case 'n':
        if (!isPlainNumber(bytes)) return false;
        out.plain(bytes, bytes.length);
        return true;
      case 'D':
      case 'S':
      case 'Z':
        int length = Times.plainLength(bytes, encoding);
        if (length > 0) out.plain(bytes, length);
        return length > 0;
      default:
        if (scale >= 0 && !asText) return false;
        if (!out.utf8(bytes)) throw row.unrepresentable(this, "(a text that is not UTF-8)");
        return true;
    }
  }

  /** NaN and Infinity are none, and neither are more digits after the point than the destination keeps. */
  private boolean isPlainNumber(byte[] bytes) {
    int point = bytes.length;
    for (int i = 0; i < bytes.length; i++) {
      byte b = bytes[i];
      if (b >= '0' && b <= '9' || b == '-') continue;
      if (b == '.') point = i;
      else if (scale >= 0 || b != 'e' && b != '+') return false;
    }
    return scale < 0 || bytes.length - point - 1 <= scale;
  }

  private long number(LoadText out, Object value) throws SQLException, IOException, Refused {
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
    else if (value instanceof byte[]) throw row.unrepresentable(this, "(bytes)");
    else return asText ? text(out, value.toString()) : numberText(out, value.toString());
    return 10;
  }

  /** A text in a column of numbers. The destination would take its beginning, or round it, without a word. */
  private long numberText(LoadText out, String text) throws IOException, Refused {
    if (!NUMBER.matcher(text).matches()) throw row.unrepresentable(this, "'" + text + "'");
    if (scale >= 0) decimal(out, new BigDecimal(text));
    else out.plain(text);
    return text.length();
  }

  /** Refuses digits that the destination would round away without a word. */
  private void decimal(LoadText out, BigDecimal value) throws IOException, Refused {
    if (scale >= 0 && value.scale() > scale && value.stripTrailingZeros().scale() > scale)
      throw row.unrepresentable(this, value.toPlainString());
    out.plain(value.toPlainString());
  }

  private long text(LoadText out, String value) throws SQLException, IOException, Refused {
    if (value == null) {
      out.nothing();
      return 2;
    }
    if (scale >= 0 && !asText) return numberText(out, value);
    if (encoding == 'o' && isHandle(value)) throw row.unrepresentable(this, value);
    if (sqlite && value.indexOf('\uFFFD') >= 0 && !isWhole(value)) throw row.unrepresentable(this, "(a text that is not UTF-8)");
    if (!out.text(value)) throw halfPair();
    return value.length();
  }

  private Refused halfPair() {
    return row.unrepresentable(this, "(a text with half of a surrogate pair)");
  }

  /** SQLite keeps any bytes as a text, and its driver puts U+FFFD in the place of those that are none. */
  private boolean isWhole(String value) throws SQLException {
    byte[] kept = row.values.getBytes(place);
    return Arrays.equals(kept, value.getBytes(StandardCharsets.UTF_8))
      || Arrays.equals(kept, value.getBytes(StandardCharsets.UTF_16LE))
      || Arrays.equals(kept, value.getBytes(StandardCharsets.UTF_16BE));
  }

  /** What Object.toString prints: the driver has no text for the value. */
  private boolean isHandle(String value) throws SQLException {
    int at = value.lastIndexOf('@');
    if (at < 0) return false;
    Object object = row.values.getObject(place);
    return object != null && value.regionMatches(0, object.getClass().getName() + "@", 0, at + 1);
  }

  private static long bytes(LoadText out, byte[] value) throws IOException {
    if (value == null) {
      out.nothing();
      return 2;
    }
    out.hex(value, value.length);
    return 2L * value.length;
  }

  private static long blob(LoadText out, Blob blob) throws SQLException, IOException {
    if (blob == null) {
      out.nothing();
      return 2;
    }
    byte[] piece = new byte[PIECE];
    long size = 0;
    InputStream in = blob.getBinaryStream();
    for (int some; (some = Streams.some(in, piece)) >= 0; size += some) out.hex(piece, some);
    Session.tolerate(in::close);
    Session.tolerate(blob::free);
    return size;
  }

  private long clob(LoadText out, Clob clob) throws SQLException, IOException, Refused {
    if (clob == null) {
      out.nothing();
      return 2;
    }
    char[] piece = new char[PIECE];
    long size = 0;
    int kept = 0;
    Reader in = clob.getCharacterStream();
    for (int some; (some = Streams.some(in, piece, kept)) >= 0; size += some) {
      int end = kept + some;
      // The second half of a pair comes with the next piece.
      kept = end > 0 && Character.isHighSurrogate(piece[end - 1]) ? 1 : 0;
      if (!out.text(new String(piece, 0, end - kept))) throw halfPair();
      if (kept == 1) piece[0] = piece[end - 1];
    }
    if (kept == 1) throw halfPair();
    Session.tolerate(in::close);
    Session.tolerate(clob::free);
    return size;
  }
}
