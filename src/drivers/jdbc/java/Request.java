import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** A request's fields in their order: an operation, then numbers (4 bytes, big-endian) and texts (a length, -1 for null, and UTF-8). */
final class Request {
  private final ByteBuffer fields;
  private final char operation;

  Request(byte[] payload) {
    fields = ByteBuffer.wrap(payload);
    operation = (char) fields.get();
  }

  char operation() {
    return operation;
  }

  int number() {
    return fields.getInt();
  }

  String text() {
    int length = fields.getInt();
    if (length < 0) return null;
    byte[] bytes = new byte[length];
    fields.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  String[] texts() {
    String[] all = new String[number()];
    for (int i = 0; i < all.length; i++) all[i] = text();
    return all;
  }
}
