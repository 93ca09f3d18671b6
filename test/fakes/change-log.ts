import type { Followed } from '../../src/drivers/apply.ts';
import type { Capture, LogEvent } from '../../src/drivers/changes.ts';
import type { Batch, ChunkRead, Position, Table } from '../../src/drivers/model.ts';

/** Cells as load text: `\N` is NULL. */
export type Cells = readonly string[];

/** A made-up source: what it holds, and the log of how it came to be. Positions are numbers as text. */
export type ChangeLog = {
  readonly tables: readonly Table[];
  /** Rows by key text. */
  readonly contents: readonly Map<string, Cells>[];
  insert(table: number, cells: Cells): void;
  /** A changed row under its old key; `missing` columns are not in the log, which must be true to the row. */
  update(table: number, oldKey: string, cells: Cells, missing?: readonly number[]): void;
  delete(table: number, key: string): void;
  truncate(table: number): void;
  /** Ends the transaction. */
  commit(): Position;
  written(): Position;
  /** All events of transactions after a position. */
  events(from: Position): LogEvent[];
  /** A capture; `from` by table: changes up to there are dropped. */
  capture(skip?: (table: number) => Position): Capture & {
    readonly rereads: (readonly [number, readonly string[]])[];
    readonly acknowledged: Position[];
    eventsFrom(from: Position): LogEvent[];
  };
  keyOf(table: number, cells: Cells): string;
};

/** Whether `goal` lies within `position`. */
export function reached(position: Position, goal: Position): boolean {
  return Number(position) >= Number(goal);
}

/** An empty source. */
export function changeLog(tables: readonly Table[]): ChangeLog {
  const contents = tables.map(() => new Map<string, Cells>());
  const transactions: LogEvent[][] = [];
  let open: LogEvent[] = [];
  const tableOf = (index: number) => tables[index] as Table;
  const rowsOf = (index: number) => contents[index] as Map<string, Cells>;
  const keyOf = (index: number, cells: Cells) => {
    const { columns, key } = tableOf(index);
    const words = key.map((name) => cells[columns.findIndex((column) => column.name === name)] as string);
    return Buffer.from(words.join('\t'), 'utf8').toString('latin1');
  };
  const lineOf = (cells: Cells) => Buffer.from(`${cells.join('\t')}\n`, 'utf8');
  const log: ChangeLog = {
    tables,
    contents,
    keyOf,
    insert(table, cells) {
      const key = keyOf(table, cells);
      rowsOf(table).set(key, cells);
      const data = lineOf(cells);
      open.push({ kind: 'insert', table, key, oldKey: null, data, from: 0, to: data.length, missing: null });
    },
    update(table, oldKey, cells, missing) {
      const key = keyOf(table, cells);
      const before = rowsOf(table).get(oldKey);
      if (key !== oldKey && before !== undefined) rowsOf(table).delete(oldKey);
      rowsOf(table).set(key, cells);
      const shown = missing ? cells.map((cell, i) => (missing.includes(i) ? '\\N' : cell)) : cells;
      // Neighbours in the buffer, so that a reader beyond the bounds shows.
      const line = lineOf(shown);
      const data = Buffer.concat([Buffer.from('x\ty\n'), line, Buffer.from('z\n')]);
      const old = key === oldKey ? null : oldKey;
      const unknown = missing && missing.length > 0 ? missing : null;
      open.push({ kind: 'update', table, key, oldKey: old, data, from: 4, to: 4 + line.length, missing: unknown });
    },
    delete(table, key) {
      rowsOf(table).delete(key);
      open.push({ kind: 'delete', table, key, oldKey: null, data: new Uint8Array(), from: 0, to: 0, missing: null });
    },
    truncate(table) {
      rowsOf(table).clear();
      open.push({ kind: 'truncate', table });
    },
    commit() {
      transactions.push(open);
      open = [];
      const position = String(transactions.length) as Position;
      transactions.at(-1)?.push({ kind: 'commit', position, at: transactions.length * 1000 });
      return position;
    },
    written: () => String(transactions.length) as Position,
    events: (from) => transactions.slice(Number(from)).flat(),
    capture(skip) {
      const rereads: (readonly [number, readonly string[]])[] = [];
      const acknowledged: Position[] = [];
      const eventsFrom = (from: Position) =>
        transactions.slice(Number(from)).flatMap((events, i) => {
          const at = Number(from) + i + 1;
          return events.filter((event) => !('table' in event) || !skip || at > Number(skip(event.table)));
        });
      return {
        rereads,
        acknowledged,
        eventsFrom,
        async *events() {
          yield eventsFrom('0' as Position);
        },
        async *reread(table, keys): AsyncGenerator<Batch, ChunkRead, undefined> {
          rereads.push([table, keys]);
          let rows = 0;
          for (const key of keys) {
            const cells = rowsOf(table).get(key);
            if (!cells) continue;
            rows++;
            yield { data: lineOf(cells), rows: 1 };
          }
          return { rows, rules: [] };
        },
        async acknowledge(position) {
          acknowledged.push(position);
        },
        takeRules: () => [],
        async [Symbol.asyncDispose]() {},
      };
    },
  };
  return log;
}

