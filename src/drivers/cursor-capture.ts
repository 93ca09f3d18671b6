import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Capture, CaptureRequest, FollowedTable, LogEvent } from './changes.ts';
import { lineKeys } from './cursor-rows.ts';
import { after, REREAD_GRACE_MS } from './grace.ts';
import type { Batch, ChunkRead, Position, RuleUse, Table } from './model.ts';

/**
 * Changes of sources that tell rows as they are now rather than what was done to them: by a cursor column, or by net changes since a version.
 * The source is looked at again and again; what a look finds is one commit.
 */

type Structure = Extract<LogEvent, { kind: 'structure' }>;
/** A table that is no longer what is followed, or whose changes can't be told from where it stands. */
export type News = Pick<Structure, 'now' | 'reason' | 'carry'>;

/** Rows that changed: whole rows, or for `delete` the key columns alone in `Table.key` order; cut at row ends. */
export type ChangedRows = { readonly kind: 'insert' | 'update' | 'delete'; readonly data: Uint8Array };

/** A view of the source at one moment, or at least from one moment on. */
export interface Look extends AsyncDisposable {
  /** Every change up to it is seen by this look, or was by an earlier one. */
  readonly position: Position;
  /** The source's clock, ms since 1970 (UTC). */
  readonly at: number;
  /** What is to be said of each table before its rows; null: nothing. */
  news(tables: readonly FollowedTable[]): Promise<readonly (News | null)[]>;
  /** Rows of a table that changed after the latest of `from`; a row may come again that came before. */
  changed(
    table: Table,
    from: readonly Position[],
    signal: AbortSignal,
  ): AsyncGenerator<ChangedRows, readonly RuleUse[], undefined>;
  /** Throws when a table of which rows were read is no longer what it was before; absent: its rows were read as of one moment. */
  settled?(tables: readonly Table[]): Promise<void>;
}

export type Looks = {
  /** A new look; null: nothing has changed since `from`, which is then still the position. */
  look(from: Position, signal: AbortSignal): Promise<Look | null>;
  reread(table: Table, keys: readonly string[], signal: AbortSignal): AsyncGenerator<Batch, ChunkRead, undefined>;
  /** Between two looks of a reader that goes on. */
  readonly pollMs: number;
  /** Looks find rows again that they found before: a reader that goes on passes each state of a row on once. */
  readonly repeats: boolean;
};

/** A reader of changes by looks. */
export function captureByLooks(request: CaptureRequest, looks: Looks, signal: AbortSignal): Capture {
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  const rereading = AbortSignal.any([after(signal, REREAD_GRACE_MS), stop.signal]);
  const dropped = new Set<number>();
  const rules = new Map<number, RuleUse[]>();
  let seen = new Map<string, string>();

  async function* events(): AsyncGenerator<readonly LogEvent[], void, undefined> {
    let from = request.from;
    try {
      for (;;) {
        ending.throwIfAborted();
        const look = await looks.look(from, ending);
        if (look) {
          await using open = look;
          yield* found(open, from);
          from = open.position;
        }
        yield [{ kind: 'progress', position: from, atEnd: true }];
        if (request.until === 'written') return;
        await sleep(looks.pollMs, undefined, { signal: ending });
      }
    } catch (error) {
      throw ending.aborted ? ending.reason : error;
    }
  }

  async function* found(look: Look, from: Position): AsyncGenerator<readonly LogEvent[], void, undefined> {
    const live = request.tables.flatMap((one, table) => (dropped.has(table) ? [] : [{ one, table }]));
    const news = await look.news(live.map(({ one }) => one));
    for (const [i, { table }] of live.entries()) {
      const one = news[i];
      if (!one) continue;
      dropped.add(table);
      yield [{ kind: 'structure', table, ...one }];
    }
    const next = new Map<string, string>();
    let changes = 0;
    const changed: Table[] = [];
    for (const { one, table } of live) {
      if (dropped.has(table)) continue;
      const before = changes;
      const rows = look.changed(one.table, [from, ...one.skip], ending);
      try {
        for (;;) {
          const piece = await rows.next();
          if (piece.done) {
            if (piece.value.length > 0) rules.set(table, [...(rules.get(table) ?? []), ...piece.value]);
            break;
          }
          const list = toEvents(table, one.table, piece.value, next);
          changes += list.length;
          if (list.length > 0) yield list;
        }
      } finally {
        // Left in the middle, its statement must not stay open.
        await rows.return([]);
      }
      if (changes > before) changed.push(one.table);
    }
    if (changed.length > 0) await look.settled?.(changed);
    seen = next;
    if (changes > 0) yield [{ kind: 'commit', position: look.position, at: look.at }];
  }

  function toEvents(table: number, described: Table, rows: ChangedRows, next: Map<string, string>): LogEvent[] {
    const data = rows.data as Buffer;
    const list: LogEvent[] = [];
    for (const { line, key, from, to } of lineKeys(described, data, rows.kind === 'delete')) {
      if (rows.kind === 'delete') {
        list.push({ kind: 'delete', table, key, oldKey: null, data: NOTHING, from: 0, to: 0, missing: null });
        continue;
      }
      if (looks.repeats && request.until === 'forever' && next.size < MOST_SEEN) {
        const id = `${table} ${key}`;
        const digest = createHash('sha1').update(line).digest('base64');
        next.set(id, digest);
        if (seen.get(id) === digest) continue;
      }
      list.push({ kind: rows.kind, table, key, oldKey: null, data, from, to, missing: null });
    }
    return list;
  }

  return {
    events,
    reread: (table, keys) => {
      const one = request.tables[table];
      if (!one) throw new RangeError(`There is no followed table ${table}.`);
      return looks.reread(one.table, keys, rereading);
    },
    // Nothing is kept for a reader.
    acknowledge: async () => {},
    takeRules() {
      const taken = [...rules].map(([table, uses]) => ({ table, rules: uses }));
      rules.clear();
      return taken;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('The reader of changes was closed.'));
    },
  };
}

const NOTHING = new Uint8Array(0);
/** States of rows that are remembered; beyond them rows may be passed on again, which changes nothing. */
const MOST_SEEN = 200_000;
