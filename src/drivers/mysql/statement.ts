import type { LogStatement } from './log-events.ts';
import { isSign, isWord, readName, type SqlName, sqlTokens, type Token } from './sql-tokens.ts';

/** What a statement of the log means for tables and transactions. */
export type Statement =
  | { readonly kind: 'begin' | 'commit' | 'rollback' | 'undo' | 'nothing' }
  | { readonly kind: 'xaStart' | 'xaCommit' | 'xaRollback'; readonly xid: string }
  | { readonly kind: 'effects'; readonly effects: readonly Effect[]; readonly begins: boolean };

export type Effect = {
  /** The table; `name` undefined: all tables of the schema. */
  readonly schema: string | undefined;
  readonly name: string | undefined;
  /**
   * `truncate`: emptied. `look`: its structure may have changed in a way that leaves the values of all rows as they are. `reload`: the log
   * does not tell what its rows are now.
   */
  readonly what: 'truncate' | 'look' | 'reload';
  readonly reason: string;
};

const NOTHING: Statement = { kind: 'nothing' };
const BEGIN: Statement = { kind: 'begin' };
const COMMIT: Statement = { kind: 'commit' };

export function parseStatement(statement: LogStatement): Statement {
  if (statement.sql === 'BEGIN') return BEGIN;
  if (statement.sql === 'COMMIT') return COMMIT;
  return parseTokens(sqlTokens(statement));
}

function parseTokens(tokens: readonly Token[]): Statement {
  const verb = tokens[0]?.kind === 'word' ? tokens[0].text.toLowerCase() : '';
  switch (verb) {
    case 'begin':
      return BEGIN;
    case 'start':
      return isWord(tokens[1], 'transaction') ? BEGIN : NOTHING;
    case 'commit':
      return COMMIT;
    case 'rollback':
      return { kind: tokens.slice(1, 4).some((token) => isWord(token, 'to')) ? 'undo' : 'rollback' };
    case 'xa':
      return xa(tokens);
    case 'truncate':
      return effects(named(tokens, skip(tokens, 1, 'table'), 'truncate', 'TRUNCATE'));
    case 'rename':
      return effects(renamed(tokens));
    case 'alter':
      return effects(altered(tokens));
    case 'drop':
      return effects(dropped(tokens));
    case 'create':
      return created(tokens);
    case 'insert':
    case 'replace':
    case 'update':
    case 'delete':
    case 'load':
    case 'with':
      return effects(changed(verb, tokens));
    case 'set': {
      // MariaDB: SET STATEMENT … FOR <statement>.
      const at = isWord(tokens[1], 'statement') ? tokens.findIndex((token) => isWord(token, 'for')) : -1;
      return at < 0 ? NOTHING : parseTokens(tokens.slice(at + 1));
    }
    default:
      return NOTHING;
  }
}

function effects(list: readonly Effect[], begins = false): Statement {
  return list.length === 0 && !begins ? NOTHING : { kind: 'effects', effects: list, begins };
}

function xa(tokens: readonly Token[]): Statement {
  const verb = tokens[1]?.text.toLowerCase() ?? '';
  const xid = tokens
    .slice(2)
    .filter((token) => !isWord(token, 'one', 'phase'))
    .map((token) => token.text.toLowerCase())
    .join('');
  if (verb === 'start' || verb === 'begin') return { kind: 'xaStart', xid };
  if (verb === 'commit') return { kind: 'xaCommit', xid };
  if (verb === 'rollback') return { kind: 'xaRollback', xid };
  return NOTHING;
}

/** The place behind `words` at `at`, each of which may be missing. */
function skip(tokens: readonly Token[], at: number, ...words: readonly string[]): number {
  while (isWord(tokens[at], ...words)) at++;
  return at;
}

function effect(name: SqlName, what: Effect['what'], reason: string): Effect {
  return { ...name, what, reason };
}

function named(tokens: readonly Token[], at: number, what: Effect['what'], reason: string): Effect[] {
  const found = readName(tokens, at);
  return found ? [effect(found.name, what, reason)] : [];
}

/** All names of a list `a, b, c` that begins at `at`. */
function list(tokens: readonly Token[], at: number): SqlName[] {
  const names: SqlName[] = [];
  for (;;) {
    const found = readName(tokens, at);
    if (!found) return names;
    names.push(found.name);
    if (!isSign(tokens[found.next], ',')) return names;
    at = found.next + 1;
  }
}

