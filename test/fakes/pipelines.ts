import type { PointsAnswer } from '../../src/activities/rollback.ts';
import type { Health, Pipelines } from '../../src/api/pipelines.ts';
import { Problem } from '../../src/api/problem.ts';
import { missingParams, sourceCode } from '../../src/codes.ts';
import type { TableOptions } from '../../src/drivers/model.ts';
import type {
  CatalogAnswer,
  Connection,
  PipelineConfig,
  PipelineEvent,
  PipelineOverview,
  ReportAnswer,
  RequestAnswer,
  Run,
  SelectedTable,
  TestInput,
  TestResult,
} from '../../src/workflows/messages.ts';
import type { Progress } from '../../src/workflows/progress.ts';

type Known = {
  source: Connection;
  destination: Connection;
  licence: string;
  schedule: PipelineConfig['schedule'];
  on: boolean;
  reason: string;
  tables: SelectedTable[];
  runs: Run[];
  queue: Run[];
  events: PipelineEvent[];
  answers: Map<string, unknown>;
};

/** What a test may look at and bend. */
export type FakeWorld = {
  readonly pipelines: Pipelines;
  readonly calls: { readonly name: string; readonly argument: unknown }[];
  /** Schema → tables of the source; its database's name is `database`, or `default` for MySQL. */
  catalog: Record<string, string[]>;
  views: string[];
  database: string;
  health: Health;
  /** Thrown by every method when set. */
  down: Problem | undefined;
  /** Answer of connection tests. */
  connects: (input: TestInput) => TestResult;
  /** Thrown when the source is listed. */
  sourceProblem: Problem | undefined;
  report: (run: number | undefined, page: number) => ReportAnswer;
  progress: Progress | null;
  /** What the overview says besides. */
  told: Partial<PipelineOverview>;
  points: PointsAnswer;
  main: NonNullable<PipelineConfig['main']> | null;
  /** Called before a connection is saved; lets another client in between. */
  beforeSave: () => void;
  known(pipeline: string): Known;
  addRun(pipeline: string, run: Partial<Run>): Run;
};

const unset: Connection = { params: {}, fingerprint: '', connected: false, revision: 0 };
const at = '2026-01-01T00:00:00.000Z';

