import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/activity';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type {
  CancelAnswer,
  PipelineEvent,
  PipelineOverview,
  RequestAnswer,
  Run,
  SelectedTable,
} from '../../src/workflows/messages.ts';
import { queries, updates } from '../../src/workflows/messages.ts';
import type { Progress } from '../../src/workflows/progress.ts';
import { fakeActivities, newWorld, type World } from '../fakes/activities.ts';
import { type Harness, manyUpdates, startHarness, startPipeline, until } from './harness.ts';

let harness: Harness;
const where = () => ({ address: inject('temporal').address, bundlePath: inject('bundlePath') });
const world: World = newWorld();

beforeAll(async () => {
  harness = await startHarness(where(), fakeActivities(world));
});
afterAll(async () => {
  await harness?.stop();
});
beforeEach(() => {
  Object.assign(world, newWorld());
});

type Handle = Awaited<ReturnType<typeof startPipeline>>;
const fresh = (tables: readonly string[]): Promise<Handle> =>
  startPipeline(harness.client, `p-${randomUUID().slice(0, 8)}`, tables);
const overview = (handle: Handle): Promise<PipelineOverview> => handle.query(queries.overview);
const runs = (handle: Handle): Promise<readonly Run[]> => handle.query(queries.runs);
const events = (handle: Handle): Promise<readonly PipelineEvent[]> => handle.query(queries.events, { since: 0 });
const selection = (handle: Handle): Promise<readonly SelectedTable[]> => handle.query(queries.selection);
const request = (handle: Handle, operation = 'full', idempotencyKey?: string): Promise<RequestAnswer> =>
  handle.executeUpdate(updates.request, { args: [{ operation, ...(idempotencyKey ? { idempotencyKey } : {}) }] });
const ended = (handle: Handle): Promise<readonly Run[]> =>
  until(
    () => runs(handle),
    ([last]) => last?.endedAt !== null,
    60_000,
  );

/** A gate that holds chunks until it is opened. */
function gate(): { wait: Promise<void>; open: () => void } {
  let open = (): void => {};
  const wait = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { wait, open };
}

