import { Context, heartbeat } from '@temporalio/activity';
import type { SliceAnswer, SliceInput } from '../../src/activities/capture.ts';
import type { PortionInput, PortionTable } from '../../src/activities/extract.ts';
import type { BulkActivities, StreamActivities } from '../../src/activities/index.ts';
import type { BeginInput, PlanInput } from '../../src/activities/plan.ts';
import type { AbandonInput, FailInput, HandOverInput, PromoteInput } from '../../src/activities/promote.ts';
import type { ResumeInput } from '../../src/activities/resumption.ts';
import type { RollbackInput } from '../../src/activities/rollback.ts';
import type { CheckedTable, CheckInput, SettleAnswer, SettleInput } from '../../src/activities/validate.ts';

/** How the faked databases behave; tests change it while a run goes on. */
export type World = {
  chunks: number;
  rowsPerChunk: number;
  /** Called for each chunk; may wait, or throw. */
  onChunk: (table: string, chunk: number) => Promise<void>;
  /** Outcome other than sealed, by table. */
  outcome: (table: string) => PortionTable['outcome'] | null;
  onBegin: () => Promise<void>;
  /** The source captures changes. */
  captures: boolean;
  /** A slice of the log; one that streams on ends with the signal. */
  onSlice: (input: SliceInput, stop: AbortSignal) => Promise<SliceAnswer>;
  /** The log of a paused table is not kept any more. */
  logLost: (table: string) => boolean;
  /** What settling finds, once the stream has come so far. */
  onSettle: (input: SettleInput, stop: AbortSignal) => Promise<SettleAnswer>;
  /** Called while a table is read for a check. */
  onRead: (input: CheckInput, stop: AbortSignal) => Promise<readonly CheckedTable[]>;
  readonly calls: string[];
  readonly done: Set<string>;
};

export function newWorld(): World {
  return {
    chunks: 2,
    rowsPerChunk: 10,
    onChunk: async () => {},
    outcome: () => null,
    onBegin: async () => {},
    captures: false,
    onSlice: async ({ until }, stop) => {
      if (until === 'forever') await new Promise((resolve) => stop.addEventListener('abort', resolve));
      return emptySlice('p1');
    },
    logLost: () => false,
    onSettle: async ({ tables }) => ({ done: tables.map(({ ref }) => same(ref)), again: [] }),
    onRead: async () => [],
    calls: [],
    done: new Set(),
  };
}

function same(ref: CheckedTable['ref']): CheckedTable {
  const check = { checked: 10, different: 0, repaired: 0, unsettled: 0, examples: [] };
  return { ref, state: 'checked', check, error: null };
}

/** A slice in which nothing happened. */
export function emptySlice(position: string): SliceAnswer {
  const rows = { inserted: 0, updated: 0, deleted: 0, parked: 0 };
  return { rows, position, at: null, left: [], altered: [], behind: [], followed: 1 };
}

/** A cancel arrives with the answer to a heartbeat. */
async function beating<T>(work: (stop: AbortSignal) => Promise<T>): Promise<T> {
  const { cancelled, cancellationSignal } = Context.current();
  const beat = setInterval(() => heartbeat(), 100);
  try {
    return await Promise.race([work(cancellationSignal), cancelled]);
  } finally {
    clearInterval(beat);
  }
}

