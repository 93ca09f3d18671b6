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
import { queries, queues, type Run, updates } from '../src/workflows/messages.ts';
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
  'short-workflows': async ({ client }) => {
    const params = { host: 'h', port: '1', uid: 'u', pwd: 'sealed:x', type: 'rds.pgres' };
    const inputs: Record<string, unknown> = {
      connectionTest: { side: 'source', params },
      catalog: { source: params, destination: params, database: null, schema: null },
      report: { pipeline: 'p', destination: params, databases: ['d'] },
      removal: { pipeline: 'p', source: params, destination: params, databases: ['d'] },
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
