import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Counts uses of rules by column, with up to three examples each. */
final class Rules {
  private static final int EXAMPLES = 3;
  private final Map<String, Use> uses = new LinkedHashMap<>();

  void count(String rule, String column, String example) {
    Use use = uses.computeIfAbsent(rule + ' ' + column, key -> new Use(rule, column));
    use.count++;
    if (use.examples.size() < EXAMPLES) use.examples.add(example);
  }

  /** Rule, column, count, examples. */
  List<String[]> all() {
    List<String[]> answer = new ArrayList<>();
    for (Use use : uses.values()) {
      List<String> row = new ArrayList<>();
      row.add(use.rule);
      row.add(use.column);
      row.add(String.valueOf(use.count));
      row.addAll(use.examples);
      answer.add(row.toArray(new String[0]));
    }
    return answer;
  }

  private static final class Use {
    final String rule;
    final String column;
    long count;
    final List<String> examples = new ArrayList<>();

    Use(String rule, String column) {
      this.rule = rule;
      this.column = column;
    }
  }
}