/** Pipelines in memory, with the answers that the workflow gives. */
export function fakePipelines(): FakeWorld {
  const all = new Map<string, Known>();
  const world: FakeWorld = {
    pipelines: undefined as never,
    calls: [],
    catalog: {
      classicmodels: [
        'customers',
        'employees',
        'offices',
        'orderdetails',
        'orders',
        'payments',
        'productlines',
        'products',
      ],
    },
    views: [],
    database: 'shop',
    health: { ok: true, workers: 1 },
    down: undefined,
    connects: () => ({ ok: true, messages: [] }),
    sourceProblem: undefined,
    report: () => ({ tables: [], runTables: [] }),
    progress: null,
    told: {},
    points: { points: [], unreachableReason: null },
    main: null,
    beforeSave: () => {},
    known,
    addRun: (pipeline, run) => {
      const made = newRun(known(pipeline), 'full', run);
      known(pipeline).runs.push(made);
      return made;
    },
  };

  function known(name: string): Known {
    if (world.down !== undefined) throw world.down;
    const found = all.get(name);
    if (found !== undefined) return found;
    if (name !== 'default') throw new Problem(404, `There is no pipeline ${name}.`);
    return make(name);
  }
  function make(name: string): Known {
    const schedule = { type: 'manual', duration: null, offset: '0d00h00m', weekFlags: null } as const;
    const made: Known = {
      ...{ source: unset, destination: unset, licence: '', schedule, on: false, reason: 'Never switched on' },
      ...{ tables: [], runs: [], queue: [], events: [], answers: new Map() },
    };
    all.set(name, made);
    return made;
  }
  function once<R>(
    name: string,
    pipeline: string,
    argument: { idempotencyKey?: string },
    change: (known: Known) => R,
  ): R {
    world.calls.push({ name, argument });
    const one = known(pipeline);
    const key = argument.idempotencyKey ?? '';
    if (!one.answers.has(key)) one.answers.set(key, change(one));
    return one.answers.get(key) as R;
  }
  function database(one: Known): string {
    return sourceCode(one.source.params.type)?.naming === 'schema' ? 'default' : world.database;
  }

  const pipelines: Pipelines = {
    health: async () => world.health,
    list: async () => {
      if (world.down !== undefined) throw world.down;
      return [...all.keys()].sort();
    },
    create: async (name, key) => {
      if (world.down !== undefined) throw world.down;
      if (all.has(name) && !all.get(name)?.answers.has(key))
        throw new Problem(409, `There is a pipeline ${name} already.`);
      if (!all.has(name)) make(name).answers.set(key, null);
    },
    remove: async (name) => {
      known(name);
      all.delete(name);
      return { warnings: [] };
    },
    config: async (name) => {
      const { source, destination, licence, schedule, on, reason } = known(name);
      return {
        name,
        zone: 'UTC',
        source,
        destination,
        licence,
        schedule,
        scheduler: { on, reason, nextDueAt: null },
        main: world.main,
      };
    },
    overview: async (pipeline) => {
      const { on, reason, queue, runs, tables } = known(pipeline);
      const load = runs.find((run) => run.state === 'running') ?? null;
      const states = Object.groupBy(
        tables.filter((table) => table.selected),
        (table) => table.state,
      );
      return {
        pipeline,
        state: 'new',
        consistent: false,
        scheduler: { on, reason, nextDueAt: null },
        current: { stream: load, load },
        queue: queue.map((run) => run.operation),
        lag: { seconds: null, bytes: null, logHoursLeft: null },
        position: null,
        ...world.told,
        tables: Object.fromEntries(Object.entries(states).map(([state, list]) => [state, list?.length ?? 0])),
      };
    },
    selection: async (name) => known(name).tables,
    runs: async (name) => [...known(name).runs, ...known(name).queue],
    pastRun: async () => null,
    progress: async () => world.progress,
    events: async (name, since) => known(name).events.filter((event) => event.seq > since),
    setConnection: async ({ pipeline }, change) => {
      const before = world.beforeSave;
      world.beforeSave = () => {};
      before();
      if (
        known(pipeline)[change.side].revision !== change.revision &&
        !known(pipeline).answers.has(change.idempotencyKey ?? '')
      )
        return false;
      once('setConnection', pipeline, change, (one) => {
        const { side, params, fingerprint, revision, unknown } = change;
        const connected = one[side].connected && one[side].fingerprint === fingerprint;
        one[side] = { params, fingerprint, connected, revision: revision + 1 };
        if (unknown.length > 0) note(one, 'unknown_parameter', unknown.join(', '));
      });
      return true;
    },
    noteConnection: async (pipeline, { side, fingerprint, connected }) => {
      const one = known(pipeline);
      if (one[side].fingerprint === fingerprint) one[side] = { ...one[side], connected };
    },
    setLicence: async ({ pipeline }, change) =>
      once('setLicence', pipeline, change, (one) => {
        one.licence = change.key;
      }),
    setSchedule: async ({ pipeline }, change) =>
      once('setSchedule', pipeline, change, (one) => {
        one.schedule = change.schedule;
        one.on = change.isScheduled ?? change.schedule.type !== 'manual';
      }),
    setScheduler: async ({ pipeline }, change) =>
      once('setScheduler', pipeline, change, (one) => {
        one.on = change.on;
        one.reason = change.reason ?? (change.on ? 'Manual on' : 'Manual off');
      }),
    setTable: async ({ pipeline }, change) =>
      once('setTable', pipeline, change, (one) => {
        const { table, select, options, unknown } = change;
        const before = one.tables.find((known) => known.schema === table.schema && known.name === table.name);
        const kept = Object.entries({ ...before?.options, ...options }).filter(([, value]) => value !== null);
        const next: SelectedTable = {
          ...table,
          selected: select ?? before?.selected ?? false,
          state: before?.state ?? 'new',
          options: Object.fromEntries(kept) as TableOptions,
          unknown: Object.fromEntries(
            Object.entries({ ...before?.unknown, ...unknown }).filter(
              (entry): entry is [string, string] => entry[1] !== null,
            ),
          ),
        };
        one.tables = [...one.tables.filter((known) => known !== before), next];
      }),
    rollbackPoints: async () => world.points,
    actOnTable: async ({ pipeline }, argument) =>
      once('actOnTable', pipeline, argument, (one) => {
        const table = one.tables.find(({ name }) => name === argument.table.name);
        if (!table || table.state === 'loading') return { done: false, text: 'It is being loaded.' };
        const state = argument.action === 'pause' ? 'paused' : argument.action === 'skip' ? 'skipped' : 'reload';
        one.tables = one.tables.map((other) => (other === table ? { ...other, state } : other));
        return { done: true, text: 'Done.' };
      }),
    request: async ({ pipeline }, argument) =>
      once('request', pipeline, argument, (one): RequestAnswer => {
        const { operation } = argument;
        const refuse = (code: 'no_connection' | 'no_tables' | 'needs_full' | 'already_queued', text: string) =>
          ({ accepted: false, code, text }) as const;
        const missing = [...missingParams(one.source.params), ...missingParams(one.destination.params)];
        if (missing.length > 0) return refuse('no_connection', `missing: ${missing.join(', ')}`);
        if (!one.tables.some((table) => table.selected)) return refuse('no_tables', 'No table is selected.');
        if (operation !== 'full') return refuse('needs_full', 'A full extract comes first.');
        if (one.queue.some((run) => run.operation === operation)) return refuse('already_queued', 'It waits already.');
        const run = newRun(one, operation, {});
        one.queue.push(run);
        return { accepted: true, run };
      }),
    cancel: async ({ pipeline }, argument) =>
      once('cancel', pipeline, argument, (one) => {
        const cancelled = one.queue.map((run) => run.id);
        one.queue = [];
        return { cancelled, refused: [] };
      }),
    test: async (_, input) => {
      world.calls.push({ name: 'test', argument: input });
      return world.connects(input);
    },
    catalog: async (pipeline, input): Promise<CatalogAnswer> => {
      world.calls.push({ name: 'catalog', argument: input });
      if (world.sourceProblem !== undefined) throw world.sourceProblem;
      const name = database(known(pipeline));
      if (input.database === null) return { database: name, names: [name] };
      if (name !== 'default' && input.database !== name && input.database !== 'default')
        return { database: name, names: null };
      if (input.schema === null) return { database: name, names: Object.keys(world.catalog) };
      const tables = Object.hasOwn(world.catalog, input.schema) ? world.catalog[input.schema] : undefined;
      if (input.table === undefined) return { database: name, names: tables ?? null };
      return {
        database: name,
        names: [],
        table: detail([...(tables ?? []), ...world.views], input.table.name, input.table.options),
      };
    },
    report: async (_, input) => world.report(input.run, input.page ?? 0),
  };
  return Object.assign(world, { pipelines });
}