function renamed(tokens: readonly Token[]): Effect[] {
  if (!isWord(tokens[1], 'table', 'tables')) return [];
  const found: Effect[] = [];
  // Every name counts, on whichever side: a table that leaves its name, and one that takes it.
  for (let at = skip(tokens, 2, 'if', 'exists'); at < tokens.length; ) {
    const name = readName(tokens, at);
    if (!name) {
      at++;
      continue;
    }
    if (isWord(tokens[at], 'to', 'wait', 'nowait') && name.name.schema === undefined) at++;
    else {
      found.push(effect(name.name, 'reload', 'it was renamed, or another table took its name (RENAME TABLE)'));
      at = name.next;
    }
  }
  return found;
}

function dropped(tokens: readonly Token[]): Effect[] {
  if (isWord(tokens[1], 'temporary')) return [];
  const at = skip(tokens, 2, 'if', 'exists');
  if (isWord(tokens[1], 'table', 'tables'))
    return list(tokens, at).map((name) => effect(name, 'reload', 'it was dropped (DROP TABLE)'));
  if (isWord(tokens[1], 'database', 'schema')) {
    const name = readName(tokens, at)?.name.name;
    return name === undefined
      ? []
      : [{ schema: name, name: undefined, what: 'reload', reason: 'its database was dropped' }];
  }
  if (tokens.slice(1, 3).some((token) => isWord(token, 'index'))) {
    const on = tokens.findIndex((token) => isWord(token, 'on'));
    return on < 0 ? [] : named(tokens, on + 1, 'look', 'DROP INDEX');
  }
  return [];
}

function created(tokens: readonly Token[]): Statement {
  const replaces = isWord(tokens[1], 'or') && isWord(tokens[2], 'replace');
  const at = replaces ? 3 : 1;
  if (replaces && isWord(tokens[at], 'database', 'schema')) {
    const name = readName(tokens, at + 1)?.name.name;
    return effects(
      name === undefined
        ? []
        : [{ schema: name, name: undefined, what: 'reload', reason: 'its database was replaced' }],
    );
  }
  if (!isWord(tokens[at], 'table')) return NOTHING;
  const exists = isWord(tokens[at + 1], 'if') && isWord(tokens[at + 2], 'not') && isWord(tokens[at + 3], 'exists');
  // MySQL 8.0.21 logs CREATE TABLE … SELECT as one transaction: this statement opens it.
  const begins = isWord(tokens.at(-2), 'start') && isWord(tokens.at(-1), 'transaction');
  // With IF NOT EXISTS it made nothing where the table was there already.
  if (exists && !replaces) return effects([], begins);
  return effects(named(tokens, at + 1, 'reload', 'it was created anew (CREATE TABLE)'), begins);
}

/** Rows changed by a statement that is logged as text. */
function changed(verb: string, tokens: readonly Token[]): Effect[] {
  const reason = 'a statement that changes rows stands in the log as text (binlog_format is not ROW in that session)';
  if (verb === 'delete' && isWord(tokens[1], 'from')) {
    // As the server itself logs it for a MEMORY table that a restart has emptied.
    const found = readName(tokens, 2);
    if (found && (found.next === tokens.length || isSign(tokens[found.next], ';')))
      return [effect(found.name, 'truncate', 'DELETE FROM')];
  }
  let from = 1;
  let to = tokens.length;
  const position = (...words: readonly string[]) => tokens.findIndex((token) => isWord(token, ...words));
  if (verb === 'insert' || verb === 'replace') {
    from = skip(tokens, 1, 'low_priority', 'delayed', 'high_priority', 'ignore', 'into');
    to = readName(tokens, from)?.next ?? from;
  } else if (verb === 'load') from = position('table') + 1;
  else if (verb === 'update') to = position('set');
  else if (verb === 'delete') to = position('where');
  if (to < 0) to = tokens.length;
  const found: Effect[] = [];
  for (let at = from; at < to; at++) {
    const one = readName(tokens, at);
    if (!one) continue;
    found.push(effect(one.name, 'reload', reason));
    at = one.next - 1;
  }
  return found;
}

