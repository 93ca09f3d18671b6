import type { PausedTable } from '../drivers/apply.ts';
import type { Scope } from '../drivers/destination.ts';
import { isPermanent, PositionLost, Superseded } from '../drivers/errors.ts';
import type { Position, TableError, TableRef } from '../drivers/model.ts';
import type { FailedTable, MainStream } from '../workflows/children.ts';
import { at, type Connections, type Ends, type Sealed } from './connections.ts';
import { slotName } from './names.ts';
import { dropUnnamed, dropUnwanted, keepLog } from './paused.ts';
import { keyOf, type RunTarget } from './plan.ts';
import { dropScope } from './promote.ts';

/** Paused tables that go on without a load: a scope of their own follows the log from where they stand (EXACTNESS.md §5, pause). */

type Run = Sealed & { readonly pipeline: string; readonly run: number; readonly main: MainStream };
export type ResumeInput = Run & { readonly tables: readonly RunTarget[] };
/** `lost`: tables that can't go on; their copies stay as they are, and they must be loaded again. */
export type ResumeAnswer = {
  readonly scope: number;
  readonly databases: readonly string[];
  readonly tables: readonly TableRef[];
  readonly lost: readonly FailedTable[];
};
export type HandBackInput = Run & { readonly scope: number; readonly databases: readonly string[] };
/** `error`: the tables can't go on, and must be loaded again; null: they are paused as before. */
export type TakeBackInput = Omit<HandBackInput, 'scope' | 'databases'> & { readonly error: TableError | null };
/** `wanted`: paused tables whose log is kept. */
export type LetLogGoInput = Omit<Run, 'run'> & { readonly wanted: readonly TableRef[] };

export function resumptionActivities(connections: Connections) {
  return {
    /**
     * Makes a scope for paused tables from where the first of them stands, with a slot of its own, and gives them to it. A repeated call finds the scope that
     * it made.
     */
    async beginResume(input: ResumeInput): Promise<ResumeAnswer> {
      return connections.withEnds(input, (ends) => begin(ends, input));
    },

    /** Gives the tables back to the main stream, which stands still and is not further than they are; then their scope goes, and the log kept for them. */
    async handBack(input: HandBackInput): Promise<void> {
      await connections.withEnds(input, (ends) => handBack(ends, input));
    },

    /** Ends a resumption: its tables are paused where they have come to, or left to a reload; its scope goes. */
    async takeBackResume(input: TakeBackInput): Promise<void> {
      await connections.withEnds(input, (ends) => takeBack(ends, input));
    },

    /** Lets go of the log of paused tables whose time is over. */
    async letLogGo(input: LetLogGoInput): Promise<void> {
      const { pipeline, main, wanted } = input;
      await connections.withEnds(input, (ends) => dropUnwanted(ends, { pipeline, databases: main.databases }, wanted));
    },
  };
}

async function begin(ends: Ends, input: ResumeInput): Promise<ResumeAnswer> {
  const { source, destination } = ends;
  const { pipeline, main } = input;
  const rows = (await scopesOf(ends, input)).map((one) => one.row);
  const first = rows.find((row) => row.scope === main.scope);
  if (!first) throw noMain(pipeline);
  const paused = (await at('destination', () => destination.paused(main.databases, pipeline))).filter(
    ({ kept }) => kept.scope === main.scope,
  );
  const asked = input.tables.flatMap(({ ref, target }) => paused.filter((one) => isAt(one, ref, target.database)));
  let { own, tables, lost } = await findScope(ends, input, first, rows, asked);
  if (own && own.token === 0) {
    const { position } = own;
    tables = tables.filter(({ kept }) => source.reached(kept.position, position));
    for (const [database, some] of Map.groupBy(tables, ({ target }) => target.database)) {
      const scope = own;
      await at('destination', () => destination.createScope(database, pipeline, scope));
      const later = some.map((one) => ({ ...one, followFrom: laterOf(ends, one) }));
      await at('destination', () => destination.resume(database, pipeline, scope.scope, later));
    }
  }
  const scope = own?.scope ?? 0;
  const databases = await databasesOf(ends, input, scope);
  const gone = new Set(lost.map(({ ref }) => keyOf(ref)));
  const mine = await at('destination', () => destination.followed(databases, pipeline, scope));
  // Their state changed after they had been looked at.
  if (mine.length === 0) for (const database of databases) await dropScope(ends, pipeline, database, scope);
  const found = new Set(mine.map(({ ref }) => keyOf(ref)));
  const others = input.tables.filter(({ ref }) => !found.has(keyOf(ref)) && !gone.has(keyOf(ref)));
  const { message, action } = notKept;
  return {
    scope,
    databases: mine.length === 0 ? [] : databases,
    tables: mine.map(({ ref }) => ref),
    lost: [...lost, ...others.map(({ ref }) => ({ ref, error: { class: 'PositionLost', message, action } }))],
  };
}

const notKept = new PositionLost('The log since it was paused is not kept.', 'Nothing: the table is loaded again.');

