import type { WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Changes } from '../../src/drivers/destination.ts';
import {
  type PipelineOverview,
  queries,
  queues,
  type ReportAnswer,
  type Run,
  type SetSchedule,
  updates,
} from '../../src/workflows/messages.ts';
import type { StreamHeartbeat } from '../../src/workflows/progress.ts';
import { type Harness, until } from '../workflows/harness.ts';
import {
  type Destination,
  expectGood,
  expectSame,
  makeDestination,
  runFull,
  runOperation,
  sealed,
  startPipeline,
  startWorker,
} from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

const auto: SetSchedule = { schedule: { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null } };
const overview = (handle: WorkflowHandle): Promise<PipelineOverview> => handle.query(queries.overview);
const counts = ({ inserted, updated, deleted, parked }: Omit<Changes, 'changedAt' | 'writtenAt'>) => [
  inserted,
  updated,
  deleted,
  parked,
];

/** What the control tables tell, by table name. */
async function report(handle: WorkflowHandle, target: Destination, run: number) {
  const pipeline = handle.workflowId.slice('pipeline/'.length);
  const input = { pipeline, destination: sealed(target.params), databases: [target.db] };
  const ask = (more: object): Promise<ReportAnswer> =>
    harness.client.workflow.execute('report', {
      taskQueue: queues.ingest,
      workflowId: `${handle.workflowId}/report/${Math.random()}`,
      args: [{ ...input, ...more }],
    });
  const [{ tables }, { runTables }] = await Promise.all([ask({}), ask({ run })]);
  const of = (name: string) => ({
    table: tables.find(({ ref }) => ref.name === name)?.changes as Changes,
    run: runTables.find(({ ref }) => ref.name === name),
  });
  return { big: of('big'), empty: of('empty_table') };
}

/** The text that Temporal's Web UI shows of a workflow. */
async function shown(id: string): Promise<string> {
  const handle = harness.client.workflow.getHandle(id);
  const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
  return currentDetails;
}

/** What the open stream tells by heartbeat. */
async function live(handle: WorkflowHandle, run: number): Promise<StreamHeartbeat['stream'] | undefined> {
  const { raw } = await harness.client.workflow.getHandle(`${handle.workflowId}/delta/${run}`).describe();
  const [payload] = raw.pendingActivities?.[0]?.heartbeatDetails?.payloads ?? [];
  return payload ? defaultPayloadConverter.fromPayload<StreamHeartbeat | null>(payload)?.stream : undefined;
}

