import { cancellationSignal, log } from '@temporalio/activity';
import type { OpenChunk, TableId, TablePlan } from '../drivers/destination.ts';
import { AccessDenied, isPermanent, Misconfigured, Superseded, UnsupportedValue } from '../drivers/errors.ts';
import type { Finding, Table, TableError, TableOptions, TableRef } from '../drivers/model.ts';
import type { FailedTable } from '../workflows/children.ts';
import { at, beat, type Connections, type Ends, type Sealed } from './connections.ts';
import { slotName, sourceName } from './names.ts';

/** A table of a run with where it goes. */
export type RunTarget = {
  readonly ref: TableRef;
  readonly options: TableOptions;
  readonly target: { readonly database: string; readonly table: string };
};

export type BeginInput = Sealed & {
  readonly pipeline: string;
  readonly run: number;
  readonly tables: readonly RunTarget[];
  /** Of a side stream: the main stream's scope, which later runs may have claimed meanwhile. */
  readonly main?: number;
};
export type BeginAnswer = {
  readonly scope: number;
  readonly position: string;
  readonly databases: readonly string[];
  readonly warnings: readonly Finding[];
  /** Tables that preflight found can't be copied. */
  readonly failed: readonly FailedTable[];
  /** Changes can be followed from `position` on. */
  readonly captures?: boolean;
};

export type PlanInput = Sealed & {
  readonly pipeline: string;
  readonly run: number;
  readonly scope: number;
  readonly tables: readonly RunTarget[];
  /** Plan these anew although this run planned them before. */
  readonly again: boolean;
};
/** A planned table. `structure` and `storage` are what it was planned with: a reader that finds others must start over. */
export type PlannedTable = RunTarget & {
  readonly id: TableId;
  readonly load: number;
  readonly chunks: number;
  readonly open: readonly number[];
  readonly rowsDone: number;
  readonly bytes: number;
  readonly replace: boolean;
  readonly structure: string;
  readonly storage: string;
};
export type PlanAnswer = {
  readonly planned: readonly PlannedTable[];
  readonly failed: readonly FailedTable[];
  /** Left as they are: `skipInitial` tables that exist already. */
  readonly kept: readonly TableRef[];
  readonly warnings: readonly Finding[];
};

export type StartAnswer = { readonly began: BeginAnswer; readonly plan: PlanAnswer | null };

/** Bytes of one chunk: big enough for the destination's segments (singlestore.md §8), small enough to be read again after a crash. */
const CHUNK_BYTES = 64 * 1024 * 1024;
/** A table is never cut into more: chunk lists travel through the workflow. */
const MAX_CHUNKS = 2000;

export function planActivities(connections: Connections) {
  return {
    /**
     * `beginFull` and `planTables` of a run with few tables in one: each hop through a task queue costs up to a tenth of a second. `plan` is
     * null when planning failed for good: `planTables` then says why.
     */
    async startFull(input: BeginInput): Promise<StartAnswer> {
      return connections.withEnds(input, async (ends) => {
        const began = await begin(ends, input);
        const lost = new Set(began.failed.map((table) => keyOf(table.ref)));
        const tables = input.tables.filter((table) => !lost.has(keyOf(table.ref)));
        try {
          return { began, plan: await plan(ends, { ...input, tables, scope: began.scope, again: false }) };
        } catch (error) {
          if (!isPermanent(error)) throw error;
          return { began, plan: null };
        }
      });
    },

    /**
     * Preflight, destination databases and P0, durable in every destination database before the first row is read (EXACTNESS.md §3).
     * A repeated call finds the scope that it made.
     */
    async beginFull(input: BeginInput): Promise<BeginAnswer> {
      return connections.withEnds(input, (ends) => begin(ends, input));
    },

    /** Describes, splits and registers tables; what can't be copied comes back by table. A repeated call keeps chunks that are done. */
    async planTables(input: PlanInput): Promise<PlanAnswer> {
      return connections.withEnds(input, (ends) => plan(ends, input));
    },
  };
}

async function begin(ends: Ends, input: BeginInput): Promise<BeginAnswer> {
  const { source, destination } = ends;
  const databases = [...new Set(input.tables.map((table) => table.target.database))].sort();
  const found = await at('source', () => source.preflight(input.tables.map((table) => table.ref)));
  refuse(found.filter((finding) => !finding.table));
  const forDestination = await at('destination', () => destination.preflight(databases));
  refuse(forDestination);
  for (const database of databases) await at('destination', () => destination.prepare(database));

  const failed = found.flatMap((finding): FailedTable[] =>
    finding.severity === 'error' && finding.table ? [{ ref: finding.table, error: errorOf(finding) }] : [],
  );
  const rows = new Map<string, Awaited<ReturnType<typeof destination.scopes>>>();
  for (const database of databases) {
    rows.set(database, await at('destination', () => destination.scopes(database, input.pipeline)));
  }
  const all = [...rows.values()].flat();
  if (all.some((row) => row.run > input.run && row.scope !== input.main)) {
    throw new Superseded(
      `The destination already holds a newer run of pipeline ${input.pipeline} than run ${input.run}.`,
      'Use another pipeline name, or delete the control rows of the pipeline that was copied here before.',
    );
  }
  let own = all.find((row) => row.run === input.run);
  if (!own) {
    const scope = Math.max(0, ...all.map((row) => row.scope)) + 1;
    const start = await at('source', () =>
      source.begin(
        sourceName(input.pipeline),
        slotName(input.pipeline, scope),
        input.tables.map((table) => table.ref),
        (why) => {
          log.info('waiting for a consistent start', { group: 'Source', why });
          beat({ waiting: why });
        },
        cancellationSignal(),
      ),
    );
    own = { ...start, scope, run: input.run, token: 0, seq: 0 };
  }
  const scope = own;
  for (const database of databases) {
    await at('destination', () => destination.createScope(database, input.pipeline, scope));
  }
  const warnings = [...found, ...forDestination].filter((finding) => finding.severity === 'warning');
  return {
    scope: own.scope,
    position: own.position,
    databases,
    warnings,
    failed,
    captures: source.capture !== undefined,
  };
}

