import java.sql.DatabaseMetaData;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;

/** What DatabaseMetaData says, as texts. Request: what is asked for, catalog, schema, table (null: any), names of the wanted columns. */
final class Catalog {
  private Catalog() {}

  static List<String[]> ask(DatabaseMetaData meta, Request request) throws SQLException {
    String what = request.text();
    String catalog = request.text();
    String schema = request.text();
    String table = request.text();
    String[] wanted = request.texts();
    try (ResultSet rows = rows(meta, what, catalog, schema, table)) {
      return texts(rows, wanted);
    }
  }

  private static ResultSet rows(DatabaseMetaData meta, String what, String catalog, String schema, String table) throws SQLException {
    switch (what) {
      case "schemas":
        return meta.getSchemas();
      case "catalogs":
        return meta.getCatalogs();
      case "tables":
        return meta.getTables(catalog, schema, table, null);
      case "columns":
        return meta.getColumns(catalog, schema, table, "%");
      case "keys":
        return meta.getPrimaryKeys(catalog, schema, table);
      case "indexes":
        // Approximate: exact figures would make some databases count first.
        return meta.getIndexInfo(catalog, schema, table, false, true);
      default:
        throw new IllegalArgumentException(what);
    }
  }

  private static List<String[]> texts(ResultSet rows, String[] wanted) throws SQLException {
    List<String[]> answer = new ArrayList<>();
    if (rows == null) return answer;
    ResultSetMetaData shape = rows.getMetaData();
    int[] places = new int[wanted.length];
    // Drivers leave columns out that their JDBC version did not know.
    for (int i = 0; i < wanted.length; i++)
      for (int at = 1; at <= shape.getColumnCount(); at++)
        if (shape.getColumnLabel(at).equalsIgnoreCase(wanted[i])) places[i] = at;
    while (rows.next()) {
      String[] row = new String[wanted.length];
      // In the driver's order: some can read a column only once and only forwards.
      for (int at = 1; at <= shape.getColumnCount(); at++)
        for (int i = 0; i < wanted.length; i++) if (places[i] == at) row[i] = rows.getString(at);
      answer.add(row);
    }
    return answer;
  }
}
