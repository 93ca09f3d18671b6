import { readAlterTable, readRename, readShortChange } from './alter-table.ts';
import { quoteName } from './catalog.ts';
import { applyEdits, type Edit, insertAt, replaceTokens } from './edit.ts';
import { castEdits } from './rewrite-cast.ts';
import { loadEdits } from './rewrite-load.ts';
import { itemEdits, tableEdits } from './rewrite-table.ts';
import type { Session } from './session.ts';
import { type Statement, skipWords } from './statement.ts';
import { afterParenthesis, isOperator, isWord, type Token } from './tokens.ts';
import { DEFAULT_VARIABLES, type Variables, variableEdits } from './variables.ts';

/**
 * Turns what only SingleStore understands into what MariaDB does. Statements are given with the text they are a part of;
 * the text comes back unchanged when nothing in it is SingleStore's.
 */
export function rewrite(
  text: string,
  statements: Statement[],
  session: Session,
  variables: Variables = DEFAULT_VARIABLES,
): string {
  const edits = statements.flatMap((statement) => editsOf(statement, session, variables));
  return edits.length === 0 ? text : applyEdits(text, edits);
}

function editsOf(statement: Statement, session: Session, variables: Variables): Edit[] {
  return [
    ...optimizeEdits(statement),
    ...tableEdits(statement),
    ...alterEdits(statement, session),
    ...loadEdits(statement, session),
    ...castEdits(statement),
    ...optionEdits(statement),
    ...variableEdits(statement, variables),
  ];
}

/** `CHANGE a b`, `RENAME` within the table's own database, `TIMEOUT n`, options that only a cluster has. */
function alterEdits(statement: Statement, session: Session): Edit[] {
  const alter = readAlterTable(statement);
  if (!alter) return [];
  const edits: Edit[] = [];
  if (alter.timeout.length > 0) edits.push(replaceTokens(alter.timeout, ''));
  for (const action of alter.actions) {
    const change = readShortChange(action);
    const rename = readRename(action);
    if (change) {
      const source = (token: Token) => statement.text.slice(token.start, token.end);
      edits.push(replaceTokens(action, `RENAME COLUMN ${source(change.from)} TO ${source(change.to)}`));
    } else if (rename && rename.table.database === undefined) {
      // MariaDB would move the table into the session's database.
      const database = alter.table.database;
      const name = action[rename.at];
      if (database !== undefined && name && database !== session.database) {
        edits.push(insertAt(name.start, `${quoteName(database)}.`));
      }
    } else if (/^(AUTOSTATS_|BACKGROUND_MERGER|COMPRESSION)/.test(action[0]?.word ?? '') || isKeyOption(action)) {
      edits.push(replaceTokens(action, 'FORCE'));
    } else if (isWord(action[0], 'ADD', 'MODIFY')) {
      edits.push(...itemEdits(action.slice(skipWords(action, 1, 'COLUMN'))));
    }
  }
  return edits;
}

/** `MODIFY KEY k SET (columnstore_segment_rows = …)`. */
function isKeyOption(action: Token[]): boolean {
  return isWord(action[0], 'MODIFY') && isWord(action[1], 'KEY', 'INDEX');
}

/** A trailing `OPTION (…)` of a query or write. */
function optionEdits({ tokens }: Statement): Edit[] {
  const at = tokens.findIndex(
    (token, i) => token.depth === 0 && i > 0 && isWord(token, 'OPTION') && isOperator(tokens[i + 1], '('),
  );
  if (at < 0 || isWord(tokens[0], 'CREATE', 'GRANT')) return [];
  return [replaceTokens(tokens.slice(at, afterParenthesis(tokens, at + 1)), '')];
}

/** `OPTIMIZE TABLE t FLUSH` and the like, which have no counterpart. */
function optimizeEdits({ verb, tokens }: Statement): Edit[] {
  return verb === 'OPTIMIZE' ? [replaceTokens(tokens, 'DO 0')] : [];
}
