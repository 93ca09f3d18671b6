import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;

/** Small answers as texts. */
final class Queries {
  private Queries() {}

  /** Request: statement, parameters. */
  static List<String[]> all(Session session, Request request) throws SQLException {
    List<String[]> answer = new ArrayList<>();
    ResultSet rows = session.query(request.text(), request.texts(), 0, 0);
    int width = rows.getMetaData().getColumnCount();
    while (rows.next()) answer.add(row(rows, width));
    return answer;
  }

  /**
   * Each so-manieth row of a long answer. Request: statement, fetch size, step, the longest text in a row in all (longer ones are passed
   * over for the next that fits).
   */
  static List<String[]> eachOf(Session session, Request request) throws SQLException {
    String sql = request.text();
    int fetchSize = request.number();
    int step = request.number();
    int longest = request.number();
    List<String[]> answer = new ArrayList<>();
    ResultSet rows = session.query(sql, new String[0], fetchSize, 0);
    int width = rows.getMetaData().getColumnCount();
    int passed = 0;
    while (rows.next()) {
      if (++passed <= step) continue;
      String[] row = row(rows, width);
      int length = 0;
      for (String cell : row) length += cell == null ? longest + 1 : cell.length();
      if (length > longest) continue;
      answer.add(row);
      passed = 1;
    }
    return answer;
  }

  private static String[] row(ResultSet rows, int width) throws SQLException {
    String[] row = new String[width];
    for (int i = 0; i < width; i++) row[i] = rows.getString(i + 1);
    return row;
  }
}
