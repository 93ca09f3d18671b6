import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.FileOutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.sql.SQLException;
import java.util.List;

/**
 * Frames on standard output: a letter, the payload's length (4 bytes), the payload. `T` a table of texts, `D` load text (4 bytes: rows
 * that end in it), `F` the final record of a reading (8 bytes: rows in all, then uses of rules), `E` an error. A reading without `F` or
 * `E` has been cut.
 */
final class Replies {
  /** Longer than what people are shown: a secret is taken out before a message is cut (failure.ts). */
  private static final int LONGEST = 100_000;

  private final FileChannel out;

  Replies(FileOutputStream out) {
    // A stream takes memory from the system for each write of more than 8 KB.
    this.out = out.getChannel();
  }

  void table(List<String[]> rows) throws IOException {
    Fields fields = new Fields();
    fields.number(rows.size());
    for (String[] row : rows) {
      fields.number(row.length);
      for (String cell : row) fields.text(cell);
    }
    send('T', fields);
  }

  /** Sends a buffer whose first LoadText.HEAD bytes are free for the frame's head. */
  void data(byte[] buffer, int length, int rows) throws IOException {
    buffer[0] = 'D';
    putInt(buffer, 1, length - 5);
    putInt(buffer, 5, rows);
    write(buffer, length);
  }

  void end(long rows, List<String[]> uses) throws IOException {
    Fields fields = new Fields();
    fields.data.writeLong(rows);
    fields.number(uses.size());
    for (String[] use : uses) {
      fields.number(use.length);
      for (String cell : use) fields.text(cell);
    }
    send('F', fields);
  }

  /** Kind, class, SQL state, vendor's number, and the messages of the error and of its causes. */
  void error(String kind, Throwable error) throws IOException {
    Fields fields = new Fields();
    fields.text(kind);
    fields.text(error.getClass().getName());
    SQLException sql = firstSql(error);
    fields.text(sql == null || sql.getSQLState() == null ? "" : sql.getSQLState());
    fields.text(sql == null ? "" : String.valueOf(sql.getErrorCode()));
    StringBuilder messages = new StringBuilder();
    int depth = 0;
    for (Throwable one = error; one != null && depth < 5; one = one.getCause(), depth++) {
      String message = one.getMessage() == null ? one.getClass().getSimpleName() : one.getMessage();
      if (messages.indexOf(message) < 0) messages.append(messages.length() == 0 ? "" : ": ").append(message);
    }
    fields.text(messages.length() > LONGEST ? messages.substring(0, LONGEST) : messages.toString());
    send('E', fields);
  }

  private static SQLException firstSql(Throwable error) {
    for (Throwable one = error; one != null; one = one.getCause()) if (one instanceof SQLException) return (SQLException) one;
    return null;
  }

  private void send(char type, Fields fields) throws IOException {
    byte[] payload = fields.bytes.toByteArray();
    byte[] frame = new byte[payload.length + 5];
    frame[0] = (byte) type;
    putInt(frame, 1, payload.length);
    System.arraycopy(payload, 0, frame, 5, payload.length);
    write(frame, frame.length);
  }

  private void write(byte[] bytes, int length) throws IOException {
    ByteBuffer left = ByteBuffer.wrap(bytes, 0, length);
    while (left.hasRemaining()) out.write(left);
  }

  private static void putInt(byte[] to, int at, int value) {
    to[at] = (byte) (value >>> 24);
    to[at + 1] = (byte) (value >>> 16);
    to[at + 2] = (byte) (value >>> 8);
    to[at + 3] = (byte) value;
  }

  private static final class Fields {
    final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    final DataOutputStream data = new DataOutputStream(bytes);

    void number(int value) throws IOException {
      data.writeInt(value);
    }

    void text(String text) throws IOException {
      if (text == null) {
        data.writeInt(-1);
        return;
      }
      byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
      data.writeInt(utf8.length);
      data.write(utf8);
    }
  }
}
