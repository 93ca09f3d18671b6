import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.Driver;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Base64;
import java.util.Properties;

/**
 * The tests' own JDBC client. Lines of standard input: `sql` and a statement, `open` and class, URL, user and password, which closes what was
 * open before; all in base64. Answers: rows as lines of base64 cells, then `ok`, or `error` and the message.
 */
public final class SqlRunner {
  private static Connection connection;

  public static void main(String[] args) throws Exception {
    PrintStream out = new PrintStream(System.out, true, "UTF-8");
    System.setOut(System.err);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line; (line = in.readLine()) != null; ) {
      String[] words = line.split(" ", -1);
      for (int i = 1; i < words.length; i++) words[i] = new String(Base64.getDecoder().decode(words[i]), StandardCharsets.UTF_8);
      try {
        if (words[0].equals("open")) open(words[1], words[2], words[3], words[4]);
        else run(words[1], out);
        out.println("ok");
      } catch (Exception error) {
        out.println("error " + encode(String.valueOf(error.getMessage())));
      }
    }
    if (connection != null) connection.close();
  }

  private static void open(String driver, String url, String user, String password) throws Exception {
    try {
      if (connection != null) connection.close();
    } catch (SQLException gone) {
      // With its server.
    }
    connection = null;
    Properties properties = new Properties();
    properties.setProperty("user", user);
    properties.setProperty("password", password);
    connection = ((Driver) Class.forName(driver).getDeclaredConstructor().newInstance()).connect(url, properties);
  }

  private static void run(String sql, PrintStream out) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      if (!statement.execute(sql)) return;
      ResultSet rows = statement.getResultSet();
      while (rows.next()) {
        StringBuilder row = new StringBuilder("row");
        for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) {
          String cell = rows.getString(i);
          row.append(' ').append(cell == null ? "-" : "=" + encode(cell));
        }
        out.println(row);
      }
    }
  }

  private static String encode(String text) {
    return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }
}
