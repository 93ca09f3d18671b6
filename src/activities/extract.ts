import { cancellationSignal } from '@temporalio/activity';
import { isPermanent, StructureChanged, Superseded } from '../drivers/errors.ts';
import type { Batch, ChunkRead, Table, TableError } from '../drivers/model.ts';
import type { LoadHeartbeat } from '../workflows/progress.ts';
import { at, beat, type Connections, type Ends, type Sealed } from './connections.ts';
import { arisenAt } from './failure.ts';
import type { PlannedTable } from './plan.ts';

/** Some chunks of one table, or all chunks of several small ones (DESIGN.md §4, portion). */
export type PortionItem = Omit<PlannedTable, 'open' | 'bytes' | 'rowsDone'> & {
  readonly take: readonly number[];
  /** These are the last open chunks of the table: seal it here and spare an activity. */
  readonly seal: boolean;
};
export type PortionInput = Sealed & {
  readonly pipeline: string;
  readonly run: number;
  readonly items: readonly PortionItem[];
};
export type PortionTable = {
  readonly id: string;
  readonly rows: number;
  readonly bytes: number;
  readonly chunks: number;
  readonly outcome: LoadOutcome;
};
/** `restart`: the table changed under the load and must be planned anew. */
export type LoadOutcome =
  | { readonly kind: 'loaded' }
  | {
      readonly kind: 'sealed';
      readonly rows: number;
      readonly bytes: number;
      readonly rules: Readonly<Record<string, number>>;
    }
  | { readonly kind: 'restart'; readonly reason: string }
  | { readonly kind: 'failed'; readonly error: TableError };

export function extractActivities(connections: Connections) {
  return {
    /**
     * Loads the portion's chunks one after the other, each in a transaction of its own. A table that fails for good is reported and
     * the others go on; after a passing error the rest is still tried, then the activity fails and its next attempt finds what is done.
     */
    async loadPortion(input: PortionInput): Promise<readonly PortionTable[]> {
      return connections.withEnds(input, (ends) => load(ends, input));
    },

    /** Closes tables whose chunks were loaded by several portions. */
    async sealTables(input: PortionInput): Promise<readonly PortionTable[]> {
      return connections.withEnds(input, async (ends) => {
        const tables = await describe(ends, input.items);
        const results: PortionTable[] = [];
        for (const item of input.items) {
          const outcome = await perTable(() => seal(ends, item, tables.get(item.id)));
          results.push({ id: item.id, rows: 0, bytes: 0, chunks: 0, outcome });
        }
        return results;
      });
    },
  };
}

async function load(ends: Ends, input: PortionInput): Promise<readonly PortionTable[]> {
  const tables = await describe(ends, input.items);
  const results: PortionTable[] = [];
  let passing: unknown;
  for (const item of input.items) {
    let rows = 0;
    let bytes = 0;
    try {
      const outcome = await perTable(async () => {
        const table = tables.get(item.id);
        if (table instanceof StructureChanged) return { kind: 'restart', reason: table.message };
        if (!table) throw new StructureChanged(`Table ${item.ref.schema}.${item.ref.name} is gone.`, 'Deselect it.');
        for (const chunk of item.take) {
          const done = await loadChunk(ends, item, table, chunk, { rows, bytes });
          rows += done.rows;
          bytes += done.bytes;
        }
        return item.seal ? await seal(ends, item, table) : { kind: 'loaded' };
      });
      results.push({ id: item.id, rows, bytes, chunks: item.take.length, outcome });
    } catch (error) {
      if (cancellationSignal().aborted) throw error;
      passing ??= error;
    }
  }
  if (passing !== undefined) throw passing;
  return results;
}

async function loadChunk(
  ends: Ends,
  item: PortionItem,
  table: Table,
  chunk: number,
  before: { readonly rows: number; readonly bytes: number },
): Promise<{ rows: number; bytes: number }> {
  const { source, destination } = ends;
  const { database } = item.target;
  const signal = cancellationSignal();
  const claim = await at('destination', () => destination.claimChunk(database, item.id, item.load, chunk));
  if (!claim) return { rows: 0, bytes: 0 };
  let last = 0;
  // The workflow hears of a chunk only when its portion ends: until then the heartbeat carries what this attempt has brought.
  const show = (rows: number, bytes: number): void =>
    beat({ table: item.ref, rows: before.rows + rows, bytes: before.bytes + bytes } satisfies LoadHeartbeat);
  const progress = (rows: number, bytes: number): void => {
    const now = Date.now();
    if (now - last < 500) return;
    last = now;
    show(rows, bytes);
  };
  const read = () => fromSource(source.read(table, item.options.where, claim.range, signal));
  const target = { database, table, replace: item.replace, reread: read };
  try {
    const done = await at('destination', () => destination.loadChunk(target, claim, read(), progress, signal));
    show(done.rows, done.bytes);
    return done;
  } catch (error) {
    show(0, 0);
    // A zombie attempt that woke up may have taken the chunk from the attempt that counts: whether the load still is ours, the next
    // attempt's claim decides.
    if (error instanceof Superseded) throw new Error(error.message);
    throw error;
  }
}

/** Marks what goes wrong while rows are pulled as the source's. */
export async function* fromSource(
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  try {
    return yield* batches;
  } catch (error) {
    throw arisenAt('source', error);
  }
}

/**
 * The end position is taken after the last row was read, then the table is looked at again: DDL or a rewrite between P0 and there
 * would have mixed rows of two structures or moved rows past a ctid reader (EXACTNESS.md §4).
 */
async function seal(ends: Ends, item: PortionItem, before: Table | StructureChanged | undefined): Promise<LoadOutcome> {
  if (before instanceof StructureChanged) return { kind: 'restart', reason: before.message };
  const until = await at('source', () => ends.source.written());
  const now = (await describe(ends, [item])).get(item.id);
  if (now instanceof StructureChanged) return { kind: 'restart', reason: now.message };
  const sealed = await at('destination', () => ends.destination.seal(item.target.database, item.id, item.load, until));
  return { kind: 'sealed', ...sealed };
}

/** Tables as they are now; one that is no longer what was planned comes back as the error that says so. */
async function describe(ends: Ends, items: readonly PortionItem[]): Promise<Map<string, Table | StructureChanged>> {
  const described = await at('source', () =>
    ends.source.describe(items.map(({ ref, options, structure }) => ({ ref, options, like: structure }))),
  );
  const tables = new Map<string, Table | StructureChanged>();
  for (const [index, item] of items.entries()) {
    const entry = described[index];
    const name = `${item.ref.schema}.${item.ref.name}`;
    if (!entry || 'error' in entry) {
      tables.set(
        item.id,
        new StructureChanged(
          `Table ${name} can no longer be read: ${entry?.error.message ?? 'it is gone'}`,
          entry?.error.action ?? 'Check the table.',
        ),
      );
    } else if (entry.table.structure !== item.structure) {
      tables.set(
        item.id,
        new StructureChanged(`The structure of ${name} changed during the load.`, 'The load starts over by itself.'),
      );
    } else if (item.replace && entry.table.storage !== item.storage) {
      tables.set(
        item.id,
        new StructureChanged(`${name} was rewritten or truncated during the load.`, 'The load starts over by itself.'),
      );
    } else tables.set(item.id, entry.table);
  }
  return tables;
}

async function perTable(work: () => Promise<LoadOutcome>): Promise<LoadOutcome> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StructureChanged) return { kind: 'restart', reason: error.message };
    if (!isPermanent(error) || error instanceof Superseded) throw error;
    return { kind: 'failed', error: { class: error.name, message: error.message, action: error.action } };
  }
}
