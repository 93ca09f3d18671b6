import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/activity';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { SliceInput } from '../../src/activities/capture.ts';
import type { PipelineEvent, PipelineOverview, RequestAnswer, Run, Schedule } from '../../src/workflows/messages.ts';
import { queries, updates } from '../../src/workflows/messages.ts';
import { emptySlice, fakeActivities, newWorld, type World } from '../fakes/activities.ts';
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
  Object.assign(world, newWorld(), { captures: true });
});

type Handle = Awaited<ReturnType<typeof startPipeline>>;
const overview = (handle: Handle): Promise<PipelineOverview> => handle.query(queries.overview);
const runs = (handle: Handle): Promise<readonly Run[]> => handle.query(queries.runs);
const events = (handle: Handle): Promise<readonly PipelineEvent[]> => handle.query(queries.events, { since: 0 });
const request = (handle: Handle, operation: string): Promise<RequestAnswer> =>
  handle.executeUpdate(updates.request, { args: [{ operation }] });
const select = (handle: Handle, name: string, more: object = { select: true }): Promise<unknown> =>
  handle.executeUpdate(updates.setTable, {
    args: [{ table: { database: 'shop', schema: 'public', name }, options: {}, ...more }],
  });
const schedule = (handle: Handle, given: Partial<Schedule> & Pick<Schedule, 'type'>): Promise<unknown> =>
  handle.executeUpdate(updates.setSchedule, {
    args: [{ schedule: { duration: null, offset: '0d00h00m', weekFlags: null, ...given } }],
  });
const scheduler = (handle: Handle, on: boolean): Promise<unknown> =>
  handle.executeUpdate(updates.setScheduler, { args: [{ on }] });
const settled = (handle: Handle, id: number): Promise<Run | undefined> =>
  until(
    async () => (await runs(handle)).find((run) => run.id === id),
    (run) => run?.endedAt != null,
    60_000,
  );
const slices = () => world.calls.filter((call) => call.startsWith('slice'));

/** A pipeline whose first full extract has been made. */
async function copied(tables: readonly string[] = ['a', 'b']): Promise<Handle> {
  const handle = await startPipeline(harness.client, `s-${randomUUID().slice(0, 8)}`, tables);
  await request(handle, 'full');
  await settled(handle, 1);
  world.calls.length = 0;
  return handle;
}

function gate(): { readonly wait: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { wait: promise, open: resolve };
}

const changes = (position: string, more: object = {}) => ({
  ...emptySlice(position),
  rows: { inserted: 3, updated: 2, deleted: 1, parked: 0 },
  at: Date.UTC(2026, 0, 1),
  ...more,
});