function altered(tokens: readonly Token[]): Effect[] {
  let at = skip(tokens, 1, 'online', 'offline', 'ignore');
  if (!isWord(tokens[at], 'table')) return [];
  at = skip(tokens, at + 1, 'if', 'exists');
  const table = readName(tokens, at);
  if (!table) return [];
  let what: Effect['what'] | undefined;
  const reasons: string[] = [];
  const others: Effect[] = [];
  const all = clauses(tokens, skip(tokens, table.next, 'nowait'));
  if (replacesColumn(all)) what = 'reload';
  for (const clause of all) {
    const verdict = alterClause(clause);
    if (verdict === 'keeps') continue;
    if (verdict === 'reload' || what === undefined) what = verdict;
    reasons.push(
      clause
        .slice(0, 4)
        .map((token) => token.text)
        .join(' '),
    );
    const other = clause.findIndex((token, i) => isWord(token, i === 0 ? 'rename' : 'table'));
    const name = other < 0 ? undefined : readName(clause, skip(clause, other + 1, 'to', 'as'));
    if (name) others.push(effect(name.name, 'reload', 'another table took its place or its rows (ALTER TABLE)'));
  }
  return what === undefined ? [] : [effect(table.name, what, `ALTER TABLE … ${reasons.join(', ')}`), ...others];
}

/** Whether a column is dropped and one of its name added: the structure may look the same, the values are others. */
function replacesColumn(all: readonly (readonly Token[])[]): boolean {
  const dropped = all
    .filter(([first]) => isWord(first, 'drop'))
    .map((clause) => clause[skip(clause, 1, 'column', 'if', 'exists')]?.text.toLowerCase());
  return all.some(
    (clause) => isWord(clause[0], 'add') && clause.some((token) => dropped.includes(token.text.toLowerCase())),
  );
}

/** Parts of an ALTER TABLE between commas outside of brackets. */
function clauses(tokens: readonly Token[], at: number): Token[][] {
  const found: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens.slice(at)) {
    if (isSign(token, '(')) depth++;
    if (isSign(token, ')')) depth--;
    if (depth === 0 && isSign(token, ',')) found.push([]);
    else found.at(-1)?.push(token);
  }
  return found.filter((clause) => clause.length > 0);
}

/** Clauses of ALTER TABLE that leave every value and every column as it is. */
const KEEPS: ReadonlySet<string> = new Set(
  'engine comment auto_increment row_format key_block_size stats_auto_recalc stats_persistent stats_sample_pages algorithm lock force enable disable order default collate character charset max_rows min_rows avg_row_length pack_keys checksum delay_key_write insert_method union connection compression encryption page_compressed page_compression_level encrypted encryption_key_id transactional page_checksum analyze check optimize repair rebuild reorganize coalesce partition remove with without nowait wait secondary_engine secondary_load secondary_unload autoextend_size engine_attribute secondary_engine_attribute'.split(
    ' ',
  ),
);

function alterClause(clause: readonly Token[]): 'keeps' | Exclude<Effect['what'], 'truncate'> {
  const [first, second] = clause;
  const has = (...words: readonly string[]) => clause.some((token) => isWord(token, ...words));
  const verb = first?.kind === 'word' ? first.text.toLowerCase() : '';
  switch (verb) {
    case 'add':
      if (isWord(second, 'partition')) return 'keeps';
      if (isWord(second, 'index', 'key', 'unique', 'fulltext', 'spatial', 'foreign', 'check')) return 'keeps';
      if (isWord(second, 'constraint')) return has('primary') ? 'reload' : 'keeps';
      if (isWord(second, 'primary', 'period', 'system')) return 'reload';
      return addsNulls(clause) ? 'look' : 'reload';
    case 'drop':
      if (isWord(second, 'foreign', 'check', 'constraint')) return 'keeps';
      if (isWord(second, 'primary', 'partition', 'period', 'system')) return 'reload';
      return 'look';
    case 'modify':
      return has('character', 'charset', 'collate', 'generated', 'as', 'auto_increment') ? 'reload' : 'look';
    case 'alter':
      return 'keeps';
    case 'rename':
      return isWord(second, 'index', 'key') ? 'keeps' : 'reload';
    default:
      return KEEPS.has(verb) ? 'keeps' : 'reload';
  }
}

/** Whether rows that were there before have NULL in an added column, or the column is not copied at all. */
function addsNulls(clause: readonly Token[]): boolean {
  const words = clause.map((token) => (token.kind === 'word' ? token.text.toLowerCase() : ''));
  if (words.includes('virtual')) return true;
  if (words.some((word) => ['not', 'as', 'generated', 'auto_increment', 'serial', 'primary'].includes(word)))
    return false;
  if (words.includes('timestamp') && !words.includes('null')) return false;
  const at = words.indexOf('default');
  return at < 0 || words[at + 1] === 'null';
}
