import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Driver;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLFeatureNotSupportedException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.math.BigDecimal;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** The process's one connection, set up for reading: no autocommit (drivers stream only so), read-only where the driver lets it be. */
final class Session {
  private volatile Connection connection;
  private volatile Statement running;
  private boolean transactions;

  Connection connection() {
    return connection;
  }

  /**
   * Request: driver class, URL, properties (pairs; user and password among them), database or null, statements that set the session up (in
   * pairs: `must` or `may`, for those that only some servers know). Answer: what the database says of itself.
   */
  List<String[]> open(Request request) throws Exception {
    String name = request.text();
    String url = request.text();
    Properties properties = new Properties();
    String[] pairs = request.texts();
    for (int i = 0; i < pairs.length; i += 2) properties.setProperty(pairs[i], pairs[i + 1]);
    String database = request.text();
    Driver driver = driver(name);
    // By the driver itself: DriverManager asks every driver it knows, and knows none of another class loader.
    Connection made = driver.connect(url, properties);
    if (made == null) throw new Refused("url", "the driver does not take it");
    connection = made;
    String[] settings = request.texts();
    for (int i = 0; i < settings.length; i += 2) set(made, settings[i + 1], settings[i].equals("must"));
    begins(made);
    tolerate(() -> made.setReadOnly(true));
    if (database != null) tolerate(() -> made.setCatalog(database));
    return about(made.getMetaData());
  }

  private static void set(Connection made, String statement, boolean must) throws SQLException {
    try (Statement setting = made.createStatement()) {
      setting.execute(statement);
    } catch (SQLException unknown) {
      if (must) throw unknown;
    }
  }

  /** Drivers stream, and hold one view of a table, only in a transaction; some databases have none. */
  private void begins(Connection made) throws SQLException {
    try {
      made.setAutoCommit(false);
      transactions = !made.getAutoCommit();
    } catch (SQLException none) {
      if (!(none instanceof SQLFeatureNotSupportedException) && !String.valueOf(none.getSQLState()).startsWith("0A")) throw none;
      transactions = false;
    }
  }

  private static Driver driver(String name) throws Refused {
    Object made;
    try {
      made = Class.forName(name).getDeclaredConstructor().newInstance();
    } catch (ClassNotFoundException missing) {
      throw new Refused("class", missing.getMessage());
    } catch (UnsupportedClassVersionError old) {
      throw new Refused("java", String.valueOf(old.getMessage()));
    } catch (ReflectiveOperationException | LinkageError broken) {
      throw new Refused("broken", broken.toString());
    }
    if (!(made instanceof Driver)) throw new Refused("nodriver", name);
    return (Driver) made;
  }

  private List<String[]> about(DatabaseMetaData meta) throws SQLException {
    List<String[]> answer = new ArrayList<>();
    answer.add(new String[] {
      meta.getDatabaseProductName(), meta.getDatabaseProductVersion(), meta.getDriverName(), meta.getDriverVersion(),
      meta.getIdentifierQuoteString(), connection.getCatalog(), System.getProperty("java.version"),
      holdsRow(meta.getSchemas()) ? "1" : "0", holdsRow(meta.getCatalogs()) ? "1" : "0",
    });
    return answer;
  }

  private static boolean holdsRow(ResultSet rows) throws SQLException {
    if (rows == null) return false;
    try (ResultSet all = rows) {
      return all.next();
    }
  }

  /** A forward-only statement with its parameters bound (a letter and a text each); one without any is plain, so that a `?` in it is the user's own. */
  ResultSet query(String sql, String[] parameters, int fetchSize, int mostRows) throws SQLException {
    Statement statement = parameters.length == 0
      ? connection.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)
      : connection.prepareStatement(sql, ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY);
    running = statement;
    tolerate(() -> statement.setEscapeProcessing(false));
    if (fetchSize != 0) tolerate(() -> statement.setFetchSize(fetchSize));
    if (mostRows > 0) statement.setMaxRows(mostRows);
    if (parameters.length == 0) return statement.executeQuery(sql);
    PreparedStatement prepared = (PreparedStatement) statement;
    for (int i = 0; i < parameters.length; i += 2) bind(prepared, i / 2 + 1, parameters[i], parameters[i + 1]);
    return prepared.executeQuery();
  }

  private static void bind(PreparedStatement statement, int at, String kind, String text) throws SQLException {
    switch (kind) {
      case "l":
        statement.setLong(at, Long.parseLong(text));
        return;
      case "d":
        statement.setBigDecimal(at, new BigDecimal(text));
        return;
      case "S":
        // The process runs in UTC, so that these are the time that the text shows.
        statement.setTimestamp(at, Timestamp.valueOf(text));
        return;
      case "Z":
        Timestamp moment = Timestamp.valueOf(text);
        try {
          statement.setObject(at, moment.toLocalDateTime().atOffset(ZoneOffset.UTC));
        } catch (SQLException | AbstractMethodError | UnsupportedOperationException unknown) {
          statement.setTimestamp(at, moment);
        }
        return;
      default:
        statement.setString(at, text);
    }
  }

  /** Ends the statement and its transaction. */
  void release() throws SQLException {
    Statement statement = running;
    running = null;
    if (statement != null) statement.close();
    if (transactions) connection.rollback();
  }

  /** Makes the database stop what it does for this process; may be called from another thread. */
  void abandon() {
    Statement statement = running;
    if (statement != null) tolerate(statement::cancel);
    Connection made = connection;
    if (statement == null && made != null) {
      tolerate(made::rollback);
      tolerate(made::close);
    }
  }

  interface Attempt {
    void run() throws Exception;
  }

  /** For what drivers need not know; those older than a method throw an error, not an exception. */
  static void tolerate(Attempt attempt) {
    try {
      attempt.run();
    } catch (Exception | AbstractMethodError unknown) {
      // The driver does without.
    }
  }
}
