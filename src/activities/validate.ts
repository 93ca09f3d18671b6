import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { cancellationSignal } from '@temporalio/activity';
import type { Followed } from '../drivers/apply.ts';
import type { Check, Checked, CheckPart } from '../drivers/check.ts';
import type { RunTable } from '../drivers/destination.ts';
import { isPermanent, StructureChanged, Superseded } from '../drivers/errors.ts';
import type { Position, Table, TableError, TableRef } from '../drivers/model.ts';
import type { MainStream } from '../workflows/children.ts';
import type { LoadHeartbeat } from '../workflows/progress.ts';
import { at, beat, type Connections, type Ends, type Sealed } from './connections.ts';
import { fromSource } from './extract.ts';
import { keyOf, type RunTarget } from './plan.ts';
import { settle } from './settle.ts';

export type CheckInput = Sealed & {
  readonly pipeline: string;
  readonly run: number;
  readonly main: MainStream;
  readonly tables: readonly RunTarget[];
};
/** A table whose source has been read: its rows stand at the destination under `name`; the copy must have come to `until` to be compared. */
export type ReadTable = RunTarget & { readonly name: string; readonly until: string; readonly startedAt: number };
/** What became of a table. `error`: why it was skipped or failed. */
export type CheckedTable = {
  readonly ref: TableRef;
  readonly state: 'checked' | 'skipped' | 'failed';
  readonly check: Checked | null;
  readonly error: TableError | null;
};
export type ReadAnswer = { readonly read: readonly ReadTable[]; readonly done: readonly CheckedTable[] };
export type SettleInput = Omit<CheckInput, 'tables'> & {
  readonly tables: readonly ReadTable[];
  readonly repair: boolean;
};
/** `again`: these changed under the check and must be read again. */
export type SettleAnswer = {
  readonly done: readonly CheckedTable[];
  readonly again: readonly { readonly ref: TableRef; readonly reason: string }[];
};
export type HealInput = Omit<CheckInput, 'tables' | 'run'>;

/** Bytes that one LOAD brings. */
const CHUNK_BYTES = 64 * 1024 * 1024;
/** How often the destination is asked how far the stream has come. */
const POLL_MS = 250;

export function validateActivities(connections: Connections) {
  return {
    /** Reads tables of the source again, beside their copies. A repeated call begins anew with what it has no result of. */
    async readTables(input: CheckInput): Promise<ReadAnswer> {
      return connections.withEnds(input, (ends) => readTables(ends, input));
    },

    /** Compares what was read with the copies as soon as the main stream has come so far, and records what differs for good. Never writes a copy. */
    async settleTables(input: SettleInput): Promise<SettleAnswer> {
      return connections.withEnds(input, (ends) => settleTables(ends, input));
    },

    /** Waits until the main stream has read again all keys that wait for it. */
    async awaitRepairs(input: HealInput): Promise<void> {
      await connections.withEnds(input, async ({ destination }) => {
        const { databases, scope } = input.main;
        const tables = await at('destination', () => destination.followed(databases, input.pipeline, scope));
        for (const database of databases) {
          const ids = tables.filter(({ target }) => target.database === database).map(({ id }) => id);
          while ((await at('destination', () => destination.waiting(database, ids))) > 0) await pause();
        }
      });
    },

    /** Removes what checks of the pipeline have left. */
    async clearChecks(input: HealInput): Promise<void> {
      await connections.withEnds(input, async ({ destination }) => {
        for (const database of input.main.databases)
          await at('destination', () => destination.dropChecks(database, input.pipeline));
      });
    },
  };
}