/** Cuts events into pieces as a capture does: anywhere, also inside a transaction. */
export function pieces(events: readonly LogEvent[], random: () => number, most = 30): LogEvent[][] {
  const cut: LogEvent[][] = [];
  for (let i = 0; i < events.length; ) {
    const length = 1 + Math.floor(random() * most);
    cut.push(events.slice(i, i + length));
    i += length;
  }
  return cut;
}

/** Numbers in [0, 1) that are the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * Random transactions over all tables: inserts, updates whole and (if `partial`) in part, key changes and swaps, deletes, truncates, deletes with inserts.
 * `deferrable`: two rows may share a key until their transaction ends.
 */
export function randomTransactions(
  log: ChangeLog,
  random: () => number,
  count: number,
  cellsFor: (table: number, random: () => number) => Cells,
  { truncates = 0.01, most = 8, deferrable = true, partial = true } = {},
): void {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  for (let t = 0; t < count; t++) {
    const changes = 1 + Math.floor(random() * most);
    for (let c = 0; c < changes; c++) {
      const table = Math.floor(random() * log.tables.length);
      const rows = log.contents[table] as Map<string, Cells>;
      const { columns, key } = log.tables[table] as Table;
      const cells = cellsFor(table, random);
      const keys = [...rows.keys()];
      const chance = random();
      if (chance < truncates) log.truncate(table);
      else if (keys.length === 0 || chance < 0.35) {
        const now = log.keyOf(table, cells);
        if (rows.has(now)) log.update(table, now, cells);
        else log.insert(table, cells);
      } else if (chance < 0.5) log.delete(table, pick(keys));
      else {
        const old = pick(keys);
        const before = rows.get(old) as Cells;
        const isKey = (i: number) => key.includes((columns[i] as { name: string }).name);
        const moves = chance > 0.85;
        const after = cells.map((cell, i) => (isKey(i) && !moves ? (before[i] as string) : cell));
        const unknown = columns.flatMap((_, i) => (!isKey(i) && random() < 0.3 && chance > 0.65 && partial ? [i] : []));
        const full = after.map((cell, i) => (unknown.includes(i) ? (before[i] as string) : cell));
        const next = log.keyOf(table, full);
        if (next !== old && rows.has(next)) swap(log, table, old, next, () => (deferrable ? random() : 0));
        else log.update(table, old, full, unknown);
        // The same key again in the same transaction.
        if (chance > 0.97) {
          log.delete(table, next);
          if (random() < 0.5) log.insert(table, full);
        }
      }
    }
    log.commit();
  }
}

/** Two rows take each other's keys, by way of a third key or at once (deferrable keys). */
function swap(log: ChangeLog, table: number, one: string, other: string, random: () => number): void {
  const rows = log.contents[table] as Map<string, Cells>;
  const { columns, key } = log.tables[table] as Table;
  const [a, b] = [rows.get(one) as Cells, rows.get(other) as Cells];
  if (one === other) return;
  const withKeyOf = (cells: Cells, from: Cells) =>
    cells.map((cell, i) => (key.includes((columns[i] as { name: string }).name) ? (from[i] as string) : cell));
  const [a2, b2] = [withKeyOf(a, b), withKeyOf(b, a)];
  if (random() < 0.5) {
    log.delete(table, other);
    log.update(table, one, a2);
    log.insert(table, b2);
    return;
  }
  log.update(table, one, a2);
  rows.set(one, b2);
  log.update(table, other, b2);
  rows.set(other, a2);
}

/** What an applier's request needs of a log. */
export function tablesOf(followed: readonly Followed[], log: ChangeLog): Followed[] {
  return log.tables.map((table) => {
    const found = followed.find(({ ref }) => ref.schema === table.ref.schema && ref.name === table.ref.name);
    if (!found) throw new Error(`${table.ref.name} is not followed.`);
    return found;
  });
}
