import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/activity';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { SettleInput } from '../../src/activities/validate.ts';
import type { PipelineEvent, PipelineOverview, RequestAnswer, Run } from '../../src/workflows/messages.ts';
import { queries, updates } from '../../src/workflows/messages.ts';
import { fakeActivities, newWorld, type World } from '../fakes/activities.ts';
import { type Harness, startHarness, startPipeline, until } from './harness.ts';

let harness: Harness;
const world: World = newWorld();
beforeAll(async () => {
  const where = { address: inject('temporal').address, bundlePath: inject('bundlePath') };
  harness = await startHarness(where, fakeActivities(world));
});
afterAll(() => harness?.stop());
beforeEach(() => {
  Object.assign(world, newWorld(), { captures: true });
});

type Handle = Awaited<ReturnType<typeof startPipeline>>;
const overview = (handle: Handle): Promise<PipelineOverview> => handle.query(queries.overview);
const runs = (handle: Handle): Promise<readonly Run[]> => handle.query(queries.runs);
const messages = async (handle: Handle): Promise<string[]> =>
  (await handle.query<readonly PipelineEvent[], [unknown]>(queries.events, { since: 0 })).map((event) => event.message);
const request = (handle: Handle, operation: string, more: object = {}): Promise<RequestAnswer> =>
  handle.executeUpdate(updates.request, { args: [{ operation, ...more }] });
const settled = (handle: Handle, id: number): Promise<Run | undefined> =>
  until(
    async () => (await runs(handle)).find((run) => run.id === id),
    (run) => run?.endedAt != null,
    60_000,
  );
const auto = (handle: Handle): Promise<unknown> =>
  handle.executeUpdate(updates.setSchedule, {
    args: [{ schedule: { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null } }],
  });

async function copied(tables: readonly string[] = ['a', 'b']): Promise<Handle> {
  const handle = await startPipeline(harness.client, `v-${randomUUID().slice(0, 8)}`, tables);
  await request(handle, 'full');
  await settled(handle, 1);
  world.calls.length = 0;
  return handle;
}

function gate(): { readonly wait: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { wait: promise, open: resolve };
}

/** Settles what the stream has passed: when `slices` slices have ended. */
function afterSlices(slices: number) {
  return async (input: SettleInput, stop: AbortSignal) => {
    await until(
      async () => stop.aborted || world.calls.filter((call) => call === 'slice ended').length >= slices,
      (done) => done,
    );
    return newWorld().onSettle(input, stop);
  };
}

