import { inflateSync } from 'node:zlib';
import type { Carry, LogEvent } from '../changes.ts';
import type { Column, Table } from '../model.ts';
import { type CatalogTable, readTables, sameName } from './catalog.ts';
import { type Connection, tolerate } from './connection.ts';
import { describeTables, structureOf } from './describe.ts';
import type { Effect } from './effects.ts';
import { readFills } from './fills.ts';
import type { Follower } from './followed-tables.ts';
import { EVENT, eventType, formatChecksums, packedPart, readStatement, rotation } from './log-events.ts';
import type { Layout } from './log-layout.ts';
import { comparePlaces, type LogPlace, placeOf } from './log-place.ts';
import { openLogStream } from './log-stream.ts';
import type { Pool } from './pool.ts';
import { writtenEnd } from './position.ts';
import { parseStatement } from './statement.ts';
import { quoteName } from './types.ts';

/** What the catalog says of followed tables before the log is read. */
export type CatalogView = {
  /** The places of the columns in the log's rows, if the catalog still shows the table as it was described. */
  readonly layout: Layout | undefined;
  /** Why the log's rows of this table are of no use. */
  readonly refusal: string | undefined;
};

export async function viewCatalog(connection: Connection, tables: readonly Table[]): Promise<CatalogView[]> {
  const found = await readTables(
    connection,
    tables.map((table) => table.ref),
  );
  return tables.map((table, index) => {
    const catalog = found[index];
    const same = catalog && structureOf(catalog, table.columns, table.key) === table.structure;
    return {
      layout: same ? layoutOf(catalog) : undefined,
      refusal:
        catalog?.type === 'SYSTEM VERSIONED'
          ? 'it is system-versioned, and the log mixes the rows of its history with its current ones'
          : undefined,
    };
  });
}

function layoutOf(catalog: CatalogTable): Layout {
  const layout: (Layout[number] | undefined)[] = [];
  for (const { name, position, charset } of catalog.columns) layout[position - 1] = { name, charset };
  // Places between, of columns that the user may not see, are not left empty but undefined.
  return Array.from(layout);
}

/**
 * Looks at a table after a statement that may have changed its structure, at `place` of the log. undefined: it is what it was. Its structure
 * of today counts for the rows that follow only if the log up to today holds no further DDL of the table (EXACTNESS.md §7).
 */
export async function structureNow(
  pool: Pool,
  follower: Follower,
  effect: Effect,
  place: LogPlace,
  refuse: boolean,
  signal: AbortSignal,
): Promise<Extract<LogEvent, { kind: 'structure' }> | undefined> {
  const { table, options = {}, index } = follower;
  const { schema, name } = table.ref;
  const { reason } = effect;
  const event = (now: Table | null, why: string, carry?: Carry) =>
    ({
      kind: 'structure',
      table: index,
      now,
      reason: `${schema}.${name}: ${why}.`,
      ...(carry ? { carry } : {}),
    }) as const;
  const found = await pool.lend(async (connection) => {
    // Waits for a statement that stands in the log already and has not ended yet: it holds the table's metadata lock.
    await tolerate(connection.query(`select 1 from ${quoteName(schema)}.${quoteName(name)} where false`), [1146, 1142]);
    const [described] = await describeTables(connection, [{ ref: table.ref, options }]);
    const now = described && 'table' in described ? described.table : undefined;
    const renames = now && renamesOf(table, now, effect);
    const added = now && renames ? addedColumns(table, now, renames) : [];
    const fills = effect.fills
      ? await readFills(pool, table.ref, added, refuse, signal)
      : added.every(({ nullable }) => nullable)
        ? new Map<string, string>()
        : undefined;
    return { described, renames, fills, end: placeOf(await writtenEnd(connection)) as LogPlace };
  }, signal);
  if (!found.described || 'error' in found.described)
    return event(null, `${reason}; ${found.described?.error.message ?? 'it is gone'}`.replace(/\.$/, ''));
  const now = found.described.table;
  const { fills, renames } = found;
  if (await changedSince(pool, table, place, found.end, effect.fills ?? false, signal))
    return event(null, `${reason}, and changed again since`);
  if (now.structure === table.structure) return undefined;
  if (!renames) return event(null, `${reason}: it renames columns in a way that the copy can not follow`);
  const difference = keepsValues(table, now, renames, effect.lax ?? false);
  if (difference !== undefined) return event(null, `${reason}: ${difference}`);
  if (!fills) return event(null, `${reason}: the rows that were there before hold values that the log does not tell`);
  return event(now, reason, { fills, renames });
}

