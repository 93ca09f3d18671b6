import java.io.IOException;

/**
 * Load text on its way: fields end in a tab, rows in a newline, NULL is \N; tab, newline, carriage return, NUL and backslash are escaped
 * (src/drivers/load-text.ts). Sends itself in pieces that need not end with a row, so that a cell of any size takes no memory here.
 */
final class LoadText {
  /** Bytes in front of every piece for the frame's head (Replies.data). */
  static final int HEAD = 9;
  private static final int PIECE = 256 * 1024;
  private static final int BLOCK = 8192;
  private static final byte[] DIGITS = "0123456789ABCDEF".getBytes();

  private final Replies replies;
  private final byte[] buffer = new byte[HEAD + PIECE + BLOCK * 3 + 4];
  private int at = HEAD;
  private int rows;

  LoadText(Replies replies) {
    this.replies = replies;
  }

  void tab() throws IOException {
    room(1);
    buffer[at++] = '\t';
  }

  void endRow() throws IOException {
    room(1);
    buffer[at++] = '\n';
    rows++;
    if (at >= PIECE) flush();
  }

  void nothing() throws IOException {
    room(2);
    buffer[at++] = '\\';
    buffer[at++] = 'N';
  }

  void flush() throws IOException {
    if (at == HEAD && rows == 0) return;
    replies.data(buffer, at, rows);
    at = HEAD;
    rows = 0;
  }

  void number(long value) throws IOException {
    room(20);
    if (value == Long.MIN_VALUE) {
      plain("-9223372036854775808");
      return;
    }
    long left = value;
    if (left < 0) {
      buffer[at++] = '-';
      left = -left;
    }
    int width = 1;
    for (long rest = left; rest >= 10; rest /= 10) width++;
    for (int i = at + width - 1; i >= at; i--, left /= 10) buffer[i] = (byte) ('0' + left % 10);
    at += width;
  }

  /** A number of so many digits, zeros in front. */
  void padded(int value, int width) throws IOException {
    room(width);
    int left = value;
    for (int i = at + width - 1; i >= at; i--, left /= 10) buffer[i] = (byte) ('0' + left % 10);
    at += width;
  }

  /** ASCII that needs no escaping. */
  void plain(String text) throws IOException {
    plain(text, text.length());
  }

  void plain(String text, int length) throws IOException {
    for (int from = 0; from < length; from += BLOCK) {
      int to = Math.min(from + BLOCK, length);
      room(to - from);
      byte[] into = buffer;
      int p = at;
      for (int i = from; i < to; i++) into[p++] = (byte) text.charAt(i);
      at = p;
    }
  }

  /** ASCII that needs no escaping. */
  void plain(byte[] text, int length) throws IOException {
    for (int from = 0; from < length; from += BLOCK) {
      int some = Math.min(BLOCK, length - from);
      room(some);
      System.arraycopy(text, from, buffer, at, some);
      at += some;
    }
  }

  /** A text that is UTF-8 already, escaped. False when it is none; what is written then is of no use. */
  boolean utf8(byte[] text) throws IOException {
    int length = text.length;
    for (int from = 0; from < length; ) {
      int to = Math.min(from + BLOCK, length);
      room(2 * (to - from) + 4);
      byte[] into = buffer;
      int p = at;
      int i = from;
      while (i < to) {
        byte b = text[i];
        if (b >= 14 && b != '\\') {
          into[p++] = b;
          i++;
        } else if (b >= 0) {
          at = p;
          escape((char) b);
          p = at;
          i++;
        } else {
          int width = width(text, i);
          if (width == 0) return false;
          for (int end = i + width; i < end; ) into[p++] = text[i++];
        }
      }
      at = p;
      from = i;
    }
    return true;
  }

  /** Bytes of the character that begins here, of more than one; 0: there is none. */
  private static int width(byte[] text, int at) {
    int lead = text[at] & 0xff;
    int width = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (at + width > text.length) return 0;
    for (int i = at + 1; i < at + width; i++) if ((text[i] & 0xc0) != 0x80) return 0;
    int second = width == 0 ? 0 : text[at + 1] & 0xff;
    boolean wrong = lead == 0xe0 && second < 0xa0 || lead == 0xed && second > 0x9f || lead == 0xf0 && second < 0x90 || lead == 0xf4 && second > 0x8f;
    return wrong ? 0 : width;
  }

  void sign(char ascii) throws IOException {
    room(1);
    buffer[at++] = (byte) ascii;
  }

  void hex(byte[] bytes, int length) throws IOException {
    for (int from = 0; from < length; from += BLOCK) {
      int to = Math.min(from + BLOCK, length);
      room(2 * (to - from));
      for (int i = from; i < to; i++) {
        buffer[at++] = DIGITS[(bytes[i] >> 4) & 15];
        buffer[at++] = DIGITS[bytes[i] & 15];
      }
    }
  }

  /** Any text as UTF-8, escaped. False when it is none: half of a surrogate pair, which no UTF-8 can hold. */
  boolean text(String text) throws IOException {
    int length = text.length();
    for (int from = 0; from < length; ) {
      int to = Math.min(from + BLOCK, length);
      room(3 * (to - from) + 4);
      int i = from;
      while (i < to) {
        i = ascii(text, i, to);
        if (i == to) break;
        char c = text.charAt(i++);
        if (c < 0x80) {
          escape(c);
        } else if (c < 0x800) {
          buffer[at++] = (byte) (0xc0 | c >> 6);
          buffer[at++] = (byte) (0x80 | c & 0x3f);
        } else if (c < 0xd800 || c > 0xdfff) {
          buffer[at++] = (byte) (0xe0 | c >> 12);
          buffer[at++] = (byte) (0x80 | c >> 6 & 0x3f);
          buffer[at++] = (byte) (0x80 | c & 0x3f);
        } else {
          if (c > 0xdbff || i == length || !Character.isLowSurrogate(text.charAt(i))) return false;
          int point = Character.toCodePoint(c, text.charAt(i++));
          buffer[at++] = (byte) (0xf0 | point >> 18);
          buffer[at++] = (byte) (0x80 | point >> 12 & 0x3f);
          buffer[at++] = (byte) (0x80 | point >> 6 & 0x3f);
          buffer[at++] = (byte) (0x80 | point & 0x3f);
        }
      }
      from = i;
    }
    return true;
  }

  /** Writes characters that are a byte of their own as long as they come; where another one stands, or `to`. */
  private int ascii(String text, int from, int to) {
    byte[] into = buffer;
    int p = at;
    int i = from;
    for (; i < to; i++) {
      char c = text.charAt(i);
      if (c >= 0x80 || c < 14 || c == '\\') break;
      into[p++] = (byte) c;
    }
    at = p;
    return i;
  }

  private void escape(char c) {
    char letter = c == '\\' ? '\\' : c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : c == 0 ? '0' : 0;
    if (letter != 0) buffer[at++] = '\\';
    buffer[at++] = (byte) (letter == 0 ? c : letter);
  }

  private void room(int bytes) throws IOException {
    if (at + bytes > buffer.length) flush();
  }
}
