import java.io.IOException;
import java.io.InputStream;
import java.io.Reader;
import java.sql.SQLException;

/** Reads large objects by pieces. What fails in them is the database's error, not one of this process's own pipes. */
final class Streams {
  private Streams() {}

  /** So many bytes have come; -1: the end. */
  static int some(InputStream in, byte[] into) throws SQLException {
    try {
      return in.read(into);
    } catch (IOException broken) {
      throw new SQLException("a large object can't be read: " + broken.getMessage(), broken);
    }
  }

  /** So many characters have come behind the first `kept`; -1: the end. */
  static int some(Reader in, char[] into, int kept) throws SQLException {
    try {
      return in.read(into, kept, into.length - kept);
    } catch (IOException broken) {
      throw new SQLException("a large object can't be read: " + broken.getMessage(), broken);
    }
  }
}