/** New names of copied columns with those before; undefined: values may have gone to other columns. */
function renamesOf(before: Table, now: Table, { renames = [] }: Effect): Map<string, string> | undefined {
  const found = new Map<string, string>();
  const column = (table: Table, name: string) =>
    table.columns.find((one) => one.name.toLowerCase() === name.toLowerCase());
  for (const { from, to } of renames) {
    if (before.leftOut.some((one) => one.name.toLowerCase() === from.toLowerCase())) continue;
    const [old, next] = [column(before, from), column(now, to)];
    if (!old || !next || column(now, from) || column(before, to)) return undefined;
    if (before.key.includes(old.name)) return undefined;
    found.set(next.name, old.name);
  }
  return found;
}

function addedColumns(before: Table, now: Table, renames: ReadonlyMap<string, string>): Column[] {
  return now.columns.filter(({ name }) => !renames.has(name) && !before.columns.some((column) => column.name === name));
}

/** Whether the log holds further DDL of a table between two places. `defaults`: also such as changes no more than a default. */
async function changedSince(
  pool: Pool,
  table: Table,
  from: LogPlace,
  to: LogPlace,
  defaults: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  if (comparePlaces(from, to) >= 0) return false;
  const connection = await pool.take(signal);
  const abort = () => connection.destroy();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const stream = await openLogStream(connection, { place: from }, true);
    let checksums = 0;
    let place = from;
    do {
      while (stream.next()) {
        const { bytes, end } = stream.packets;
        const start = stream.packets.start + 1;
        const type = eventType(bytes, start);
        if (type === EVENT.format) checksums = formatChecksums(bytes, start, end) ? 4 : 0;
        if (type === EVENT.rotate) place = rotation(bytes, start, end - checksums);
        if (comparePlaces(place, to) > 0) return false;
        if (type !== EVENT.query && type !== EVENT.queryCompressed) continue;
        const unpack = (packed: Buffer) => inflateSync(packedPart(packed).data);
        const statement = readStatement(bytes, start, end - checksums, unpack);
        const parsed = parseStatement(statement);
        if (parsed.kind !== 'effects') continue;
        for (const { schema = statement.schema, name, what } of parsed.effects)
          if (
            what !== 'truncate' &&
            (defaults || what !== 'defaults') &&
            sameName(connection.facts, schema, table.ref.schema) &&
            (name === undefined || sameName(connection.facts, name, table.ref.name))
          )
            return true;
      }
    } while (await stream.wait());
    return false;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', abort);
    await pool.kill(connection);
  }
}

/** Why the rows that were there before can't be brought to the new structure by DDL at the destination; undefined when they can. */
function keepsValues(
  before: Table,
  now: Table,
  renames: ReadonlyMap<string, string>,
  lax: boolean,
): string | undefined {
  if (before.key.join('\0') !== now.key.join('\0')) return 'its key has changed';
  const old = new Map(before.columns.map((column) => [column.name, column]));
  for (const column of now.columns) {
    const from = renames.get(column.name);
    const was = old.get(from ?? column.name);
    if (!was) continue;
    const same = from === undefined ? widens(was, column) : sameType(was, column);
    if (!same) return `${was.name} was ${was.sourceType} and ${column.name} is ${column.sourceType}`;
    // A TIMESTAMP gets the time of the statement instead of NULL by a setting that the log does not tell.
    if (was.nullable && !column.nullable && (lax || was.sourceType.startsWith('timestamp')))
      return `NULL in ${was.name} may have become another value`;
  }
  return undefined;
}

function sameType(was: Column, now: Column): boolean {
  return was.sourceType === now.sourceType && was.masked === now.masked;
}

/** Whether every value of the old type is the same text in the new one. */
function widens(was: Column, now: Column): boolean {
  if (was.sourceType === now.sourceType) return sameType(was, now);
  const parts = (type: string) => /^([a-z0-9]+)(?:\((.*)\))?(.*)$/is.exec(type)?.slice(1) ?? [];
  const [word = '', list = '', rest = ''] = parts(was.sourceType);
  const [newWord = '', newList = '', newRest = ''] = parts(now.sourceType);
  if (rest !== newRest) return false;
  const numbers = (text: string) => text.split(',').map(Number);
  if (word === newWord && (word === 'enum' || word === 'set')) return newList.startsWith(`${list},`);
  if (word === newWord && (word === 'varchar' || word === 'varbinary')) return Number(newList) >= Number(list);
  if (word === newWord && word === 'decimal') {
    const [digits = 0, scale = 0] = numbers(list);
    const [newDigits = 0, newScale = 0] = numbers(newList);
    return scale === newScale && newDigits >= digits;
  }
  const integers = ['tinyint', 'smallint', 'mediumint', 'int', 'bigint'];
  const [from, to] = [integers.indexOf(word), integers.indexOf(newWord)];
  if (from >= 0 && to >= 0) return to >= from;
  const sizes = ['tiny', '', 'medium', 'long'];
  for (const family of ['text', 'blob']) {
    const [small, large] = [word, newWord].map((one) => sizes.findIndex((size) => `${size}${family}` === one)) as [
      number,
      number,
    ];
    if (small >= 0 && large >= 0) return large >= small;
  }
  return false;
}
