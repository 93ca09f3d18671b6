import type { Scope } from '../drivers/destination.ts';
import { isPermanent, Superseded } from '../drivers/errors.ts';
import type { Position } from '../drivers/model.ts';
import type { FailedTable, MainStream } from '../workflows/children.ts';
import { at, beat, type Connections, type Ends, type Sealed } from './connections.ts';
import { slotName } from './names.ts';
import type { RunTarget } from './plan.ts';

/** A sealed table. */
export type SealedTable = RunTarget & { readonly id: string; readonly load: number };
export type PromoteInput = Sealed & {
  readonly pipeline: string;
  readonly run: number;
  readonly scope: number;
  readonly databases: readonly string[];
  readonly tables: readonly SealedTable[];
};
export type HandOverInput = PromoteInput & { readonly main: MainStream };
/** `behind`: nothing was done, because the main stream stands further on than the side stream. */
export type HandOverAnswer = {
  readonly lost: readonly FailedTable[];
  readonly databases: readonly string[];
  readonly behind?: true;
};
export type EndInput = Omit<PromoteInput, 'tables'>;
/** `scope` null: the run ended before it could say which scope it had made, if any. */
export type AbandonInput = Omit<EndInput, 'scope'> & { readonly scope: number | null };
export type FailInput = Sealed & {
  readonly pipeline: string;
  readonly run: number;
  readonly tables: readonly (RunTarget & { readonly error: FailedTable['error'] })[];
};

export function promoteActivities(connections: Connections) {
  return {
    /** Journal rows for all tables of each database, in one transaction each: from the last one on the run only rolls forward. */
    async journalTables(input: PromoteInput): Promise<void> {
      await connections.withEnds(input, (ends) => journal(ends, input));
    },

    /** Puts shadows in place of live tables, one by one; what can't be put in place comes back by table. */
    async promoteTables(input: PromoteInput): Promise<readonly FailedTable[]> {
      return connections.withEnds(input, (ends) => promote(ends, input));
    },

    /** The three steps that end a full extract of few tables in one: each hop through a task queue costs up to a tenth of a second. */
    async placeTables(input: PromoteInput): Promise<readonly FailedTable[]> {
      return connections.withEnds(input, async (ends) => {
        await journal(ends, input);
        const failed = await promote(ends, input);
        await letOthersGo(ends, input);
        return failed;
      });
    },

    /** Gives a side stream's tables to the main stream, which stands still (EXACTNESS.md §5, hand-over); then the side stream's scope goes. */
    async handOverTables(input: HandOverInput): Promise<HandOverAnswer> {
      return connections.withEnds(input, (ends) => handOver(ends, input));
    },

    /** Marks tables as failed: their live copies stay, their shadows go. */
    async failTables(input: FailInput): Promise<void> {
      await connections.withEnds(input, async ({ destination }) => {
        for (const { target, ref, error } of input.tables) {
          await at('destination', () =>
            destination.fail(target.database, input.pipeline, input.run, ref, target, error),
          );
        }
      });
    },

    /** The new scope has its tables: old checkpoint rows go, then the log that they kept. */
    async endFull(input: EndInput): Promise<void> {
      await connections.withEnds(input, (ends) => letOthersGo(ends, input));
    },

    /** Takes a run back that has not been journalled: shadows, chunk rows, its checkpoint rows and its slot go; live tables stay. */
    async abandonFull(input: AbandonInput): Promise<void> {
      await connections.withEnds(input, async (ends) => {
        const scope = input.scope ?? (await scopeOf(ends, input));
        for (const database of input.databases) {
          await at('destination', () => ends.destination.abandon(database, input.pipeline, input.run));
          await dropScope(ends, input.pipeline, database, scope);
        }
      });
    },
  };
}

