import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.Driver;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.Base64;
import java.util.Properties;

/** The tests' own JDBC client: a statement per line of standard input, in base64; rows as lines of base64 cells, then `ok` or `error` and the message. */
public final class SqlRunner {
  public static void main(String[] args) throws Exception {
    PrintStream out = new PrintStream(System.out, true, "UTF-8");
    System.setOut(System.err);
    Properties properties = new Properties();
    properties.setProperty("user", args[2]);
    properties.setProperty("password", args[3]);
    Connection connection = ((Driver) Class.forName(args[0]).getDeclaredConstructor().newInstance()).connect(args[1], properties);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line; (line = in.readLine()) != null; ) {
      String sql = new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8);
      try (Statement statement = connection.createStatement()) {
        if (statement.execute(sql)) {
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
        out.println("ok");
      } catch (Exception error) {
        out.println("error " + encode(String.valueOf(error.getMessage())));
      }
    }
    connection.close();
  }

  private static String encode(String text) {
    return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }
}