async function plan(ends: Ends, input: PlanInput): Promise<PlanAnswer> {
  const { source, destination } = ends;
  const described = await at('source', () =>
    source.describe(input.tables.map(({ ref, options }) => ({ ref, options }))),
  );
  const failed: FailedTable[] = [];
  const kept: TableRef[] = [];
  const warnings: Finding[] = [];
  const byDatabase = new Map<string, { target: RunTarget; plan: TablePlan }[]>();
  const live = await liveTables(ends, input);
  for (const [index, entry] of described.entries()) {
    const target = input.tables[index] as RunTarget;
    if ('error' in entry) {
      failed.push({ ref: target.ref, error: entry.error });
      continue;
    }
    const { table } = entry;
    for (const message of table.warnings)
      warnings.push({ severity: 'warning', code: 'table', message, table: table.ref });
    const { ref, options } = target;
    if (options.skipInitial && live.has(keyOf(ref))) {
      kept.push(ref);
      continue;
    }
    try {
      const chunkBytes = Math.max(CHUNK_BYTES, Math.ceil(table.approxBytes / MAX_CHUNKS));
      const split = options.skipInitial
        ? { ranges: [], replace: false }
        : await at('source', () => source.split(table, options.where, chunkBytes));
      if (options.history && source.capture === undefined)
        throw new UnsupportedValue('History mode needs change capture.', 'Unset `history` for this table.');
      if (options.history && table.cursor !== undefined)
        throw new UnsupportedValue(
          'History mode needs each change: a cursor finds rows again that did not change, and each time would be a version.',
          'Unset `history` for this table, or capture changes in another way.',
        );
      const one = {
        pipeline: input.pipeline,
        scope: input.scope,
        run: input.run,
        ref,
        target: target.target,
        table,
        ranges: split.ranges,
        replace: split.replace,
        shape: shapeOf(table, split.replace, options),
        adopt: options.adopt ?? false,
        skipInitial: options.skipInitial ?? false,
        history: options.history ?? false,
        again: input.again,
      };
      const database = target.target.database;
      byDatabase.set(database, [...(byDatabase.get(database) ?? []), { target, plan: one }]);
    } catch (error) {
      if (!isPermanent(error)) throw error;
      failed.push({ ref, error: { class: error.name, message: error.message, action: error.action } });
    }
    beat({ planned: index + 1 });
  }
  const planned: PlannedTable[] = [];
  for (const [database, plans] of byDatabase) {
    const answers = await at('destination', () =>
      destination.plan(
        database,
        plans.map((one) => one.plan),
      ),
    );
    for (const [index, answer] of answers.entries()) {
      const { target, plan: one } = plans[index] as (typeof plans)[number];
      if ('class' in answer) failed.push({ ref: target.ref, error: answer });
      else {
        planned.push({
          ...target,
          id: answer.id,
          load: answer.load,
          chunks: answer.chunks,
          open: answer.open.map((chunk: OpenChunk) => chunk.chunk),
          rowsDone: answer.rowsDone,
          bytes: one.table.approxBytes,
          replace: one.replace,
          structure: one.table.structure,
          storage: one.table.storage,
        });
      }
    }
  }
  return { planned, failed, kept, warnings };
}

/** A page range means other rows once the storage was rewritten; a key range does not. */
function shapeOf(table: Table, replace: boolean, { where, history }: TableOptions): string {
  const shape = [table.structure, replace ? table.storage : '', where ?? ''];
  return JSON.stringify(history ? [...shape, 'history'] : shape);
}

/** Tables that an earlier run brought over and that still stand. */
async function liveTables({ destination }: Ends, input: PlanInput): Promise<Set<string>> {
  if (!input.tables.some((table) => table.options.skipInitial)) return new Set();
  const live = new Set<string>();
  for (const database of new Set(input.tables.map((table) => table.target.database))) {
    const records = await at('destination', () => destination.tables(database, input.pipeline));
    for (const record of records)
      if (record.state === 'loaded' || record.state === 'consistent') live.add(keyOf(record.ref));
  }
  return live;
}

function refuse(findings: readonly Finding[]): void {
  const errors = findings.filter((finding) => finding.severity === 'error');
  const first = errors[0];
  if (!first) return;
  const message = errors.map((finding) => finding.message).join(' ');
  throw first.code === 'grant' ? new AccessDenied(message, first.message) : new Misconfigured(message, first.message);
}

function errorOf(finding: Finding): TableError {
  return {
    class: finding.code === 'grant' ? 'AccessDenied' : 'UnsupportedValue',
    message: finding.message,
    action: finding.message,
  };
}

export function keyOf(ref: TableRef): string {
  return `${ref.schema}\0${ref.name}`;
}