describe('a delta', () => {
  it('follows a full extract, which has caught up and left every table consistent', async () => {
    const handle = await startPipeline(harness.client, `s-${randomUUID().slice(0, 8)}`, ['a', 'b']);
    expect(await request(handle, 'delta')).toMatchObject({ accepted: false, code: 'needs_full' });
    await request(handle, 'full');
    await settled(handle, 1);
    expect(world.calls.filter((call) => !call.startsWith('seal'))).toEqual([
      'beginFull',
      'planTables',
      'slice 1 written',
      'journal a,b',
      'promote a,b',
      'endFull',
    ]);
    expect(await overview(handle)).toMatchObject({ consistent: true, position: 'p1', tables: { consistent: 2 } });
    world.onSlice = async () => changes('p2');
    expect(await request(handle, 'delta')).toMatchObject({ accepted: true, run: { id: 2 } });
    expect(await settled(handle, 2)).toMatchObject({
      state: 'succeeded',
      rows: { loaded: 0, inserted: 3, updated: 2, deleted: 1 },
    });
    expect(await overview(handle)).toMatchObject({ position: 'p2', streamedAt: Date.UTC(2026, 0, 1) });
    expect((await events(handle)).at(-1)?.message).toBe('Manual Delta complete: 3 inserts, 2 updates, 1 deletes.');
  });

  it('is refused as full_only when the source captures no changes', async () => {
    world.captures = false;
    const handle = await copied();
    expect(await overview(handle)).toMatchObject({ consistent: false, tables: { loaded: 2 } });
    expect(await request(handle, 'delta')).toMatchObject({ accepted: false, code: 'full_only' });
  });

  it('asks for a full extract when its position is lost, and starts no more', async () => {
    const handle = await copied();
    world.onSlice = async () => {
      throw ApplicationFailure.create({ message: 'The slot is gone.', type: 'PositionLost', nonRetryable: true });
    };
    await request(handle, 'delta');
    expect(await settled(handle, 2)).toMatchObject({ state: 'failed', error: { class: 'PositionLost' } });
    expect(await overview(handle)).toMatchObject({ state: 'needs_full', consistent: false });
    expect(await request(handle, 'delta')).toMatchObject({ accepted: false, code: 'needs_full' });
    world.onSlice = newWorld().onSlice;
    await request(handle, 'full');
    await settled(handle, 3);
    expect(await overview(handle)).toMatchObject({ state: 'ready', consistent: true });
  });

  it('is cancelled at a boundary: what it applied counts', async () => {
    const handle = await copied();
    world.onSlice = async (_input, stop) => {
      await new Promise((resolve) => stop.addEventListener('abort', resolve));
      return changes('p5');
    };
    await request(handle, 'delta');
    await until(
      async () => slices().length,
      (n) => n > 0,
    );
    const answer = await handle.executeUpdate(updates.cancel, { args: [{ lane: 'stream' }] });
    expect(answer).toMatchObject({ cancelled: [2] });
    expect(await settled(handle, 2)).toMatchObject({ state: 'cancelled', rows: { inserted: 3 } });
    expect(await overview(handle)).toMatchObject({ position: 'p5', consistent: true });
  });

  it('leaves a table to a reload when its structure changed, and loads it again by itself', async () => {
    const handle = await copied();
    const error = { class: 'StructureChanged', message: 'Another key.', action: 'Load again.' };
    world.onSlice = async ({ scope }: SliceInput) => emptySlice(scope === 1 && slices().length === 1 ? 'p2' : 'p3');
    const first = world.onSlice;
    world.onSlice = async (input, stop) => ({
      ...(await first(input, stop)),
      left: slices().length === 1 ? [{ ref: { schema: 'public', name: 'b' }, error }] : [],
    });
    await request(handle, 'delta');
    await settled(handle, 3);
    expect((await runs(handle)).map(({ operation, state }) => [operation, state])).toEqual([
      ['syncnew', 'succeeded'],
      ['delta', 'succeeded'],
      ['full', 'succeeded'],
    ]);
    expect(world.calls).toContain('hand over b to 1');
    expect(await overview(handle)).toMatchObject({ consistent: true, tables: { consistent: 2 } });
  });
});

describe('a rollback', () => {
  it('takes both lanes, sets the position back, and leaves tables loaded until they have been replayed', async () => {
    const handle = await copied();
    await schedule(handle, { type: 'auto' });
    await until(
      async () => slices(),
      (all) => all.length > 0,
    );
    const answer = await handle.executeUpdate(updates.request, { args: [{ operation: 'rollback', to: { point: 3 } }] });
    expect(answer).toMatchObject({ accepted: true, run: { operation: 'rollback', to: { point: 3 } } });
    const run = (answer as { run: Run }).run;
    expect(await settled(handle, run.id)).toMatchObject({ state: 'succeeded' });
    expect(world.calls).toContain('roll back to 3');
    // The stream goes on by itself and replays.
    await until(
      () => overview(handle),
      ({ current }) => (current.stream?.id ?? 0) > run.id,
    );
    expect((await events(handle)).find(({ run: id, code }) => id === run.id && code === 'run_ended')?.message).toBe(
      'Rollback complete: the stream stands at p0, and the next delta replays from there.',
    );
  });
});