describe.each([
  ['PostgreSQL 15', 'singlestore', () => seedPostgres(inject('postgres15'), 2_000)],
  ['MariaDB 10.11', 'mariadb', () => seedMysql(inject('mariadb'), 2_000)],
] as const)('what is seen of changes of %s', { timeout: 180_000 }, (_name, mode, seed) => {
  async function withPipeline(
    test: (handle: WorkflowHandle, source: SeededSource, target: Destination) => Promise<void>,
  ): Promise<void> {
    const [source, target] = await Promise.all([seed(), makeDestination(mode)]);
    const handle = await startPipeline(harness, source, target, [{ name: 'big' }, { name: 'empty_table' }]);
    try {
      await expectGood(handle, await runFull(handle));
      await test(handle, source, target);
    } finally {
      await handle.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
      await source.drop();
      await target.drop();
    }
  }

  it('by table and operation, with the times of the last change, which idle deltas leave as they are', () =>
    withPipeline(async (handle, source, target) => {
      expect((await overview(handle)).applied).toMatchObject({ inserted: 0, changedAt: null, writtenAt: null });
      const before = Date.now();
      await source.run('delete from big where id <= 7');
      await source.run("update big set b = 'x' where id between 100 and 104");
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      const between = Date.now();
      await source.run("insert into empty_table values (1, 'a'), (2, 'b'), (3, 'c')");
      const run = await runOperation(handle, 'delta');
      const after = Date.now();
      expect(counts(run.rows)).toEqual([3, 5, 7, 0]);
      const found = await report(handle, target, run.id);
      for (const [{ table, run: ofRun }, wanted, from, to] of [
        [found.big, [0, 5, 7, 0], before, between],
        [found.empty, [3, 0, 0, 0], between, after],
      ] as const) {
        expect(counts(table)).toEqual(wanted);
        expect(ofRun).toMatchObject({ state: 'streamed', changes: table });
        // MariaDB tells commit times in whole seconds. The servers share this machine's clock.
        expect(Date.parse(table.changedAt ?? '')).toBeGreaterThanOrEqual(from - 1_000);
        expect(Date.parse(table.changedAt ?? '')).toBeLessThanOrEqual(to);
        expect(Date.parse(table.writtenAt ?? '')).toBeGreaterThanOrEqual(between);
        expect(Date.parse(table.writtenAt ?? '')).toBeLessThanOrEqual(after);
      }
      const seen = await overview(handle);
      expect(seen.applied).toMatchObject({ inserted: 3, updated: 5, deleted: 7, parked: 0 });
      expect(seen.applied?.changedAt).toBe(found.empty.table.changedAt);
      expect(Math.abs(seen.clockOffset ?? Number.NaN)).toBeLessThan(2_000);
      expect(seen.log?.at).toBeGreaterThanOrEqual(before);
      expect(await shown(handle.workflowId)).toContain('changes in all: 3 inserted, 5 updated, 7 deleted');
      const details = await shown(`${handle.workflowId}/delta/${run.id}`);
      expect(details).toContain('**changes**: 3 inserted, 5 updated, 7 deleted');
      expect(details).toMatch(
        new RegExp(`\\| \\S+\\.big \\| 0 \\| 5 \\| 7 \\| 0 \\| ${found.big.table.changedAt} \\|`),
      );

      const idle = await runOperation(handle, 'delta');
      expect(counts(idle.rows)).toEqual([0, 0, 0, 0]);
      const later = await overview(handle);
      expect(later.applied).toEqual(seen.applied);
      expect(later.completeAt).toBeGreaterThan(seen.completeAt as number);
      expect((await report(handle, target, idle.id)).big).toEqual({ table: found.big.table, run: undefined });

      // The next change is of a later second, in which MariaDB tells its commit times.
      await until(
        () => Promise.resolve(Date.now()),
        (now) => now >= Date.parse(found.empty.table.changedAt ?? '') + 1_000,
      );
      await source.run("insert into empty_table values (4, 'd')");
      await expectGood(handle, await runOperation(handle, 'delta'));
      const last = (await report(handle, target, run.id)).empty;
      expect([last.table.inserted, last.run?.changes?.inserted]).toEqual([4, 3]);
      expect((last.table.changedAt ?? '') > (found.empty.table.changedAt ?? '')).toBe(true);
    }));

  it('exactly, over restarts of the worker in the middle of a stream', () =>
    withPipeline(async (handle, source, target) => {
      await handle.executeUpdate(updates.setSchedule, { args: [auto] });
      const open = await until(
        () => overview(handle),
        ({ current }) => current.stream !== null,
      );
      const run = open.current.stream?.id as number;
      let total = 0;
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 20; i++) {
          await source.run(`insert into empty_table values (${1000 * round + i}, 'x')`);
          total++;
          if (i === 10 && round < 2) await harness.restart();
        }
        const stream = await until(
          () => live(handle, run),
          (beat) => beat?.total?.inserted === total,
          60_000,
        );
        expect(stream?.applied?.inserted).toBe(total);
        expect(Date.now() - Date.parse(stream?.applied?.writtenAt ?? '')).toBeLessThan(60_000);
      }
      await handle.executeUpdate(updates.setScheduler, { args: [{ on: false }] });
      await until(
        () => overview(handle),
        ({ current }) => current.stream === null,
      );
      const ended = (await handle.query<readonly Run[]>(queries.runs)).find(({ id }) => id === run) as Run;
      expect(counts(ended.rows)).toEqual([total, 0, 0, 0]);
      expect((await report(handle, target, run)).empty.run?.changes?.inserted).toBe(total);
      await expectSame(source, target, ['big', 'empty_table']);
    }));
});

describe('an idle stream of PostgreSQL', () => {
  it('holds no log, while other databases of the server write', { timeout: 120_000 }, async () => {
    const server = inject('postgres18');
    const [source, other, target] = await Promise.all([
      seedPostgres(server, 100),
      seedPostgres(server, 100),
      makeDestination('mariadb'),
    ]);
    const handle = await startPipeline(harness, source, target, [{ name: 'big' }]);
    try {
      await expectGood(handle, await runFull(handle));
      await handle.executeUpdate(updates.setSchedule, { args: [auto] });
      for (let round = 0; round < 2; round++) {
        await other.run(
          "insert into text_key select 'z' || n, 'k', '{}' from generate_series(1, 5000) n; truncate text_key",
        );
        const [{ lsn }] = (await other.run('select pg_current_wal_lsn()::text as lsn')) as [{ lsn: string }];
        await until(
          () =>
            source.run(
              `select confirmed_flush_lsn >= '${lsn}'::pg_lsn as past from pg_replication_slots where database = current_database()`,
            ) as Promise<{ past: boolean }[]>,
          (slots) => slots.length === 1 && slots[0]?.past === true,
          45_000,
        );
      }
    } finally {
      await handle.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
      await source.drop();
      await other.drop();
      await target.drop();
    }
  });
});
