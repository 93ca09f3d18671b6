import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedFolder } from './cache.ts';
import { runCommand } from './process.ts';

/**
 * Debezium's reader of SQL_REDO, which others wrote, in a folder of the cache, with a small program that reads statements from its standard
 * input. A test tool only. Rejects with the reason where there is no JDK or no Maven, or its repository can't be reached.
 */
export async function redoParser(): Promise<{ readonly command: string; readonly args: readonly string[] }> {
  const folder = await cachedFolder('debezium-oracle-3.2.0', async (draft) => {
    await runCommand('javac', ['-version']);
    await writeFile(join(draft, 'pom.xml'), POM);
    await runCommand(
      'mvn',
      ['-q', '-B', 'dependency:copy-dependencies', '-DoutputDirectory=jars', '-DincludeScope=runtime'],
      { cwd: draft },
    );
    await writeFile(join(draft, 'RedoParser.java'), PROGRAM);
    await runCommand('javac', ['-cp', 'jars/*', 'RedoParser.java'], { cwd: draft });
  });
  if (!(await readdir(folder)).includes('RedoParser.class')) throw new Error('the program was not compiled');
  return { command: 'java', args: ['-XX:+UseSerialGC', '-cp', `${folder}/jars/*:${folder}`, 'RedoParser'] };
}

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>redo-parser</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>io.debezium</groupId><artifactId>debezium-connector-oracle</artifactId><version>3.2.0.Final</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId><version>4.0.0</version></dependency>
  </dependencies>
</project>
`;

/**
 * The first line names the columns, each as Base64 and parted by commas; each further line is a statement as Base64. Answers a line for each:
 * the operation, the values before and those after, parted by tabs, values by commas as Base64; `-` is NULL, `?` one that the log does not
 * carry; `!` and a text: the parser refused.
 */
const PROGRAM = `
import io.debezium.config.Configuration;
import io.debezium.connector.oracle.OracleConnectorConfig;
import io.debezium.connector.oracle.logminer.UnistrHelper;
import io.debezium.connector.oracle.logminer.parser.LogMinerDmlParser;
import io.debezium.relational.*;
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;

public class RedoParser {
  public static void main(String[] args) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII), 1 << 20);
    var out = new PrintStream(new BufferedOutputStream(System.out, 1 << 20), false, StandardCharsets.US_ASCII);
    var config = Configuration.create().with("database.dbname", "ORCL").with("topic.prefix", "x").build();
    var parser = new LogMinerDmlParser(new OracleConnectorConfig(config));
    var editor = Table.editor().tableId(new TableId("ORCL", "S", "T"));
    for (String name : in.readLine().split(",")) editor.addColumns(Column.editor().name(text(name)).create());
    Table table = editor.create();
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      try {
        var entry = parser.parse(text(line), table);
        out.print(entry.getEventType() + "\\t" + values(entry.getOldValues()) + "\\t" + values(entry.getNewValues()) + "\\n");
      } catch (Throwable problem) {
        out.print("!" + String.valueOf(problem.getMessage()).replaceAll("[^ -~]", " ") + "\\n");
      }
    }
    out.flush();
  }
  static String text(String base64) { return new String(Base64.getDecoder().decode(base64), StandardCharsets.UTF_8); }
  static String decoded(String value) { return UnistrHelper.isUnistrFunction(value) ? UnistrHelper.convert(value) : value; }
  static String values(Object[] all) {
    var text = new StringBuilder();
    for (int i = 0; i < all.length; i++) {
      if (i > 0) text.append(',');
      if (all[i] == null) text.append('-');
      else if (all[i] instanceof String) text.append(Base64.getEncoder().encodeToString(decoded((String) all[i]).getBytes(StandardCharsets.UTF_8)));
      else text.append('?');
    }
    return text.toString();
  }
}
`;