describe('the scheduler', () => {
  it('in auto streams on after the full extract, without a request, until it is switched off', async () => {
    const handle = await startPipeline(harness.client, `s-${randomUUID().slice(0, 8)}`, ['a']);
    await schedule(handle, { type: 'auto' });
    expect((await runs(handle)).length).toBe(0);
    await request(handle, 'full');
    await settled(handle, 1);
    await until(
      () => overview(handle),
      ({ current }) => current.stream?.id === 2,
    );
    await until(
      async () => slices(),
      (all) => all.includes('slice 1 forever'),
    );
    expect(await request(handle, 'delta')).toMatchObject({ accepted: false, code: 'already_running' });
    await scheduler(handle, false);
    expect(await settled(handle, 2)).toMatchObject({ operation: 'delta', state: 'succeeded', scheduled: true });
    expect((await overview(handle)).current.stream).toBeNull();
    await scheduler(handle, true);
    await until(
      () => overview(handle),
      ({ current }) => current.stream?.id === 3,
    );
  });

  it('runs periodic deltas, shows the next one, and runs missed ones once', async () => {
    const handle = await copied();
    const held = gate();
    world.onSlice = async () => {
      await held.wait;
      return emptySlice('p');
    };
    await schedule(handle, { type: 'periodic', duration: '0d00h00m01s' });
    const { scheduler: shown } = await overview(handle);
    expect(Date.parse(shown.nextDueAt ?? '') - Date.now()).toBeLessThan(1_100);
    await until(
      async () => slices().length,
      (n) => n === 1,
    );
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    expect(slices().length).toBe(1);
    held.open();
    await settled(handle, 2);
    await settled(handle, 3);
    const [second, third] = await Promise.all([settled(handle, 2), settled(handle, 3)]);
    // Three ticks were missed: one run follows at once, then they keep to their seconds.
    expect(Date.parse(third?.startedAt ?? '') - Date.parse(second?.endedAt ?? '')).toBeLessThan(1_500);
    await scheduler(handle, false);
    const last = (await runs(handle)).length;
    await new Promise((resolve) => setTimeout(resolve, 2_200));
    expect((await runs(handle)).length).toBeLessThanOrEqual(last + 1);
    expect((await overview(handle)).scheduler.nextDueAt).toBeNull();
  });

  it('pauses after a failure, longer each time, and a saved connection ends the pause', async () => {
    const handle = await copied();
    world.onSlice = async () => {
      throw ApplicationFailure.create({ message: 'No.', type: 'AccessDenied', nonRetryable: true });
    };
    await schedule(handle, { type: 'auto' });
    expect(await settled(handle, 2)).toMatchObject({ state: 'failed' });
    const { scheduler: shown } = await overview(handle);
    expect(Date.parse(shown.nextDueAt ?? '') - Date.now()).toBeGreaterThan(1_000);
    world.onSlice = newWorld().onSlice;
    const params = { host: 'h', port: '1', uid: 'u', pwd: 'sealed:y', type: 'rds.pgres', extract_threads: '2' };
    const saved = { side: 'source', params, fingerprint: 'new', revision: 1, unknown: [] };
    await handle.executeUpdate(updates.setConnection, { args: [saved] });
    await until(
      () => overview(handle),
      ({ current }) => current.stream?.id === 3,
      4_000,
    );
  });
});

