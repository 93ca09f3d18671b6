/**
 * Records the histories that `test/workflows/replay.test.ts` replays: `node scripts/record-histories.ts NAME…` (none: those that are
 * missing). Record from released code only: a history made by the code under test would agree with any change.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { bundleWorkflowCode } from '@temporalio/worker';
import {
  type PipelineOverview,
  queries,
  queues,
  type RequestAnswer,
  type Run,
  updates,
} from '../src/workflows/messages.ts';
import { fakeActivities, newWorld, type World } from '../test/fakes/activities.ts';
import { type Harness, startHarness, startPipeline, until } from '../test/workflows/harness.ts';
import { startTemporal } from './servers/temporal.ts';

type Recorded = { readonly name: string; readonly workflowId: string; readonly runId?: string };
type Pipeline = Awaited<ReturnType<typeof startPipeline>>;
type Scenario = (harness: Harness, world: World) => Promise<Recorded[]>;

const folder = fileURLToPath(new URL('../test/histories/', import.meta.url));
const nap = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const full = (handle: Pipeline) => handle.executeUpdate(updates.request, { args: [{ operation: 'full' }] });
const ended = (handle: Pipeline) =>
  until(
    () => handle.query<readonly Run[]>(queries.runs),
    ([last]) => last?.endedAt !== null,
    120_000,
  );

const overview = (handle: Pipeline) => handle.query<PipelineOverview>(queries.overview);
const runEnded = (handle: Pipeline, id: number) =>
  until(
    async () => (await handle.query<readonly Run[]>(queries.runs)).find((run) => run.id === id),
    (run) => run?.endedAt != null,
    120_000,
  );
async function requested(handle: Pipeline, operation: string, more: object = {}): Promise<number> {
  const argument = { operation, ...more };
  const answer = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, { args: [argument] });
  if (!answer.accepted) throw new Error(`${operation}: ${answer.text}`);
  return answer.run.id;
}

/** Has the stream follow without an end; the run that does. */
async function streaming(handle: Pipeline, world: World): Promise<number> {
  const auto = { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null };
  await handle.executeUpdate(updates.setSchedule, { args: [{ schedule: auto }] });
  const { current } = await until(
    () => overview(handle),
    (now) => now.current.stream !== null,
  );
  await until(
    async () => world.calls,
    (calls) => calls.includes('slice 1 forever'),
  );
  return current.stream?.id ?? 0;
}

