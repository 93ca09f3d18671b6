import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;

/** The plain row API of a JDBC driver: every cell as a text, into nothing. Arguments: URL, user, password, statement. Prints rows, seconds and CPU seconds of a second reading. */
public final class PlainRows {
  public static void main(String[] args) throws Exception {
    try (Connection connection = DriverManager.getConnection(args[0], args[1], args[2])) {
      connection.setAutoCommit(false);
      read(connection, args[3]);
      OperatingSystemMXBean system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
      long cpu = system.getProcessCpuTime();
      long started = System.nanoTime();
      long rows = read(connection, args[3]);
      System.out.println(rows + " " + (System.nanoTime() - started) / 1e9 + " " + (system.getProcessCpuTime() - cpu) / 1e9);
    }
  }

  private static long read(Connection connection, String sql) throws Exception {
    long rows = 0;
    long characters = 0;
    try (Statement statement = connection.createStatement()) {
      statement.setFetchSize(10_000);
      ResultSet all = statement.executeQuery(sql);
      int width = all.getMetaData().getColumnCount();
      for (; all.next(); rows++)
        for (int i = 1; i <= width; i++) {
          String cell = all.getString(i);
          if (cell != null) characters += cell.length();
        }
    }
    if (characters < 0) throw new IllegalStateException();
    return rows;
  }
}