describe('a full extract', () => {
  it('loads, journals, promotes and ends in this order, and counts rows', async () => {
    const handle = await fresh(['a', 'b', 'c']);
    expect(await request(handle)).toMatchObject({ accepted: true, run: { id: 1, state: 'queued' } });
    const [run] = await ended(handle);
    expect(run).toMatchObject({ id: 1, operation: 'full', state: 'succeeded', rows: { loaded: 60 }, error: null });
    expect(world.calls.slice(0, 2)).toEqual(['beginFull', 'planTables']);
    expect(world.calls.slice(-3)).toEqual(['journal a,b,c', 'promote a,b,c', 'endFull']);
    expect(await overview(handle)).toMatchObject({
      state: 'ready',
      position: 'p0',
      tables: { loaded: 3 },
      current: { load: null },
    });
  });

  it('goes on after a table that fails for good, marks it and names it in the log', async () => {
    world.outcome = (table) =>
      table === 'bad'
        ? { kind: 'failed', error: { class: 'DestinationRejected', message: 'Row k=1.', action: 'Mend it.' } }
        : null;
    const handle = await fresh(['bad', 'good']);
    await request(handle);
    const [run] = await ended(handle);
    expect(run?.state).toBe('succeeded');
    expect(world.calls).toContain('fail bad');
    expect(world.calls).toContain('promote good');
    const tables = await selection(handle);
    expect(tables.find((table) => table.name === 'bad')).toMatchObject({
      state: 'reload',
      error: { class: 'DestinationRejected' },
    });
    expect(tables.find((table) => table.name === 'good')).toMatchObject({ state: 'loaded' });
    expect(await events(handle)).toContainEqual(
      expect.objectContaining({ level: 'error', group: 'Errors', table: 'public.bad', run: 1 }),
    );
  });

  it('plans a table anew that changed under the load, and gives it up when that never ends', async () => {
    let changes = 1;
    world.outcome = (table) => (table === 'busy' && changes-- > 0 ? { kind: 'restart', reason: 'It changed.' } : null);
    const once = await fresh(['busy']);
    await request(once);
    expect((await ended(once))[0]?.state).toBe('succeeded');
    expect(world.calls.filter((call) => call === 'planTables')).toHaveLength(2);

    changes = Number.POSITIVE_INFINITY;
    const never = await fresh(['busy', 'calm']);
    await request(never);
    expect((await ended(never))[0]?.state).toBe('succeeded');
    expect((await selection(never)).find((table) => table.name === 'busy')).toMatchObject({
      state: 'reload',
      error: { class: 'StructureChanged' },
    });
  });

  it('fails with class, message and action when a permanent error ends it, and takes nothing over', async () => {
    world.onBegin = async () => {
      throw ApplicationFailure.create({
        type: 'AccessDenied',
        message: 'No.',
        nonRetryable: true,
        details: [{ action: 'Grant it.', side: 'source' }],
      });
    };
    const handle = await fresh(['a']);
    await request(handle);
    const [run] = await ended(handle);
    expect(run).toMatchObject({
      state: 'failed',
      error: { class: 'AccessDenied', message: 'No.', action: 'Grant it.' },
    });
    expect(await overview(handle)).toMatchObject({ state: 'new', tables: { new: 1 } });
  });

  it('fails when no table could be loaded, and takes the run back', async () => {
    world.outcome = () => ({ kind: 'failed', error: { class: 'UnsupportedValue', message: 'x', action: 'y' } });
    const handle = await fresh(['a']);
    await request(handle);
    expect((await ended(handle))[0]).toMatchObject({ state: 'failed' });
    expect(world.calls).toContain('abandonFull');
    expect(world.calls.some((call) => call.startsWith('journal'))).toBe(false);
  });

  it('tries a passing error again until it passes', async () => {
    let failures = 2;
    world.onChunk = async () => {
      if (failures-- > 0) throw new Error('connection lost');
    };
    const handle = await fresh(['a']);
    await request(handle);
    expect((await ended(handle))[0]).toMatchObject({ state: 'succeeded', rows: { loaded: 20 } });
  });

  it('shows rows as they arrive: progress query and current details change', async () => {
    const second = gate();
    world.chunks = 12;
    world.onChunk = async (_, chunk) => (chunk >= 8 ? second.wait : undefined);
    const handle = await fresh(['big']);
    await request(handle);
    const child = harness.client.workflow.getHandle(`${handle.workflowId}/full/1`);
    const details = async (): Promise<string> => {
      const metadata = await child.query<{ currentDetails: string }>('__temporal_workflow_metadata');
      return metadata.currentDetails;
    };
    const progress = await until(
      () => child.query<Progress>(queries.progress).catch(() => undefined),
      (value) => (value?.rows ?? 0) > 0,
    );
    const before = await details();
    expect(before).toContain('public.big');
    second.open();
    await ended(handle);
    expect(progress?.rows).toBeLessThan(120);
    expect(await details()).not.toBe(before);
    expect((await runs(handle))[0]?.rows.loaded).toBe(120);
  });
});

describe('the queue', () => {
  it('refuses what cannot run, with the documented codes, and changes nothing', async () => {
    const handle = await fresh([]);
    expect(await request(handle)).toMatchObject({ accepted: false, code: 'no_tables' });
    const { runs: none } = { runs: await runs(handle) };
    expect(none).toEqual([]);
    const held = gate();
    world.onChunk = () => held.wait;
    const busy = await fresh(['a']);
    expect(await request(busy, 'delta')).toMatchObject({ accepted: false, code: 'needs_full' });
    await request(busy);
    await until(
      () => overview(busy),
      (view) => view.current.load !== null,
    );
    expect(await request(busy)).toMatchObject({ accepted: false, code: 'already_running' });
    held.open();
    await ended(busy);
    expect(await request(busy, 'delta')).toMatchObject({ accepted: false, code: 'full_only' });
  });

  it('answers a repeated idempotency key with the first answer and runs once', async () => {
    const handle = await fresh(['a']);
    const first = await request(handle, 'full', 'key-1');
    await ended(handle);
    expect(await request(handle, 'full', 'key-1')).toEqual(first);
    expect(await runs(handle)).toHaveLength(1);
  });
});

