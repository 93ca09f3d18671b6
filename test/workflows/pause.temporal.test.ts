import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/activity';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type {
  PipelineEvent,
  PipelineOverview,
  Run,
  SelectedTable,
  TableActionAnswer,
} from '../../src/workflows/messages.ts';
import { queries, updates } from '../../src/workflows/messages.ts';
import { emptySlice, fakeActivities, newWorld, type World } from '../fakes/activities.ts';
import { type Harness, startHarness, startPipeline, until } from './harness.ts';

let harness: Harness;
const world: World = newWorld();

beforeAll(async () => {
  const where = { address: inject('temporal').address, bundlePath: inject('bundlePath') };
  harness = await startHarness(where, fakeActivities(world));
});
afterAll(async () => {
  await harness?.stop();
});
beforeEach(() => {
  Object.assign(world, newWorld(), { captures: true });
});

type Handle = Awaited<ReturnType<typeof startPipeline>>;
const act = (handle: Handle, name: string, action: string): Promise<TableActionAnswer> =>
  handle.executeUpdate(updates.tableAction, { args: [{ table: { schema: 'public', name }, action }] });
const request = (handle: Handle, operation: string) => handle.executeUpdate(updates.request, { args: [{ operation }] });
const runs = (handle: Handle): Promise<readonly Run[]> => handle.query(queries.runs);
const events = (handle: Handle): Promise<readonly PipelineEvent[]> => handle.query(queries.events, { since: 0 });
async function states(handle: Handle): Promise<Record<string, string>> {
  const tables = await handle.query<readonly SelectedTable[]>(queries.selection);
  return Object.fromEntries(tables.map(({ name, state }) => [name, state]));
}
const idle = (handle: Handle) =>
  until(
    () => handle.query<PipelineOverview>(queries.overview),
    ({ queue, current }) => queue.length === 0 && current.load === null && current.stream === null,
    60_000,
  );

/** A pipeline whose source keeps the log of paused tables, after its first full extract. */
async function copied(hours: string): Promise<Handle> {
  const handle = await startPipeline(harness.client, `k-${randomUUID().slice(0, 8)}`, ['a', 'b', 'c']);
  const params = { host: 'h', port: '1', uid: 'u', pwd: 'sealed:x', type: 'rds.pgres', pause_keeps_log: hours };
  const saved = { side: 'source', params, fingerprint: 'source', revision: 1, unknown: [] };
  await handle.executeUpdate(updates.setConnection, { args: [saved] });
  await request(handle, 'full');
  await idle(handle);
  world.calls.length = 0;
  return handle;
}

/** Pauses tables and lets a delta take them out. */
async function paused(handle: Handle, names: readonly string[]): Promise<void> {
  for (const name of names) expect(await act(handle, name, 'pause')).toMatchObject({ done: true });
  await request(handle, 'delta');
  await idle(handle);
}

describe('a paused table whose log is kept', () => {
  it('goes on beside the stream, without a load', async () => {
    const handle = await copied('24');
    await paused(handle, ['a']);
    expect(await states(handle)).toEqual({ a: 'paused', b: 'consistent', c: 'consistent' });
    expect((await act(handle, 'a', 'pause')).text).toBe('The table is paused already.');
    world.calls.length = 0;
    expect(await act(handle, 'a', 'resume')).toMatchObject({ done: true });
    await idle(handle);
    expect(world.calls).toEqual(['resume a', 'slice 7 written', 'slice 7 written', 'hand back 7 to 1']);
    expect(await states(handle)).toEqual({ a: 'consistent', b: 'consistent', c: 'consistent' });
    expect((await runs(handle))[0]).toMatchObject({ operation: 'syncnew', state: 'succeeded', resume: true });
  });

  it('had not left the stream: it goes on at once', async () => {
    const handle = await copied('24');
    await act(handle, 'a', 'pause');
    expect(await act(handle, 'a', 'resume')).toMatchObject({ done: true });
    await idle(handle);
    expect(world.calls).toEqual([]);
    expect(await states(handle)).toMatchObject({ a: 'consistent' });
  });

  it('is loaded again when its log is gone, with a warning, while others go on', async () => {
    const handle = await copied('24');
    await paused(handle, ['a', 'b']);
    world.logLost = (name) => name === 'a';
    world.calls.length = 0;
    await act(handle, 'a', 'resume');
    await act(handle, 'b', 'resume');
    await idle(handle);
    const load = world.calls.indexOf('hand over a to 1');
    expect(world.calls.indexOf('hand back 7 to 1')).toBeGreaterThan(-1);
    expect(load).toBeGreaterThan(-1);
    expect(await states(handle)).toEqual({ a: 'consistent', b: 'consistent', c: 'consistent' });
    expect((await events(handle)).filter(({ code }) => code === 'log_not_kept')).toMatchObject([
      { level: 'warning', table: 'public.a' },
    ]);
  });

  it('is loaded again when its log is lost on the way', async () => {
    const handle = await copied('24');
    await paused(handle, ['a']);
    world.onSlice = async ({ scope }) => {
      if (scope !== 7) return emptySlice('p3');
      throw ApplicationFailure.create({ message: 'The slot is gone.', type: 'PositionLost', nonRetryable: true });
    };
    world.calls.length = 0;
    await act(handle, 'a', 'resume');
    await idle(handle);
    expect(world.calls).toContain('take back PositionLost');
    expect(world.calls).toContain('hand over a to 1');
    expect(await states(handle)).toMatchObject({ a: 'consistent' });
  });

  it('stays paused when the resumption is cancelled, and goes on later', async () => {
    const handle = await copied('24');
    await paused(handle, ['a']);
    const { onSlice } = world;
    world.onSlice = async (_input, stop) => {
      await new Promise((resolve) => stop.addEventListener('abort', resolve));
      return emptySlice('p4');
    };
    await act(handle, 'a', 'resume');
    await until(
      async () => world.calls,
      (calls) => calls.includes('slice 7 written'),
    );
    expect((await act(handle, 'a', 'resume')).done).toBe(false);
    await handle.executeUpdate(updates.cancel, { args: [{ lane: 'load' }] });
    await idle(handle);
    expect(world.calls).toContain('take back paused');
    expect(await states(handle)).toMatchObject({ a: 'paused' });
    world.onSlice = onSlice;
    await act(handle, 'a', 'resume');
    await idle(handle);
    expect(await states(handle)).toMatchObject({ a: 'consistent' });
  });

  it('loses its log when its time is over, also while nothing runs', async () => {
    const handle = await copied('0.0008');
    await paused(handle, ['a']);
    await until(
      async () => world.calls,
      (calls) => calls.includes('let log go but of '),
    );
    expect((await events(handle)).at(-1)).toMatchObject({ level: 'warning', code: 'log_let_go', table: 'public.a' });
    expect((await act(handle, 'a', 'resume')).text).toContain('no longer kept');
    expect(await states(handle)).toMatchObject({ a: 'reload' });
  });

  it('is told of when its log could not be kept', async () => {
    const handle = await copied('24');
    world.onSlice = async ({ leaving, kept }) => {
      expect(kept).toEqual(leaving.map(({ ref }) => ref));
      return { ...emptySlice('p2'), unkept: [{ ref: { schema: 'public', name: 'a' }, reason: 'No slot is free.' }] };
    };
    await paused(handle, ['a']);
    const told = await until(
      async () => (await events(handle)).filter(({ code }) => code === 'log_not_kept'),
      (found) => found.length > 0,
    );
    expect(told).toMatchObject([
      { level: 'warning', table: 'public.a', message: expect.stringContaining('No slot is free.') },
    ]);
  });
});