describe('a validation', { timeout: 60_000 }, () => {
  it('has a delta started where no stream goes on, and leaves nothing behind', async () => {
    const handle = await startPipeline(harness.client, `v-${randomUUID().slice(0, 8)}`, ['a', 'b']);
    expect(await request(handle, 'validate')).toMatchObject({ accepted: false, code: 'needs_full' });
    await request(handle, 'full');
    await settled(handle, 1);
    world.calls.length = 0;
    world.onSettle = afterSlices(2);
    world.onSlice = async () => {
      world.calls.push('slice ended');
      return newWorld().onSlice({ until: 'written' } as never, new AbortController().signal);
    };
    expect(await request(handle, 'validate')).toMatchObject({ accepted: true, run: { id: 2 } });
    expect(await request(handle, 'validate')).toMatchObject({ accepted: false });
    const run = await settled(handle, 2);
    expect(run).toMatchObject({
      state: 'succeeded',
      check: { tables: 2, checked: 20, different: 0, repaired: 0, unsettled: 0, skipped: 0, failed: 0 },
    });
    expect(world.calls.filter((call) => call.startsWith('read')).sort()).toEqual(['read a', 'read b']);
    expect(world.calls.at(-1)).toBe('clearChecks');
    expect((await runs(handle)).filter(({ operation }) => operation === 'delta').length).toBeGreaterThanOrEqual(2);
    expect(await messages(handle)).toContain('Validate complete: 2 tables, 20 rows compared, 0 different.');
    expect(await overview(handle)).toMatchObject({ consistent: true, tables: { consistent: 2 } });
  });

  it('lets a stream that follows on alone, names tables that differ, and has it begin again to repair', async () => {
    const handle = await copied();
    await auto(handle);
    await until(
      () => overview(handle),
      ({ current }) => current.stream?.id === 2,
    );
    world.onSettle = async ({ tables, repair }) => ({
      done: tables.map(({ ref }) => {
        const different = ref.name === 'b' ? 3 : 0;
        const check = {
          checked: 10,
          different,
          repaired: repair ? different : 0,
          unsettled: different > 0 ? 1 : 0,
          examples: ['id=1', 'id=2', 'id=3', 'id=4'].slice(0, different),
        };
        return { ref, state: 'checked' as const, check, error: null };
      }),
      again: [],
    });
    await request(handle, 'validate', { validate: { repair: false, tables: ['public.b'] } });
    expect(await settled(handle, 3)).toMatchObject({ check: { tables: 1, different: 3, repaired: 0 } });
    expect(world.calls).not.toContain('read a');
    expect(world.calls).not.toContain('awaitRepairs');
    expect((await overview(handle)).current.stream?.id).toBe(2);
    const told = await messages(handle);
    expect(told).toContain(
      '3 of 10 rows differ from the source (id=1; id=2; id=3 …). 1 rows changed too often, or were too many, to say it of them.',
    );
    expect(told).toContain('Validate complete: 1 tables, 10 rows compared, 3 different, 1 unsettled.');
    await request(handle, 'validate', { validate: { repair: true, tables: null } });
    expect(await settled(handle, 4)).toMatchObject({ check: { tables: 2, different: 3, repaired: 3 } });
    expect(world.calls).toContain('awaitRepairs');
    // The stream had to begin another attempt, and follows on afterwards.
    expect(await settled(handle, 2)).toMatchObject({ state: 'succeeded' });
    expect(await settled(handle, 5)).toMatchObject({ operation: 'delta', state: 'succeeded' });
    await until(
      () => overview(handle),
      ({ current }) => (current.stream?.id ?? 0) > 5,
    );
  });

  it.each(['onRead', 'onSettle'] as const)('cancelled during %s takes its tables away', async (step) => {
    const handle = await copied();
    const held = gate();
    world[step] = async () => {
      await held.wait;
      throw new Error('It should have been cancelled.');
    };
    await request(handle, 'validate');
    await until(
      async () => world.calls,
      (calls) => calls.some((call) => call.startsWith(step === 'onRead' ? 'read' : 'settle')),
    );
    expect(await handle.executeUpdate(updates.cancel, { args: [{ lane: 'load' }] })).toMatchObject({ cancelled: [2] });
    expect(await settled(handle, 2)).toMatchObject({ state: 'cancelled' });
    expect(world.calls).toContain('clearChecks');
    expect(await overview(handle)).toMatchObject({ tables: { consistent: 2 } });
    held.open();
  });

  it('makes room for a full extract, and goes on after it', async () => {
    const handle = await copied();
    const held = gate();
    world.onSettle = async () => {
      await held.wait;
      throw new Error('It should have been cancelled.');
    };
    await request(handle, 'validate');
    await until(
      async () => world.calls,
      (calls) => calls.some((call) => call.startsWith('settle')),
    );
    await request(handle, 'full');
    const full = await until(
      async () => (await runs(handle)).find(({ operation, id }) => operation === 'full' && id > 1),
      (run) => run?.endedAt != null,
    );
    expect(full).toMatchObject({ state: 'succeeded' });
    world.onSettle = newWorld().onSettle;
    held.open();
    const run = await settled(handle, 2);
    expect(run).toMatchObject({ state: 'succeeded', check: { tables: 2 } });
    expect(Date.parse(run?.endedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(full?.endedAt ?? ''));
  });

  it('ends when the stream can not go on', async () => {
    const handle = await copied();
    const held = gate();
    world.onSettle = async () => {
      await held.wait;
      throw new Error('It should have been cancelled.');
    };
    world.onSlice = async () => {
      throw ApplicationFailure.create({ message: 'The slot is gone.', type: 'PositionLost', nonRetryable: true });
    };
    await request(handle, 'validate');
    expect(await settled(handle, 2)).toMatchObject({ state: 'failed', error: { class: 'StreamFailed' } });
    expect(world.calls).toContain('clearChecks');
    held.open();
  });

  it('reads again what changed under it, and gives up a table that keeps changing, not the others', async () => {
    const handle = await copied(['a', 'b', 'c']);
    let left = 1;
    world.onSettle = async (input, stop) => {
      const [table] = input.tables;
      if (table?.ref.name === 'a' || (table?.ref.name === 'b' && left-- > 0))
        return {
          done: [],
          again: [{ ref: (table as { ref: { schema: string; name: string } }).ref, reason: 'It changed.' }],
        };
      return newWorld().onSettle(input, stop);
    };
    world.onRead = async ({ tables }) =>
      tables.flatMap(({ ref }) => {
        const error = { class: 'NotFollowed', message: 'Not there.', action: 'Load it.' };
        return ref.name === 'c' ? [{ ref, state: 'skipped' as const, check: null, error }] : [];
      });
    await request(handle, 'validate');
    expect(await settled(handle, 2)).toMatchObject({
      state: 'succeeded',
      check: { tables: 1, checked: 10, skipped: 1, failed: 1 },
    });
    expect(world.calls.filter((call) => call === 'read a')).toHaveLength(4);
    expect(world.calls.filter((call) => call === 'read b')).toHaveLength(2);
    const told = await messages(handle);
    expect(told).toContain('Not compared: Not there. Load it.');
    expect(told).toContain('Not compared: It changed. Validate the table when it is no longer being changed.');
  });
});