async function readTables(ends: Ends, input: CheckInput): Promise<ReadAnswer> {
  const { destination, source } = ends;
  const { databases, scope } = input.main;
  for (const database of databases) await at('destination', () => destination.prepare(database));
  const known = new Map<string, RunTable>();
  for (const database of databases)
    for (const table of await at('destination', () => destination.runTables(database, input.pipeline, input.run)))
      known.set(keyOf(table.ref), table);
  const followed = byRef(await at('destination', () => destination.followed(databases, input.pipeline, scope)));
  const described = await at('source', () =>
    source.describe(input.tables.map((one) => ({ ...one, like: followed.get(keyOf(one.ref))?.table.structure }))),
  );
  const read: ReadTable[] = [];
  const done: CheckedTable[] = [];
  for (const [index, target] of input.tables.entries()) {
    const before = known.get(keyOf(target.ref));
    if (before && (before.state === 'checked' || before.state === 'skipped' || before.state === 'failed')) {
      done.push({ ref: target.ref, state: before.state, check: before.check ?? null, error: before.error });
      continue;
    }
    const startedAt = Date.now();
    const end = async (state: 'skipped' | 'failed', error: TableError): Promise<void> => {
      done.push(await record(ends, input, target, startedAt, { ref: target.ref, state, check: null, error }));
    };
    const live = followed.get(keyOf(target.ref));
    const now = described[index];
    const why = reasonToSkip(target, live, now && 'table' in now ? now.table : undefined);
    if (now && 'error' in now) await end('failed', now.error);
    else if (why || !live || !now) await end('skipped', why ?? NOT_FOLLOWED);
    else {
      try {
        const { columns, key } = live.table;
        const rest = await readTable(ends, target, live, { ...now.table, columns, key });
        read.push({ ...target, ...rest, startedAt });
      } catch (error) {
        if (!isPermanent(error) || error instanceof Superseded) throw error;
        await end('failed', errorOf(error));
      }
    }
  }
  return { read, done };
}

const NOT_FOLLOWED: TableError = {
  class: 'NotFollowed',
  message: 'The main stream does not follow this table now: it is not loaded, paused, skipped, or waits for a reload.',
  action: 'Load it with syncnew, then validate it again.',
};

/** Why a table can't be compared; null: it can. */
function reasonToSkip({ options }: RunTarget, live: Followed | undefined, now: Table | undefined): TableError | null {
  if (!live || live.place !== live.target.table) return NOT_FOLLOWED;
  if (live.options.history)
    return {
      class: 'UnsupportedValue',
      message: 'The table keeps its history, which a comparison with the source does not cover yet.',
      action: 'Compare its current versions by hand.',
    };
  if (live.table.key.length === 0 && options.skipInitial)
    return {
      class: 'UnsupportedValue',
      message:
        'The table has no key, and its rows were not loaded (skipInitial): nothing says which rows it should hold.',
      action: 'Choose a `key` for the table, or unset `skipInitial`.',
    };
  if (now && !sameStructure(live.table, now))
    return {
      class: 'StructureChanged',
      message: 'The table has another structure at the source, or other settings, than its copy was made with.',
      action: 'Run syncstruct, or syncnew with redoInitial where settings were changed; then validate it again.',
    };
  return null;
}

/** Masks are as the copy has them: they count from the next load on. */
function sameStructure(copy: Table, now: Table): boolean {
  const text = ({ columns, key }: Table): string =>
    JSON.stringify([key, columns.map(({ name, sourceType, type }) => [name, sourceType, type])]);
  return copy.structure === now.structure || text(copy) === text(now);
}

/** Reads one table into the places of a check. */
async function readTable(
  { source, destination }: Ends,
  { ref, options }: RunTarget,
  live: Followed,
  table: Table,
): Promise<Pick<ReadTable, 'name' | 'until'>> {
  const name = randomBytes(4).toString('hex');
  const check = destination.check(live, name);
  const parts = partsOf(live, options.where);
  await at('destination', () => check.begin(parts));
  const signal = cancellationSignal();
  let rows = 0;
  let bytes = 0;
  for (const part of parts) {
    const where = part === 'where' ? options.where : undefined;
    const split = await at('source', () => source.split(table, where, CHUNK_BYTES));
    for (const range of split.ranges) {
      const [before, sent] = [rows, bytes];
      const progress = (more: number, size: number): void => {
        [rows, bytes] = [before + more, sent + size];
      };
      const shown = setInterval(() => beat({ table: ref, rows, bytes } satisfies LoadHeartbeat), 500);
      try {
        const batches = fromSource(source.read(table, where, range, signal));
        await at('destination', () => check.load(part, split.replace, batches, progress, signal));
      } finally {
        clearInterval(shown);
      }
    }
  }
  // The last row was read before this position: a copy that has come to it holds all of them, unless they changed meanwhile.
  return { name, until: await at('source', () => source.written()) };
}