/** The scope of this run, made where it is missing and some table can go on. */
async function findScope(
  { source }: Ends,
  { pipeline, run, main }: ResumeInput,
  first: Scope,
  rows: readonly Scope[],
  asked: readonly PausedTable[],
): Promise<{ own: Scope | null; tables: readonly PausedTable[]; lost: readonly FailedTable[] }> {
  const mine = rows.find((row) => row.run === run && row.scope !== main.scope);
  if (mine) return { own: mine, tables: asked, lost: [] };
  const lost: FailedTable[] = [];
  let tables: PausedTable[] = [];
  for (const table of asked) {
    const state = await at('source', () => source.logState(table.kept.slot, table.kept.position));
    if (state.lost === null) tables.push(table);
    else lost.push({ ref: table.ref, error: { ...errorOf(notKept), message: state.lost } });
  }
  const scope = Math.max(0, ...rows.map((row) => row.scope)) + 1;
  for (;;) {
    const oldest = tables.find(({ kept }) =>
      tables.every((other) => source.reached(other.kept.position, kept.position)),
    );
    if (!oldest) return { own: null, tables, lost };
    const { position, slot } = oldest.kept;
    try {
      const name = slot === '' ? '' : slotName(pipeline, scope);
      await at('source', async () => source.slots?.copy(slot, name));
      const own = { ...first, scope, run, token: 0, seq: 0, position, slot: name };
      return { own, tables, lost };
    } catch (error) {
      if (!isPermanent(error)) throw error;
      const out = tables.filter(({ kept }) => kept.slot === slot);
      lost.push(...out.map(({ ref }) => ({ ref, error: errorOf(error) })));
      tables = tables.filter((table) => !out.includes(table));
    }
  }
}

function isAt({ ref, target }: PausedTable, wanted: TableRef, database: string): boolean {
  return keyOf(ref) === keyOf(wanted) && target.database === database;
}

/** A table may have joined the main stream further on than where that stood when it was paused. */
function laterOf({ source }: Ends, { followFrom, kept: { position } }: PausedTable): Position {
  return followFrom !== null && source.reached(followFrom, position) ? followFrom : position;
}

async function handBack(ends: Ends, input: HandBackInput): Promise<void> {
  const { source, destination } = ends;
  const { pipeline, main } = input;
  const first = (await scopesOf(ends, input)).find(({ row }) => row.scope === main.scope)?.row;
  if (!first) throw noMain(pipeline);
  const claim = await at('destination', () => destination.claimScope(main.databases, pipeline, main.scope, first.run));
  // Rows go when all tables have been given back.
  if ((await databasesOf(ends, input, input.scope)).length === input.databases.length) {
    const side = await at('destination', () =>
      destination.claimScope(input.databases, pipeline, input.scope, input.run),
    );
    for (const { database, position } of side.databases) {
      const there = claim.databases.find((row) => row.database === database);
      if (!there || !source.reached(position, there.position))
        throw new Superseded(
          `The main stream has gone beyond the resumed tables in ${database}.`,
          'Resume the tables again.',
        );
    }
    await at('destination', () => destination.handOver(side, claim));
  }
  for (const database of input.databases) await dropScope(ends, pipeline, database, input.scope);
  await dropUnnamed(ends, { pipeline, databases: main.databases }, claim, true);
}

async function takeBack(ends: Ends, input: TakeBackInput): Promise<void> {
  const { source, destination } = ends;
  const { pipeline, main, run, error } = input;
  const rows = (await scopesOf(ends, input)).map((one) => one.row);
  const own = rows.find((row) => row.run === run && row.scope !== main.scope);
  if (!own) {
    // The slot is made before the first row: it has the number that comes next.
    const next = Math.max(0, ...rows.map((row) => row.scope)) + 1;
    await at('source', () => source.end(slotName(pipeline, next)));
    return;
  }
  const { scope } = own;
  const databases = await databasesOf(ends, input, scope);
  const claim = await at('destination', () => destination.claimScope(databases, pipeline, scope, run));
  const tables = await at('destination', () => destination.followed(databases, pipeline, scope));
  const { kept } = error === null ? await keepLog(ends, claim, tables) : { kept: new Map() };
  const leaving = tables.map(({ id, target: { database } }) => {
    const log = kept.get(id);
    const state = error === null ? ('paused' as const) : ('reload' as const);
    return { id, database, state, error, ...(log ? { kept: { ...log, scope: main.scope } } : {}) };
  });
  await at('destination', () => destination.leave(claim, leaving));
  await dropUnnamed(ends, { pipeline, databases: main.databases }, claim, false);
  for (const database of databases) await dropScope(ends, pipeline, database, scope);
}

type Place = { readonly database: string; readonly row: Scope };

async function scopesOf({ destination }: Ends, { pipeline, main }: Omit<Run, 'run'>): Promise<Place[]> {
  const places: Place[] = [];
  for (const database of main.databases)
    for (const row of await at('destination', () => destination.scopes(database, pipeline)))
      places.push({ database, row });
  return places;
}

/** The databases that hold a checkpoint of a scope, by name. */
async function databasesOf(ends: Ends, input: Omit<Run, 'run'>, scope: number): Promise<string[]> {
  const places = (await scopesOf(ends, input)).filter(({ row }) => row.scope === scope);
  return places.map(({ database }) => database).sort();
}

function noMain(pipeline: string): Superseded {
  return new Superseded(
    `The main stream of pipeline ${pipeline} has no checkpoint at the destination.`,
    'Run a full extract.',
  );
}

function errorOf({ name, message, action }: { name: string; message: string; action: string }): TableError {
  return { class: name, message, action };
}