describe('cancel', () => {
  it('takes a run back whose worker dies while it takes the position', async () => {
    const dead = gate();
    world.onBegin = async () => {
      await dead.wait;
      throw ApplicationFailure.nonRetryable('no heartbeat', 'Timeout');
    };
    const handle = await fresh(['a']);
    await request(handle);
    await until(
      async () => world.calls,
      (calls) => calls.includes('beginFull'),
    );
    await handle.executeUpdate<CancelAnswer, [unknown]>(updates.cancel, { args: [{}] });
    dead.open();
    expect((await ended(handle))[0]).toMatchObject({ state: 'cancelled', error: null });
    expect(world.calls).toContain('abandonFull');
  });

  it('stops a load at once, takes it back, and leaves the tables as they were', async () => {
    const held = gate();
    world.onChunk = () => held.wait;
    const handle = await fresh(['a', 'b']);
    await request(handle);
    await until(
      () => overview(handle),
      (view) => view.current.load !== null && view.tables['loading'] === 2,
    );
    await until(
      async () => world.calls,
      (calls) => calls.includes('planTables'),
    );
    const answer: CancelAnswer = await handle.executeUpdate(updates.cancel, { args: [{}] });
    expect(answer.cancelled).toEqual([1]);
    const [run] = await ended(handle);
    expect(run?.state).toBe('cancelled');
    expect(world.calls).toContain('abandonFull');
    expect(await overview(handle)).toMatchObject({ tables: { new: 2 } });
    held.open();
  });

  it('is refused with the reason once tables are being put in place', async () => {
    const held = gate();
    const activities = fakeActivities(world);
    const own = await startHarness(where(), {
      ...activities,
      placeTables: async (input) => {
        await activities.journalTables(input);
        await held.wait;
        return activities.placeTables(input);
      },
    });
    try {
      const handle = await startPipeline(own.client, 'late', ['a']);
      await request(handle);
      await until(
        async () => world.calls,
        (calls) => calls.includes('journal a'),
      );
      const answer: CancelAnswer = await handle.executeUpdate(updates.cancel, { args: [{ lane: 'load' }] });
      expect(answer).toMatchObject({ cancelled: [], refused: [{ run: 1 }] });
      held.open();
      expect((await ended(handle))[0]?.state).toBe('succeeded');
    } finally {
      held.open();
      await own.stop();
    }
  });
});

describe('survival', () => {
  it('turns over under a running load without losing anything', async () => {
    world.chunks = 40;
    const sent = gate();
    world.onChunk = () => sent.wait;
    const handle = await fresh(['a', 'b', 'c']);
    const firstRun = (await handle.describe()).runId;
    await request(handle);
    await until(
      () => overview(handle),
      (view) => view.current.load !== null,
    );
    await manyUpdates(handle);
    sent.open();
    const [run] = await ended(handle);
    expect(run).toMatchObject({ id: 1, state: 'succeeded', rows: { loaded: 1200 } });
    // The child was asked to return, and went on in another run.
    expect(world.calls.filter((call) => call === 'beginFull')).toHaveLength(2);
    expect((await harness.client.workflow.getHandle(handle.workflowId).describe()).runId).not.toBe(firstRun);
    expect(await handle.query(queries.config)).toMatchObject({ licence: 'k1009' });
  }, 180_000);

  it('knows that a run has ended when its first message after a lost worker is a request', async () => {
    const handle = await fresh(['a']);
    await request(handle);
    await ended(handle);
    await harness.restart();
    expect(await request(handle)).toMatchObject({ accepted: true });
    await harness.restart();
    const [second] = await ended(handle);
    expect(second).toMatchObject({ id: 2, state: 'succeeded' });
  });

  it('goes on after all workers were restarted in the middle', async () => {
    world.chunks = 10;
    world.onChunk = async () => {
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 200))]);
    };
    const handle = await fresh(['a', 'b']);
    await request(handle);
    await until(
      async () => world.done.size,
      (size) => size > 3,
    );
    await harness.restart();
    expect((await ended(handle))[0]).toMatchObject({ state: 'succeeded', rows: { loaded: 200 } });
  }, 90_000);
});