const scenarios: Record<string, Scenario> = {
  'full-three-tables': async ({ client }, world) => {
    world.chunks = 6;
    const handle = await startPipeline(client, 'three', ['a', 'b', 'c']);
    await full(handle);
    await ended(handle);
    await handle.executeUpdate(updates.setSchedule, {
      args: [{ schedule: { type: 'periodic', duration: '0d00h05m00s', offset: '0d00h00m', weekFlags: null } }],
    });
    await handle.executeUpdate(updates.setScheduler, { args: [{ on: false }] });
    return [
      { name: 'full-three-tables', workflowId: 'pipeline/three/full/1' },
      { name: 'pipeline-one-full', workflowId: 'pipeline/three' },
    ];
  },
  'full-failed-and-restarted-tables': async ({ client }, world) => {
    let changes = 1;
    world.outcome = (table) => {
      if (table === 'bad')
        return { kind: 'failed', error: { class: 'DestinationRejected', message: 'Row k=1.', action: 'Mend it.' } };
      return table === 'busy' && changes-- > 0 ? { kind: 'restart', reason: 'It changed.' } : null;
    };
    const handle = await startPipeline(client, 'mixed', ['bad', 'busy', 'good']);
    await full(handle);
    await ended(handle);
    return [{ name: 'full-failed-and-restarted-tables', workflowId: 'pipeline/mixed/full/1' }];
  },
  'full-cancelled': async ({ client }, world) => {
    world.onChunk = () => nap(60_000);
    const handle = await startPipeline(client, 'stopped', ['a', 'b']);
    await full(handle);
    await until(
      async () => world.calls,
      (calls) => calls.includes('planTables'),
    );
    await nap(1000);
    await handle.executeUpdate(updates.cancel, { args: [{}] });
    await ended(handle);
    return [
      { name: 'full-cancelled', workflowId: 'pipeline/stopped/full/1' },
      { name: 'pipeline-cancelled', workflowId: 'pipeline/stopped' },
    ];
  },
  'pipeline-turned-over': async ({ client }, world) => {
    world.chunks = 40;
    world.onChunk = () => nap(300);
    const handle = await startPipeline(client, 'turned', ['a', 'b', 'c']);
    const { runId } = await handle.describe();
    await full(handle);
    await until(
      async () => world.done.size,
      (size) => size > 0,
    );
    for (let n = 0; n < 1000; n++) await handle.executeUpdate(updates.setLicence, { args: [{ key: `k${n}` }] });
    await ended(handle);
    return [
      { name: 'pipeline-turned-over-before', workflowId: 'pipeline/turned', runId },
      { name: 'pipeline-turned-over-after', workflowId: 'pipeline/turned' },
      { name: 'full-resumed', workflowId: 'pipeline/turned/full/1' },
    ];
  },
  'pipeline-two-fulls': async ({ client }) => {
    const handle = await startPipeline(client, 'twice', ['a', 'b']);
    for (let run = 1; run <= 2; run++) {
      await full(handle);
      await ended(handle);
    }
    return [{ name: 'pipeline-two-fulls', workflowId: 'pipeline/twice' }];
  },
  'pipeline-streams': async ({ client }, world) => {
    world.captures = true;
    const handle = await startPipeline(client, 'streams', ['a', 'b']);
    await full(handle);
    await runEnded(handle, 1);
    await runEnded(handle, await requested(handle, 'delta'));
    const stream = await streaming(handle, world);
    const c = { table: { database: 'shop', schema: 'public', name: 'c' }, select: true, options: {} };
    await handle.executeUpdate(updates.setTable, { args: [c] });
    const added = await requested(handle, 'syncnew');
    await runEnded(handle, added);
    const table = { schema: 'public', name: 'a' };
    await handle.executeUpdate(updates.tableAction, { args: [{ table, action: 'pause' }] });
    await handle.executeUpdate(updates.tableAction, { args: [{ table, action: 'resume' }] });
    await runEnded(handle, await requested(handle, 'syncnew'));
    const back = await requested(handle, 'rollback', { to: { point: 3 } });
    await runEnded(handle, back);
    await until(
      () => overview(handle),
      ({ current }) => (current.stream?.id ?? 0) > back,
    );
    await nap(500);
    await handle.executeUpdate(updates.setScheduler, { args: [{ on: false }] });
    await until(
      () => overview(handle),
      ({ current }) => current.stream === null,
    );
    return [
      { name: 'pipeline-streams', workflowId: 'pipeline/streams' },
      { name: 'full-caught-up', workflowId: 'pipeline/streams/full/1' },
      { name: 'delta-once', workflowId: 'pipeline/streams/delta/2' },
      { name: 'delta-continuous', workflowId: `pipeline/streams/delta/${stream}` },
      { name: 'syncnew-handed-over', workflowId: `pipeline/streams/syncnew/${added}` },
      { name: 'rollback', workflowId: `pipeline/streams/rollback/${back}` },
    ];
  },
  'pipeline-paused-with-log': async ({ client }, world) => {
    world.captures = true;
    const handle = await startPipeline(client, 'paused', ['a', 'b']);
    const params = { host: 'h', port: '1', uid: 'u', pwd: 'sealed:x', type: 'rds.pgres', pause_keeps_log: '24' };
    const saved = { side: 'source', params, fingerprint: 'source', revision: 1, unknown: [] };
    await handle.executeUpdate(updates.setConnection, { args: [saved] });
    await full(handle);
    await runEnded(handle, 1);
    const act = (name: string, action: string) =>
      handle.executeUpdate(updates.tableAction, { args: [{ table: { schema: 'public', name }, action }] });
    await act('a', 'pause');
    await act('b', 'pause');
    await runEnded(handle, await requested(handle, 'delta'));
    await act('a', 'resume');
    await runEnded(handle, 3);
    world.logLost = () => true;
    await act('b', 'resume');
    await runEnded(handle, 5);
    return [
      { name: 'pipeline-paused-with-log', workflowId: 'pipeline/paused' },
      { name: 'resume-handed-back', workflowId: 'pipeline/paused/syncnew/3' },
      { name: 'resume-lost', workflowId: 'pipeline/paused/syncnew/4' },
    ];
  },
  'pipeline-periodic': async ({ client }, world) => {
    world.captures = true;
    const handle = await startPipeline(client, 'periodic', ['a']);
    await full(handle);
    await runEnded(handle, 1);
    const everySecond = { type: 'periodic', duration: '0d00h00m01s', offset: '0d00h00m', weekFlags: null };
    await handle.executeUpdate(updates.setSchedule, { args: [{ schedule: everySecond }] });
    await runEnded(handle, 4);
    await handle.executeUpdate(updates.setScheduler, { args: [{ on: false }] });
    await nap(1500);
    return [{ name: 'pipeline-periodic', workflowId: 'pipeline/periodic' }];
  },
  'pipeline-stream-turned-over': async ({ client }, world) => {
    world.captures = true;
    const handle = await startPipeline(client, 'flowing', ['a']);
    const { runId } = await handle.describe();
    await full(handle);
    await runEnded(handle, 1);
    await streaming(handle, world);
    for (let n = 0; n < 1000; n++) await handle.executeUpdate(updates.setLicence, { args: [{ key: `k${n}` }] });
    await until(
      async () => (await handle.describe()).runId,
      (id) => id !== runId,
    );
    await until(
      () => overview(handle),
      ({ current }) => current.stream !== null,
    );
    return [
      { name: 'pipeline-stream-turned-over-before', workflowId: 'pipeline/flowing', runId },
      { name: 'pipeline-stream-turned-over-after', workflowId: 'pipeline/flowing' },
    ];
  },
  'pipeline-validated': async ({ client }, world) => {
    world.captures = true;
    const handle = await startPipeline(client, 'validated', ['a', 'b']);
    await full(handle);
    await runEnded(handle, 1);
    // Where no stream goes on, the validation has a delta started.
    world.onSettle = async (input, stop) => {
      await until(
        async () => stop.aborted || world.calls.includes('slice 1 written'),
        (done) => done,
      );
      return newWorld().onSettle(input, stop);
    };
    const clean = await requested(handle, 'validate');
    await runEnded(handle, clean);
    await streaming(handle, world);
    world.onSettle = async ({ tables, repair }) => ({
      done: tables.map(({ ref }) => {
        const check = { checked: 10, different: 2, repaired: repair ? 2 : 0, unsettled: 0, examples: ['id=1', 'id=2'] };
        return { ref, state: 'checked' as const, check, error: null };
      }),
      again: [],
    });
    const validate = { repair: true, tables: ['public.b'] };
    const repaired = await requested(handle, 'validate', { validate });
    await runEnded(handle, repaired);
    world.onSettle = async () => {
      await nap(60_000);
      throw new Error('It should have been cancelled.');
    };
    const cancelled = await requested(handle, 'validate');
    await until(
      async () => world.calls.filter((call) => call.startsWith('settle')).length,
      (count) => count >= 5,
    );
    await handle.executeUpdate(updates.cancel, { args: [{ lane: 'load' }] });
    await runEnded(handle, cancelled);
    return [
      { name: 'pipeline-validated', workflowId: 'pipeline/validated' },
      { name: 'validate-clean', workflowId: `pipeline/validated/validate/${clean}` },
      { name: 'validate-repaired', workflowId: `pipeline/validated/validate/${repaired}` },
      { name: 'validate-cancelled', workflowId: `pipeline/validated/validate/${cancelled}` },
    ];
  },
  'pipeline-structures': async ({ client }, world) => {
    world.captures = true;
    const handle = await startPipeline(client, 'structures', ['a', 'b']);
    await full(handle);
    await runEnded(handle, 1);
    await streaming(handle, world);
    const sync = await requested(handle, 'syncstruct');
    await runEnded(handle, sync);
    await until(
      () => overview(handle),
      ({ current }) => (current.stream?.id ?? 0) > sync,
    );
    return [
      { name: 'pipeline-structures', workflowId: 'pipeline/structures' },
      { name: 'syncstruct', workflowId: `pipeline/structures/syncstruct/${sync}` },
    ];
  },
  'pipeline-stream-cancelled': async ({ client }, world) => {
    world.captures = true;
    const handle = await startPipeline(client, 'halted', ['a', 'b']);
    await full(handle);
    await runEnded(handle, 1);
    world.onSlice = () => nap(60_000).then(() => newWorld().onSlice({} as never, new AbortController().signal));
    const stopped = await requested(handle, 'delta');
    await until(
      async () => world.calls.filter((call) => call.startsWith('slice')).length,
      (count) => count >= 2,
    );
    await handle.executeUpdate(updates.cancel, { args: [{ lane: 'stream' }] });
    await runEnded(handle, stopped);
    world.onSlice = newWorld().onSlice;
    await runEnded(handle, await requested(handle, 'delta'));
    return [
      { name: 'pipeline-stream-cancelled', workflowId: 'pipeline/halted' },
      { name: 'delta-cancelled', workflowId: `pipeline/halted/delta/${stopped}` },
    ];
  },
  'pipeline-tables-left': async ({ client }, world) => {
    world.captures = true;
    const handle = await startPipeline(client, 'left', ['a', 'b', 'c']);
    await full(handle);
    await runEnded(handle, 1);
    let stream = await streaming(handle, world);
    const act = (name: string, action: string) =>
      handle.executeUpdate(updates.tableAction, { args: [{ table: { schema: 'public', name }, action }] });
    const restarted = async () => {
      const before = stream;
      const { current } = await until(
        () => overview(handle),
        (now) => (now.current.stream?.id ?? 0) > before,
      );
      stream = current.stream?.id ?? 0;
    };
    // The stream returns and begins again without the table.
    await act('a', 'pause');
    await restarted();
    await act('b', 'skip');
    await restarted();
    await act('a', 'resume');
    await act('c', 'reload');
    await runEnded(handle, await requested(handle, 'syncnew'));
    await nap(500);
    return [{ name: 'pipeline-tables-left', workflowId: 'pipeline/left' }];
  },
  'short-workflows': async ({ client }) => {
    const params = { host: 'h', port: '1', uid: 'u', pwd: 'sealed:x', type: 'rds.pgres' };
    const inputs: Record<string, unknown> = {
      connectionTest: { side: 'source', params },
      catalog: { source: params, destination: params, database: null, schema: null },
      report: { pipeline: 'p', destination: params, databases: ['d'] },
      removal: { pipeline: 'p', source: params, destination: params, databases: ['d'] },
      rollbackPoints: { pipeline: 'p', source: params, destination: params, main: { scope: 1, databases: ['d'] } },
    };
    const recorded: Recorded[] = [];
    for (const [type, input] of Object.entries(inputs)) {
      await client.workflow.execute(type, { taskQueue: queues.ingest, workflowId: `short/${type}`, args: [input] });
      recorded.push({ name: `short-${type}`, workflowId: `short/${type}` });
    }
    return recorded;
  },
};

