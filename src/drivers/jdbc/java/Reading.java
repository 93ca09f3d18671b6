import java.io.IOException;
import java.sql.ResultSet;
import java.sql.SQLException;

/**
 * Streams a statement's rows as load text. Request: statement, parameters, first fetch size (0: the driver's own), the most rows that one
 * fetch may become, the most rows in all (0: every row), whether unrepresentable values are refused, the table's name, and of every
 * column three texts: encoding, name, flags (Cell).
 */
final class Reading {
  /** About so many bytes are fetched at once. */
  private static final long FETCHED = 4L * 1024 * 1024;

  private final ResultSet rows;
  private final Cell[] cells;
  private final LoadText out;
  private int fetchSize;
  private final int mostFetched;

  private Reading(ResultSet rows, Cell[] cells, LoadText out, int fetchSize, int mostFetched) {
    this.rows = rows;
    this.cells = cells;
    this.out = out;
    this.fetchSize = fetchSize;
    this.mostFetched = mostFetched;
  }

  static void run(Session session, Request request, Replies replies) throws SQLException, IOException, Refused {
    String sql = request.text();
    String[] parameters = request.texts();
    int fetchSize = request.number();
    int mostFetched = request.number();
    int mostRows = request.number();
    boolean refuse = request.number() != 0;
    String table = request.text();
    String[] columns = request.texts();
    Rules rules = new Rules();
    LoadText out = new LoadText(replies);
    ResultSet rows = session.query(sql, parameters, fetchSize, mostRows);
    Row row = new Row(rows, table, rules, refuse);
    Cell[] cells = new Cell[columns.length / 3];
    int place = 0;
    for (int i = 0; i < cells.length; i++) {
      char encoding = columns[3 * i].charAt(0);
      // Masked columns are not selected.
      if (encoding != Cell.MASKED) place++;
      cells[i] = new Cell(row, encoding, place, columns[3 * i + 1], columns[3 * i + 2]);
    }
    row.cells = cells;
    long count = new Reading(rows, cells, out, fetchSize, mostFetched).all();
    out.flush();
    replies.end(count, rules.all());
  }

  private long all() throws SQLException, IOException, Refused {
    long count = 0;
    long largest = 1;
    int sinceFetch = 0;
    while (rows.next()) {
      long size = 0;
      for (int i = 0; i < cells.length; i++) {
        if (i > 0) out.tab();
        size += cells[i].write(out);
      }
      out.endRow();
      count++;
      largest = Math.max(largest, size);
      if (fetchSize > 0 && ++sinceFetch == fetchSize) {
        sinceFetch = 0;
        fit(largest);
      }
    }
    return count;
  }

  /** Rows of megabytes are fetched one by one, short ones by the thousand; it grows by steps, since later rows may be longer. */
  private void fit(long largest) {
    int wanted = (int) Math.max(1, Math.min(FETCHED / largest, mostFetched));
    int next = Math.min(wanted, fetchSize * 8);
    if (next == fetchSize) return;
    fetchSize = next;
    Session.tolerate(() -> rows.setFetchSize(next));
  }
}
