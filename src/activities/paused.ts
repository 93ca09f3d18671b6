import type { ClaimedScope, Followed, KeptLog } from '../drivers/apply.ts';
import { isPermanent } from '../drivers/errors.ts';
import type { Position, TableRef } from '../drivers/model.ts';
import { at, type Ends } from './connections.ts';
import { keptName, readKeptName, sourceName } from './names.ts';
import { keyOf } from './plan.ts';

/** How the source keeps its log for paused tables (EXACTNESS.md §5, pause). */

/** A paused table whose log is not kept although that was wanted. */
export type Unkept = { readonly ref: TableRef; readonly reason: string };

/** How far a table's copy has come under a claim. */
export function standsAt(claim: ClaimedScope, { id, target, joined }: Followed): Position {
  const row = claim.databases.find(({ database }) => database === target.database);
  if (!row) throw new Error(`Scope ${claim.scope} was not claimed in ${target.database}.`);
  const { part, position } = row;
  return part && id <= part.table && joined !== part.until ? part.until : position;
}

/**
 * Has the log kept for tables that are about to be paused, from before where their copies stand. Called under the claim before its reader begins, so that
 * the scope's own slot stands no further. One slot serves all of them.
 */
export async function keepLog(
  { source }: Ends,
  claim: ClaimedScope,
  tables: readonly Followed[],
): Promise<{ readonly kept: ReadonlyMap<string, KeptLog>; readonly unkept: readonly Unkept[] }> {
  const kept = new Map<string, KeptLog>();
  const unkept: Unkept[] = [];
  const fit: Followed[] = [];
  for (const table of tables) {
    const reason = unfit(table);
    if (reason === null) fit.push(table);
    else unkept.push({ ref: table.ref, reason });
  }
  if (fit.length === 0) return { kept, unkept };
  const slot = source.slots ? keptName(claim.pipeline, claim.scope, numberOf(claim)) : '';
  try {
    await at('source', async () => source.slots?.copy(claim.slot, slot));
  } catch (error) {
    if (!isPermanent(error)) throw error;
    return { kept, unkept: [...unkept, ...fit.map(({ ref }) => ({ ref, reason: error.message }))] };
  }
  for (const table of fit) kept.set(table.id, { position: standsAt(claim, table), slot, scope: claim.scope });
  return { kept, unkept };
}

function unfit({ table, options }: Followed): string | null {
  if (table.key.length === 0 || table.kind === 'view') return 'It has no key, so that changes can not be followed.';
  return options.history === null ? null : 'It keeps the versions of its rows, which only the main stream can write.';
}

type Owner = { readonly pipeline: string; readonly databases: readonly string[] };

/** Lets go of the log that is kept for paused tables which are not among `wanted`. */
export async function dropUnwanted(
  { source, destination }: Ends,
  { pipeline, databases }: Owner,
  wanted: readonly TableRef[],
): Promise<void> {
  if (!source.slots) return;
  const paused = await at('destination', () => destination.paused(databases, pipeline));
  const keys = new Set(wanted.map(keyOf));
  const slots = new Set(paused.map(({ kept }) => kept.slot));
  for (const { ref, kept } of paused) if (keys.has(keyOf(ref))) slots.delete(kept.slot);
  for (const slot of slots) if (slot !== '') await at('source', () => source.end(slot));
}

/**
 * Drops slots that no table names: those of tables which go on, and those of attempts that died before they could pause a table. Only what claims before
 * this one have made: they can pause no table any more. `older`: also of scopes before this one, which are gone.
 */
export async function dropUnnamed(
  { source, destination }: Ends,
  { pipeline, databases }: Owner,
  claim: ClaimedScope,
  older: boolean,
): Promise<void> {
  const { slots } = source;
  if (!slots) return;
  const names = await at('source', () => slots.names(sourceName(pipeline)));
  const over = names.filter((name) => {
    const made = readKeptName(name);
    if (made?.scope === claim.scope) return made.claim < numberOf(claim);
    return made !== null && older && made.scope < claim.scope;
  });
  if (over.length === 0) return;
  const paused = await at('destination', () => destination.paused(databases, pipeline));
  const named = new Set(paused.map(({ kept }) => kept.slot));
  for (const slot of over) if (!named.has(slot)) await at('source', () => source.end(slot));
}

/** Grows with every claim of a scope: databases join it and none leaves. */
function numberOf({ databases }: ClaimedScope): number {
  return databases.reduce((sum, { token }) => sum + token, 0);
}