/** Activities over `world`: they keep what a destination would keep, so that a resumed run finds its done chunks. */
export function fakeActivities(world: World): BulkActivities & StreamActivities {
  const call = (name: string): void => {
    world.calls.push(name);
  };
  const activities: BulkActivities & StreamActivities = {
    startFull: async (input) => {
      const began = await activities.beginFull(input);
      return { began, plan: await activities.planTables({ ...input, scope: began.scope, again: false }) };
    },
    placeTables: async (input) => {
      await activities.journalTables(input);
      const failed = await activities.promoteTables(input);
      await activities.endFull(input);
      return failed;
    },
    beginFull: async ({ tables }: BeginInput) => {
      call('beginFull');
      await world.onBegin();
      return {
        scope: 1,
        position: 'p0',
        databases: [...new Set(tables.map((t) => t.target.database))],
        warnings: [],
        failed: [],
        ...(world.captures ? { captures: true } : {}),
      };
    },
    captureSlice: async (input: SliceInput) => {
      call(`slice ${input.scope} ${input.until}`);
      const beat = setInterval(() => heartbeat(), 100);
      try {
        return await world.onSlice(input, Context.current().cancellationSignal);
      } finally {
        clearInterval(beat);
      }
    },
    rollBack: async ({ to }: RollbackInput) => {
      call(`roll back to ${'point' in to ? to.point : to.position}`);
      return { position: 'p0' };
    },
    readTables: async (input) => {
      call(`read ${input.tables.map((table) => table.ref.name).join()}`);
      const done = await beating((stop) => world.onRead(input, stop));
      const rest = input.tables.filter(({ ref }) => !done.some((one) => one.ref.name === ref.name));
      return { done, read: rest.map((table) => ({ ...table, name: 'x', until: 'p1', startedAt: 0 })) };
    },
    settleTables: (input) => {
      call(`settle ${input.tables.map((table) => table.ref.name).join()}`);
      return beating((stop) => world.onSettle(input, stop));
    },
    awaitRepairs: async () => call('awaitRepairs'),
    clearChecks: async () => call('clearChecks'),
    handOverTables: async ({ tables, main, databases }: HandOverInput) => {
      call(`hand over ${tables.map((table) => table.ref.name).join()} to ${main.scope}`);
      return { lost: [], databases: [...new Set([...main.databases, ...databases])] };
    },
    beginResume: async ({ tables, main }: ResumeInput) => {
      call(`resume ${tables.map((table) => table.ref.name).join()}`);
      const lost = tables.filter(({ ref }) => world.logLost(ref.name));
      const error = { class: 'PositionLost', message: 'The slot is gone.', action: 'Load it again.' };
      return {
        scope: 7,
        databases: main.databases,
        tables: tables.filter((table) => !lost.includes(table)).map(({ ref }) => ref),
        lost: lost.map(({ ref }) => ({ ref, error })),
      };
    },
    handBack: async ({ scope, main }) => call(`hand back ${scope} to ${main.scope}`),
    takeBackResume: async ({ error }) => call(`take back ${error?.class ?? 'paused'}`),
    letLogGo: async ({ wanted }) => call(`let log go but of ${wanted.map(({ name }) => name).join()}`),
    planTables: async ({ tables, again }: PlanInput) => {
      call('planTables');
      const planned = tables.map((table) => {
        if (again) for (let chunk = 0; chunk < world.chunks; chunk++) world.done.delete(`${table.ref.name}/${chunk}`);
        const open = Array.from({ length: world.chunks }, (_, chunk) => chunk).filter(
          (chunk) => !world.done.has(`${table.ref.name}/${chunk}`),
        );
        return {
          ...table,
          id: `id-${table.ref.name}`,
          load: again ? 2 : 1,
          chunks: world.chunks,
          open,
          rowsDone: (world.chunks - open.length) * world.rowsPerChunk,
          bytes: 1000,
          replace: false,
          structure: 's',
          storage: '',
        };
      });
      return { planned, failed: [], kept: [], warnings: [] };
    },
    loadPortion: async (input: PortionInput) => {
      const results: PortionTable[] = [];
      for (const item of input.items) {
        let rows = 0;
        for (const chunk of item.take) {
          // A cancel arrives with the answer to a heartbeat.
          const beat = setInterval(() => heartbeat({ table: item.ref, rows, bytes: 0 }), 100);
          try {
            await Promise.race([world.onChunk(item.ref.name, chunk), Context.current().cancelled]);
          } finally {
            clearInterval(beat);
          }
          world.done.add(`${item.ref.name}/${chunk}`);
          rows += world.rowsPerChunk;
        }
        const sealed = { kind: 'sealed', rows: world.chunks * world.rowsPerChunk, bytes: 1, rules: {} } as const;
        const outcome = world.outcome(item.ref.name) ?? (item.seal ? sealed : ({ kind: 'loaded' } as const));
        results.push({ id: item.id, rows, bytes: rows, chunks: item.take.length, outcome });
      }
      return results;
    },
    sealTables: async (input: PortionInput) => {
      call(`seal ${input.items.map((item) => item.ref.name).join()}`);
      const outcome = { kind: 'sealed', rows: world.chunks * world.rowsPerChunk, bytes: 1, rules: {} } as const;
      return input.items.map((item) => ({ id: item.id, rows: 0, bytes: 0, chunks: 0, outcome }));
    },
    failTables: async ({ tables }: FailInput) => call(`fail ${tables.map((table) => table.ref.name).join()}`),
    journalTables: async ({ tables }: PromoteInput) =>
      call(
        `journal ${tables
          .map((table) => table.ref.name)
          .sort()
          .join()}`,
      ),
    promoteTables: async ({ tables }: PromoteInput) => {
      call(
        `promote ${tables
          .map((table) => table.ref.name)
          .sort()
          .join()}`,
      );
      return [];
    },
    endFull: async (_input: AbandonInput) => call('endFull'),
    abandonFull: async (_input: AbandonInput) => call('abandonFull'),
  };
  return activities;
}
