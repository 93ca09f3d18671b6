import { setTimeout as delay } from 'node:timers/promises';
import { StructureChanged } from '../errors.ts';
import { unescapeText } from '../load-text.ts';
import type { Batch, ChunkRead, Table } from '../model.ts';
import { type Relation, readRelations } from './catalog.ts';
import { abandon, giveBack, type Server, type Session, takeSession } from './connection.ts';
import { failure } from './failure.ts';
import { dependsOnPath, readRows } from './read.ts';
import type { SourceType } from './source-type.ts';
import { quoteName, quoteTable, quoteText } from './sql.ts';
import { copiedColumns } from './table.ts';

/** Keys of one statement (EXACTNESS.md §6). */
const KEYS_AT_ONCE = 1_000;
const POLL_MS = 10;

/**
 * Rows by key as they are now, in one snapshot that contains every transaction of `delivered` (numbers as the log has them); those that have
 * ended are taken out of the set. Throws `StructureChanged` when the table is no longer what `table` describes.
 */
export async function* rereadRows(
  server: Server,
  table: Table,
  keys: readonly string[],
  delivered: Set<number>,
  refuse: boolean,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const name = `${table.ref.schema}.${table.ref.name}`;
  const session = await takeSession(server);
  let done = false;
  const abort = (): void => void abandon(server, session);
  signal.addEventListener('abort', abort, { once: true });
  try {
    const relation = await openSnapshot(session, server, table, delivered, signal);
    const rows = { rows: 0, rules: [] as ChunkRead['rules'] };
    const wanted = [...new Set(keys)];
    for (let first = 0; first < wanted.length; first += KEYS_AT_ONCE) {
      const part = wanted.slice(first, first + KEYS_AT_ONCE);
      const read = yield* readRows(
        session,
        server,
        { table, relation, refuse },
        { form: 'all' },
        keysAre(table, relation, part),
        signal,
      );
      rows.rows += read.rows;
      rows.rules = [...rows.rules, ...read.rules];
    }
    await session.query('commit');
    done = true;
    return rows;
  } catch (error) {
    signal.throwIfAborted();
    throw failure(error, { table: name, user: server.user });
  } finally {
    signal.removeEventListener('abort', abort);
    if (done) giveBack(server, session, false);
    else await abandon(server, session);
  }
}

/** A transaction whose snapshot has all of `delivered`, and in which the table keeps its structure. */
async function openSnapshot(
  session: Session,
  server: Server,
  table: Table,
  delivered: Set<number>,
  signal: AbortSignal,
): Promise<Relation> {
  const only = table.kind === 'partitioned' && server.version >= 130000 ? '' : 'only ';
  for (;;) {
    await session.query(
      `begin transaction isolation level repeatable read, read only;set local search_path = pg_catalog;lock table ${only}${quoteTable(table.ref)} in access share mode`,
    );
    if (await dropEnded(session, server, delivered)) break;
    // A commit may be in the log before it can be seen.
    await session.query('rollback');
    await delay(POLL_MS, undefined, { signal });
  }
  // Type names in the catalog are compared with those of a session with the usual path.
  await session.query('set local search_path to default');
  const relation = (await readRelations(session, server.version, [table.ref]))[0];
  if (!relation || !sameColumns(relation, server, table))
    throw new StructureChanged(
      `The structure of ${quoteTable(table.ref)} changed.`,
      'Its rows can be read again once the log has come to that.',
    );
  if (relation.columns.some((column) => dependsOnPath(column.type)))
    await session.query('set local search_path = pg_catalog');
  return relation;
}

/** Takes the transactions that the session's snapshot contains out of the set; true: all of them. */
export async function dropEnded(session: Session, server: Server, delivered: Set<number>): Promise<boolean> {
  const { rows } = await session.query<{ snapshot: string }>(
    `select ${server.version >= 130000 ? 'pg_current_snapshot()' : 'txid_current_snapshot()'}::text as snapshot`,
  );
  const [xmin = '0', xmax = '0', list = ''] = (rows[0]?.snapshot ?? '').split(':');
  const running = new Set(list === '' ? [] : list.split(',').map((xid) => Number(BigInt(xid) & 0xffffffffn)));
  const oldest = Number(BigInt(xmin) & 0xffffffffn);
  const next = Number(BigInt(xmax) & 0xffffffffn);
  // Numbers in the log have 32 bits and go round: less is what is less than 2^31 steps behind.
  const before = (a: number, b: number): boolean => ((a - b) | 0) < 0;
  for (const xid of delivered)
    if (before(xid, oldest) || (before(xid, next) && !running.has(xid))) delivered.delete(xid);
  return delivered.size === 0;
}

function sameColumns(relation: Relation, server: Server, table: Table): boolean {
  const { copied } = copiedColumns(relation, server);
  return table.columns.every((column) =>
    copied.some((one) => one.name === column.name && one.typeText === column.sourceType),
  );
}

/** The condition for rows of these keys, as values of the columns' own types, so that their index serves. */
function keysAre(table: Table, relation: Relation, keys: readonly string[]): string {
  const columns = table.key.map((name) => {
    const type = relation.columns.find((one) => one.name === name)?.type;
    if (!type) throw new StructureChanged(`The key column "${name}" is gone.`, 'Load the table again.');
    return { name: quoteName(name), type };
  });
  const values = keys.map((key) => {
    const texts = key.split('\t').map(plainText);
    return columns.map(({ type }, index) => sourceValue(type, texts[index] ?? ''));
  });
  if (columns.length === 1) return `${columns[0]?.name} in (${values.map(([value]) => value).join(', ')})`;
  return `(${columns.map(({ name }) => name).join(', ')}) in (values ${values.map((value) => `(${value.join(', ')})`).join(', ')})`;
}

/** Load text of a cell, in latin1, as the text that it stands for. */
function plainText(cell: string): string {
  return Buffer.from(unescapeText(cell), 'latin1').toString('utf8');
}

/** A key's text at the destination as a value at the source. */
function sourceValue(type: SourceType, text: string): string {
  const literal = quoteText(text);
  const name = `${quoteName(type.schema)}.${quoteName(type.name)}`;
  if (type.schema !== 'pg_catalog') return `${literal}::${name}`;
  switch (type.name) {
    case 'bytea':
      return `pg_catalog.decode(${literal}, 'hex')`;
    case 'money':
      return `${literal}::pg_catalog.numeric::pg_catalog.money`;
    case 'bit':
      return type.modifier > 64 ? `${literal}::${name}` : `B'${BigInt(text).toString(2).padStart(type.modifier, '0')}'`;
    default:
      return `${literal}::${name}`;
  }
}
