import { alterEffects } from './alter-table.ts';
import { type Effect, effect } from './effects.ts';
import type { LogStatement } from './log-events.ts';
import { isSign, isWord, readName, type SqlName, skip, sqlTokens, type Token } from './sql-tokens.ts';

/** What a statement of the log means for tables and transactions. */
export type Statement =
  | { readonly kind: 'begin' | 'commit' | 'rollback' | 'undo' | 'nothing' }
  | { readonly kind: 'xaStart' | 'xaCommit' | 'xaRollback'; readonly xid: string }
  | { readonly kind: 'effects'; readonly effects: readonly Effect[]; readonly begins: boolean };

const NOTHING: Statement = { kind: 'nothing' };
const BEGIN: Statement = { kind: 'begin' };
const COMMIT: Statement = { kind: 'commit' };

export function parseStatement(statement: LogStatement): Statement {
  if (statement.sql === 'BEGIN') return BEGIN;
  if (statement.sql === 'COMMIT') return COMMIT;
  return parseTokens(sqlTokens(statement), statement.strict);
}

function parseTokens(tokens: readonly Token[], strict: boolean): Statement {
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
      return effects(alterEffects(tokens, strict));
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
      return at < 0 ? NOTHING : parseTokens(tokens.slice(at + 1), strict);
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