/** Without a key there is nothing to tell rows by that a condition did not bring. */
function partsOf(live: Followed, where: string | undefined): CheckPart[] {
  if (!where) return ['all'];
  return live.table.key.length === 0 ? ['where'] : ['all', 'where'];
}

async function settleTables(ends: Ends, input: SettleInput): Promise<SettleAnswer> {
  const { destination } = ends;
  const { databases, scope } = input.main;
  const followed = async () =>
    byRef(await at('destination', () => destination.followed(databases, input.pipeline, scope)));
  const before = await followed();
  const again: { ref: TableRef; reason: string }[] = [];
  const done: CheckedTable[] = [];
  const found: { table: ReadTable; live: Followed; check: Check; keys: readonly string[]; checked: Checked }[] = [];
  for (const table of input.tables) {
    const live = before.get(keyOf(table.ref));
    if (!live) {
      again.push({ ref: table.ref, reason: NOT_FOLLOWED.message });
      continue;
    }
    const check = destination.check(live, table.name);
    try {
      const result = await settle(ends, { table, live, check, passed: (goal) => passed(ends, input, live, goal) });
      found.push({ table, live, check, ...result });
    } catch (error) {
      if (!isPermanent(error) || error instanceof Superseded) throw error;
      await at('destination', () => check.end());
      if (error instanceof StructureChanged) again.push({ ref: table.ref, reason: error.message });
      else {
        const lost = { ref: table.ref, state: 'failed', check: null, error: errorOf(error) } as const;
        done.push(await record(ends, input, table, table.startedAt, lost));
      }
    }
  }
  // A copy that left the stream meanwhile stood still while it was compared.
  const after = await followed();
  for (const { table, live, check, keys, checked } of found) {
    const now = after.get(keyOf(table.ref));
    if (now?.load !== live.load || now.table.structure !== live.table.structure || now.place !== live.place)
      again.push({ ref: table.ref, reason: 'The copy changed while it was compared.' });
    else {
      const repaired = input.repair ? keys.length : 0;
      if (repaired > 0) await at('destination', () => check.repair(keys));
      const result = { ref: table.ref, state: 'checked', check: { ...checked, repaired }, error: null } as const;
      done.push(await record(ends, input, table, table.startedAt, result));
    }
    await at('destination', () => check.end());
  }
  return { done, again };
}

/** Waits until the copy's database holds everything up to `goal`. */
async function passed(
  { source, destination }: Ends,
  input: SettleInput,
  live: Followed,
  goal: Position,
): Promise<void> {
  const { database } = live.target;
  for (;;) {
    const rows = await at('destination', () => destination.scopes(database, input.pipeline));
    const row = rows.find(({ scope }) => scope === input.main.scope);
    if (!row)
      throw new Superseded(
        `The main stream of pipeline ${input.pipeline} has no checkpoint at the destination any more.`,
        'Validate again.',
      );
    if (source.reached(row.position, goal)) return;
    await pause();
  }
}

function pause(): Promise<void> {
  return sleep(POLL_MS, undefined, { signal: cancellationSignal() });
}

/** A table of a database that the main stream does not write is told of, not recorded. */
async function record(
  { destination }: Ends,
  { pipeline, run, main }: Pick<CheckInput, 'pipeline' | 'run' | 'main'>,
  place: RunTarget,
  startedAt: number,
  table: CheckedTable,
): Promise<CheckedTable> {
  const began = { startedAt: new Date(startedAt) };
  const { state, check, error } = table;
  if (!main.databases.includes(place.target.database)) return table;
  if (check) await at('destination', () => destination.recordCheck(pipeline, run, place, { ...began, check }));
  else if (error && state !== 'checked')
    await at('destination', () => destination.recordCheck(pipeline, run, place, { ...began, state, error }));
  return table;
}

function byRef(tables: readonly Followed[]): Map<string, Followed> {
  return new Map(tables.filter((one) => one.place === one.target.table).map((one) => [keyOf(one.ref), one]));
}

function errorOf(error: Error & { action: string }): TableError {
  return { class: error.name, message: error.message, action: error.action };
}