describe('beside a stream', () => {
  async function streaming(tables?: readonly string[]): Promise<Handle> {
    const handle = await copied(tables);
    await schedule(handle, { type: 'auto' });
    await until(
      async () => slices(),
      (all) => all.length > 0,
    );
    return handle;
  }

  it('a side stream loads new tables and hands them over while the main stream stands still', async () => {
    const handle = await streaming();
    world.onSlice = async ({ until: how, scope }, stop) => {
      if (how === 'forever') await new Promise((resolve) => stop.addEventListener('abort', resolve));
      world.calls.push(`${how} ${scope} ends`);
      return emptySlice('p2');
    };
    await scheduler(handle, false);
    await scheduler(handle, true);
    await until(
      () => overview(handle),
      ({ current }) => (current.stream?.id ?? 0) > 2,
    );
    await select(handle, 'c');
    expect(await request(handle, 'syncnew')).toMatchObject({ accepted: true });
    await until(
      () => overview(handle),
      ({ tables }) => tables['consistent'] === 3,
    );
    const calls = world.calls;
    const handedOver = calls.findIndex((call) => call.startsWith('hand over'));
    expect(calls[handedOver]).toBe('hand over c to 1');
    // The main stream had ended, the side stream then followed once more, and only afterwards the main stream went on.
    expect(calls.slice(0, handedOver)).toContain('forever 1 ends');
    expect(calls.lastIndexOf('written 1 ends', handedOver)).toBeGreaterThan(calls.indexOf('forever 1 ends'));
    await until(
      async () => calls.slice(handedOver),
      (after) => after.includes('slice 1 forever'),
    );
  });

  it('a full extract waits until the stream has returned, and the stream waits for it', async () => {
    const handle = await streaming();
    const held = gate();
    world.onChunk = () => held.wait;
    await request(handle, 'full');
    await until(
      () => overview(handle),
      ({ current }) => current.load?.operation === 'full',
    );
    expect((await overview(handle)).current.stream).toBeNull();
    held.open();
    await until(
      () => overview(handle),
      ({ current }) => current.load === null && current.stream !== null,
    );
  });

  it('a paused table leaves the stream, which starts again without it; resuming loads it again', async () => {
    const handle = await streaming();
    const seen: SliceInput[] = [];
    world.onSlice = async (input, stop) => {
      seen.push(input);
      return newWorld().onSlice(input, stop);
    };
    const act = (action: string) =>
      handle.executeUpdate(updates.tableAction, { args: [{ table: { schema: 'public', name: 'a' }, action }] });
    expect(await act('pause')).toMatchObject({ done: true });
    await until(
      async () => seen.at(-1)?.leaving,
      (leaving) => leaving?.[0]?.ref.name === 'a',
    );
    expect(seen.at(-1)?.leaving).toMatchObject([{ state: 'paused', target: { table: 'a' } }]);
    expect(await overview(handle)).toMatchObject({ consistent: false, tables: { paused: 1, consistent: 1 } });
    expect(await act('pause')).toMatchObject({ done: false });
    expect(await act('resume')).toMatchObject({ done: true });
    await request(handle, 'syncnew');
    await until(
      () => overview(handle),
      ({ tables }) => tables['consistent'] === 2,
    );
  });

  // The two take the longest and don't touch each other.
  it.concurrent('that was asked to return when its worker died has returned, and has not failed', async () => {
    const held = gate();
    const seen: string[] = [];
    const own = await startHarness(where(), {
      ...fakeActivities(world),
      captureSlice: async ({ until: how }) => {
        seen.push(how);
        // A worker that died heartbeats no more, and never answers.
        if (how === 'forever') await held.wait;
        return emptySlice('p3');
      },
    });
    try {
      const handle = await startPipeline(own.client, 'dead', ['a']);
      await request(handle, 'full');
      await settled(handle, 1);
      await schedule(handle, { type: 'auto' });
      await until(
        async () => seen,
        (calls) => calls.includes('forever'),
      );
      await scheduler(handle, false);
      expect(await settled(handle, 2)).toMatchObject({ state: 'succeeded', error: null });
    } finally {
      held.open();
      await own.stop();
    }
  });

  it.concurrent('turns over under a running stream, and goes on', { timeout: 240_000 }, async () => {
    const handle = await streaming();
    const { runId } = await handle.describe();
    await manyUpdates(handle);
    await until(
      async () => (await handle.describe()).runId,
      (id) => id !== runId,
      60_000,
    );
    await until(
      () => overview(handle),
      ({ current }) => current.stream !== null,
      60_000,
    );
    expect((await runs(handle)).filter((run) => run.state === 'failed')).toEqual([]);
  });
});