async function handOver(ends: Ends, input: HandOverInput): Promise<HandOverAnswer> {
  const { destination } = ends;
  const { pipeline, main } = input;
  const rows = new Map<string, readonly Scope[]>();
  const databases = [...new Set([...main.databases, ...input.databases])].sort();
  for (const database of databases)
    rows.set(database, await at('destination', () => destination.scopes(database, pipeline)));
  const mains = [...rows.values()].flat().filter((row) => row.scope === main.scope);
  const [first] = mains;
  if (!first)
    throw new Superseded(
      `The main stream of pipeline ${pipeline} has no checkpoint at the destination.`,
      'Run a full extract.',
    );
  // A database that the main stream has not written yet begins where the others are furthest behind.
  const behind =
    mains.find((row) => mains.every((other) => ends.source.reached(other.position, row.position))) ?? first;
  for (const database of input.databases)
    if (!rows.get(database)?.some((row) => row.scope === main.scope))
      await at('destination', () => destination.createScope(database, pipeline, behind));
  // A row of the side stream that is gone says that an earlier attempt had given all tables over.
  const left = input.databases.filter((database) => rows.get(database)?.some((row) => row.scope === input.scope));
  let lost: readonly FailedTable[] = [];
  if (left.length === input.databases.length) {
    const goal = await at('destination', () => destination.claimScope(databases, pipeline, main.scope, first.run));
    const side = await at('destination', () => destination.claimScope(left, pipeline, input.scope, input.run));
    // What lies between the two would be applied by neither.
    const there = new Map(goal.databases.map((row) => [row.database, row.position]));
    const isBehind = side.databases.some(({ database, position }) => {
      const wanted = there.get(database);
      return wanted !== undefined && !ends.source.reached(position, wanted);
    });
    if (isBehind) return { lost: [], databases, behind: true };
    await journal(ends, input);
    const from = new Map(side.databases.map((row) => [row.database, row.position]));
    lost = await promote(ends, { ...input, scope: main.scope }, (database) => from.get(database));
  }
  for (const database of left) await dropScope(ends, pipeline, database, input.scope);
  return { lost, databases };
}

async function journal({ destination }: Ends, input: PromoteInput): Promise<void> {
  for (const database of input.databases) {
    const tables = input.tables.filter((table) => table.target.database === database);
    if (tables.length > 0) await at('destination', () => destination.journal(database, input.run, tables));
  }
}

async function promote(
  { destination }: Ends,
  input: PromoteInput,
  followFrom: (database: string) => Position | undefined = () => undefined,
): Promise<FailedTable[]> {
  const failed: FailedTable[] = [];
  for (const [index, table] of input.tables.entries()) {
    try {
      await at('destination', () =>
        destination.promote(
          table.target.database,
          input.run,
          input.scope,
          table.id,
          table.load,
          followFrom(table.target.database),
        ),
      );
    } catch (error) {
      if (!isPermanent(error)) throw error;
      failed.push({ ref: table.ref, error: { class: error.name, message: error.message, action: error.action } });
    }
    beat({ promoted: index + 1 });
  }
  return failed;
}

async function letOthersGo(ends: Ends, input: EndInput): Promise<void> {
  for (const database of input.databases) {
    for (const row of await at('destination', () => ends.destination.scopes(database, input.pipeline))) {
      if (row.scope !== input.scope) await dropScope(ends, input.pipeline, database, row.scope);
    }
  }
}

/** The scope of a run, or the one that it was about to make: `beginFull` counts the same way, and makes the slot before the first row. */
async function scopeOf({ destination }: Ends, { databases, pipeline, run }: AbandonInput): Promise<number> {
  const rows: Scope[] = [];
  for (const database of databases)
    rows.push(...(await at('destination', () => destination.scopes(database, pipeline))));
  return rows.find((row) => row.run === run)?.scope ?? Math.max(0, ...rows.map((row) => row.scope)) + 1;
}

/** Slot first: the row is what a repeated call finds the slot by. */
export async function dropScope(
  { source, destination }: Ends,
  pipeline: string,
  database: string,
  scope: number,
): Promise<void> {
  await at('source', () => source.end(slotName(pipeline, scope)));
  await at('destination', () => destination.dropScope(database, pipeline, scope));
}