function newRun(one: Known, operation: Run['operation'], run: Partial<Run>): Run {
  const rows = { loaded: 0, inserted: 0, updated: 0, deleted: 0, parked: 0 };
  const id = one.runs.length + one.queue.length + 1;
  return { id, operation, state: 'queued', requestedAt: at, startedAt: null, endedAt: null, rows, error: null, ...run };
}

function note(one: Known, code: string, message: string): void {
  const seq = one.events.length + 1;
  one.events.push({ seq, at, level: 'warning', group: 'Others', code, message, run: null, table: null });
}

function detail(tables: readonly string[], name: string, options: TableOptions): NonNullable<CatalogAnswer['table']> {
  const none = { columns: [], leftOut: [], key: [], destination: { db: 'd', table: name }, warnings: [] };
  const refused = (message: string) => ({
    ...none,
    error: { class: 'UnsupportedValue', message, action: 'Choose another.' },
  });
  if (!tables.includes(name)) return refused('No such table.');
  if (Object.values(options.types ?? {}).includes('NONSENSE')) return refused('NONSENSE is not a type.');
  // A table of a source that is followed by cursors.
  if (name === 'needs_cursor' && !options.cursor?.includes('name'))
    return refused(options.cursor ? `The cursor column ${options.cursor} is none.` : 'The table needs a cursor.');
  const column = (one: string) => ({
    name: one,
    sourceType: 'int',
    destinationType: 'INT',
    nullable: false,
    masked: false,
  });
  return { ...none, columns: [column('id'), column('name')], key: ['id'], error: null };
}
