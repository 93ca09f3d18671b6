import { StructureChanged } from '../errors.ts';
import type { Batch, ChunkRead, RuleUse, Table } from '../model.ts';
import type { Relation } from './catalog.ts';
import { abandon, giveBack, type Server, type Session, takeSession } from './connection.ts';
import { copyOut } from './copy-out.ts';
import { fixEscapes } from './copy-text.ts';
import { failure } from './failure.ts';
import { parseRange, type Range } from './range.ts';
import type { SourceType } from './source-type.ts';
import { watchSpecials } from './special-values.ts';
import { quoteName, quoteTable, quoteText } from './sql.ts';
import { type Cell, cellsOf, isView } from './table.ts';

/** What to read: a described table, the catalog's view of it, and the user's options. */
export type Reading = {
  readonly table: Table;
  readonly relation: Relation;
  readonly where: string | undefined;
  readonly range: string;
  /** `on_unrepresentable` = error. */
  readonly refuse: boolean;
};

/**
 * Rows of one range as load text, in one REPEATABLE READ snapshot. A page range whose table file was replaced since the split throws
 * `StructureChanged`: rows may have moved past a reader without a trace in the log (EXACTNESS.md §4).
 */
export async function* readRange(
  server: Server,
  reading: Reading,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const { table, relation, where } = reading;
  const name = `${table.ref.schema}.${table.ref.name}`;
  signal.throwIfAborted();
  const range = parseRange(reading.range);
  const session = await takeSession(server);
  let done = false;
  const abort = (): void => void abandon(server, session);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await openSnapshot(session, relation, range);
    const read = yield* readRows(session, server, reading, range, where, signal);
    await session.query('commit');
    done = true;
    return read;
  } catch (error) {
    signal.throwIfAborted();
    throw failure(error, { table: name, where: where === undefined ? undefined : 'reading', user: server.user });
  } finally {
    signal.removeEventListener('abort', abort);
    // A consumer that stops early leaves the COPY running: it must not go on for nobody, nor reach the pool.
    if (done) giveBack(server, session, false);
    else await abandon(server, session);
  }
}

/** Rows as load text, by a session whose transaction has the snapshot. */
export async function* readRows(
  session: Session,
  server: Server,
  reading: Pick<Reading, 'table' | 'relation' | 'refuse'>,
  range: Range,
  where: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const { table, relation } = reading;
  return yield* readSelect(session, server, reading, (cells) => selectOf(table, relation, cells, range, where), signal);
}

/** The rows of a SELECT of a table's cells as load text. */
export async function* readSelect(
  session: Session,
  server: Server,
  { table, relation, refuse }: Pick<Reading, 'table' | 'relation' | 'refuse'>,
  select: (cells: readonly Cell[]) => string,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const name = `${table.ref.schema}.${table.ref.name}`;
  const cells = cellsOf(relation, table, server);
  if (!cells) throw new StructureChanged(`A column of ${name} is gone.`, 'The load starts over by itself.');
  const watcher = watchSpecials(name, watchedOf(table, cells), placesOf(table), refuse);
  let rows = 0;
  for await (const batch of copyOut(session, `copy (${select(cells)}) to stdout`)) {
    rows += batch.rows;
    signal.throwIfAborted();
    yield { ...batch, data: fixEscapes(watcher.apply(batch.data as Buffer)) };
  }
  return { rows, rules: [...watcher.uses(), ...maskUses(table, rows)] };
}

async function openSnapshot(session: Session, relation: Relation, range: Range): Promise<void> {
  // LOCK takes no snapshot: what is seen afterwards is newer than any rewrite that the lock waited for.
  const statements = ['begin transaction isolation level repeatable read, read only'];
  const target = range.form === 'pages' ? range : relation.ref;
  // Before 13 a lock on a root needs the right to read each partition, a SELECT does not.
  const alone = relation.kind === 'r' || range.form === 'pages' || relation.storage.some((leaf) => !leaf.readable);
  if (!isView(relation))
    statements.push(`lock table ${alone ? 'only ' : ''}${quoteTable(target)} in access share mode`);
  // The text of regclass and its kind depends on the search path, which must be the same for every reader of the log.
  if (relation.columns.some((column) => dependsOnPath(column.type)))
    statements.push('set local search_path = pg_catalog');
  await session.query(statements.join(';'));
  if (range.form !== 'pages') return;
  const { rows } = await session.query<{ filenode: number | null }>(
    'select pg_relation_filenode($1::oid) as filenode',
    [range.storage],
  );
  if (rows[0]?.filenode !== range.filenode)
    throw new StructureChanged(
      `${quoteTable(range)} was rewritten, truncated or recreated during the load.`,
      'The load starts over by itself.',
    );
}

/** Names of the kind of regclass print as the search path is. */
export function dependsOnPath(type: SourceType): boolean {
  if (type.element !== undefined) return dependsOnPath(type.element);
  return /^reg/.test(type.name) || (type.fields ?? []).some((field) => dependsOnPath(field.type));
}

/** The SELECT of a range. Inheritance children are never read with their parent: the log reports them as tables of their own. */
export function selectOf(
  table: Table,
  relation: Relation,
  cells: readonly Cell[],
  range: Range,
  where: string | undefined,
): string {
  const only = relation.kind === 'r' || range.form === 'pages' ? 'only ' : '';
  const target = range.form === 'pages' ? range : table.ref;
  // The newline ends a comment at the end of the user's condition.
  const conditions = [
    ...boundsOf(relation, range),
    ...(where === undefined || where.trim() === '' ? [] : [`(${where}\n)`]),
  ];
  return `select ${cells.map((cell) => cell.sql).join(', ')} from ${only}${quoteTable(target)}${conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`}`;
}

function boundsOf(relation: Relation, range: Range): string[] {
  if (range.form === 'all') return [];
  if (range.form === 'pages') {
    const bounds = range.from === 0 ? [] : [`ctid >= '(${range.from},0)'::tid`];
    return range.to === null ? bounds : [...bounds, `ctid < '(${range.to},0)'::tid`];
  }
  const columns = range.columns.map(quoteName).join(', ');
  const bound = (values: readonly string[]): string =>
    values.map((value, index) => `${quoteText(value)}::${castOf(relation, range.columns[index] as string)}`).join(', ');
  return [
    ...(range.from === null ? [] : [`(${columns}) >= (${bound(range.from)})`]),
    ...(range.to === null ? [] : [`(${columns}) < (${bound(range.to)})`]),
  ];
}

/** The cast that gives a bound its column's own type, so that the comparison uses the column's index and order. */
function castOf(relation: Relation, name: string): string {
  const column = relation.columns.find((one) => one.name === name);
  if (!column) throw new StructureChanged(`The key column "${name}" is gone.`, 'The load starts over by itself.');
  // Quoted, so that `bpchar` and `bit` take any length instead of one character.
  return `${quoteName(column.type.schema)}.${quoteName(column.type.name)}`;
}

function watchedOf(table: Table, cells: readonly Cell[]) {
  return cells.flatMap(({ special }, index) => {
    const { name } = table.columns[index] as Table['columns'][number];
    return special === undefined ? [] : [{ index, name, special, key: table.key.includes(name) }];
  });
}

function placesOf(table: Table) {
  return table.key.map((name) => ({ name, index: table.columns.findIndex((column) => column.name === name) }));
}

function maskUses(table: Table, rows: number): RuleUse[] {
  if (rows === 0) return [];
  return table.columns
    .filter((column) => column.masked)
    .map((column) => ({ rule: 'mask', column: column.name, count: rows, examples: [] }));
}