const wanted = process.argv.slice(2);
const chosen = Object.keys(scenarios).filter((name) =>
  wanted.length > 0 ? wanted.includes(name) : !existsSync(join(folder, `${name}.json`)),
);
const bundlePath = join(await mkdtemp(join(tmpdir(), 'flow-record-')), 'workflows.js');
const { code } = await bundleWorkflowCode({
  workflowsPath: fileURLToPath(new URL('../src/workflows/index.ts', import.meta.url)),
});
await writeFile(bundlePath, code);
const temporal = await startTemporal();
for (const name of chosen) {
  const world = newWorld();
  const quick = {
    testConnection: async () => ({ ok: true, messages: [] }),
    readCatalog: async () => ({ database: 'd', names: ['d'] }),
    readReport: async () => ({ tables: [], runTables: [] }),
    removePipeline: async () => ({ warnings: [] }),
    readPoints: async () => ({ points: [], unreachableReason: null }),
  };
  const harness = await startHarness({ address: temporal.address, bundlePath }, { ...fakeActivities(world), ...quick });
  for (const one of (await scenarios[name]?.(harness, world)) ?? []) {
    const handle = harness.client.workflow.getHandle(one.workflowId, one.runId);
    const text = JSON.stringify(JSON.parse(historyToJSON(await handle.fetchHistory())));
    await writeFile(join(folder, `${one.name}.json`), `${text}\n`);
    console.log(`${one.name}: ${text.length} bytes`);
  }
  await harness.stop();
}
await temporal.stop();
