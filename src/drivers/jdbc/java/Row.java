import java.sql.ResultSet;
import java.sql.SQLException;

/** What the cells of a row have in common. */
final class Row {
  final ResultSet values;
  private final String table;
  private final Rules rules;
  private final boolean refuse;
  Cell[] cells = new Cell[0];

  Row(ResultSet values, String table, Rules rules, boolean refuse) {
    this.values = values;
    this.table = table;
    this.rules = rules;
    this.refuse = refuse;
  }

  /** Notes that a rule replaces a value; refuses that for key columns, and where the user wants it refused. */
  void replaced(String rule, Cell cell, String value) throws Refused {
    if (cell.key || refuse) throw unrepresentable(cell, value);
    rules.count(rule, cell.name, value + key());
  }

  Refused unrepresentable(Cell cell, String value) {
    return new Refused(
      cell.key ? "keyvalue" : "value",
      "Table " + table + " has the value " + shortened(value) + " in column \"" + cell.name + "\"" + key() + ", which the destination can't hold."
    );
  }

  /** The row's key as people read it. */
  private String key() {
    StringBuilder text = new StringBuilder();
    for (Cell cell : cells) {
      if (!cell.key) continue;
      String value;
      try {
        value = values.getString(cell.place);
      } catch (SQLException | RuntimeException readOnce) {
        // Some drivers give a column only once, or only forwards.
        value = "?";
      }
      text.append(text.length() == 0 ? " (" : ", ").append(cell.name).append('=').append(shortened(String.valueOf(value)));
    }
    return text.length() == 0 ? "" : text.append(')').toString();
  }

  private static String shortened(String value) {
    return value.length() > 100 ? value.substring(0, 100) : value;
  }
}
