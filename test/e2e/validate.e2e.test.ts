import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { Checked } from '../../src/drivers/check.ts';
import {
  type PipelineOverview,
  queries,
  type RequestAnswer,
  type Run,
  updates,
  type ValidateOptions,
} from '../../src/workflows/messages.ts';
import { type Harness, until } from '../workflows/harness.ts';
import {
  type Destination,
  expectGood,
  expectSame,
  makeDestination,
  runFull,
  runOperation,
  startPipeline,
  startWorker,
} from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';
import { startWorkload } from './workload.ts';

const cases: readonly (readonly [string, 'mariadb' | 'singlestore', () => Promise<SeededSource>])[] = [
  ['PostgreSQL 15', 'singlestore', () => seedPostgres(inject('postgres15'), 5_000)],
  ['MariaDB 10.11', 'singlestore', () => seedMysql(inject('mariadb'), 5_000)],
];

let harness: Harness;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());

const auto = { schedule: { type: 'auto', duration: null, offset: '0d00h00m', weekFlags: null } };
const overview = (handle: WorkflowHandle): Promise<PipelineOverview> => handle.query(queries.overview);

/** What a run found, by table. */
async function found(target: Destination, run: Run): Promise<Record<string, Checked & { state: string }>> {
  const rows = await target.query<{ name: string; state: string; checked: string }>(
    `select source_name as name, state, checked from ${target.db}._flow_runs where run = ${run.id}`,
  );
  return Object.fromEntries(
    rows.map(({ name, state, checked }) => [name, { state, ...(checked ? JSON.parse(checked) : {}) }]),
  );
}

async function left(target: Destination): Promise<string[]> {
  const names = await target.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = '${target.db}'`,
  );
  return names.map(({ name }) => name).filter((name) => name.includes('_check_'));
}

async function validate(handle: WorkflowHandle, options: Partial<ValidateOptions> = {}): Promise<Run> {
  const validate = { repair: false, tables: null, ...options };
  const answer = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, {
    args: [{ operation: 'validate', validate }],
  });
  if (!answer.accepted) throw new Error(answer.text);
  const own = async () => (await handle.query<readonly Run[]>(queries.runs)).find((run) => run.id === answer.run.id);
  return (await until(own, (run) => run?.endedAt != null, 90_000)) as Run;
}

describe.each(cases)('a validation of a copy of %s in %s', { timeout: 240_000 }, (_name, mode, seed) => {
  let source: SeededSource;
  let target: Destination;
  let handle: WorkflowHandle;
  beforeEach(async () => {
    [source, target] = await Promise.all([seed(), makeDestination(mode)]);
    handle = await startPipeline(
      harness,
      source,
      target,
      source.tables.map((name) => ({ name })),
    );
    await expectGood(handle, await runFull(handle));
  });
  afterEach(async () => {
    await handle?.executeUpdate(updates.remove, { args: [{}] }).catch(() => {});
    await source?.drop();
    await target?.drop();
  });

  it('finds changed, lost and foreign rows by their keys, and has them repaired', async () => {
    const clean = await validate(handle);
    expect(clean).toMatchObject({ state: 'succeeded', check: { different: 0, unsettled: 0, failed: 0, skipped: 0 } });
    expect(Object.keys(await found(target, clean)).sort()).toEqual([...source.tables].sort());
    expect(clean.check?.checked).toBeGreaterThan(11_000);

    for (const [column, value] of [
      ['a', 'a + 1'],
      ['b', "concat(b, ' ')"],
      ['c', 'c + 0.01'],
      ['d', 'd + interval 1 microsecond'],
      ['e', 'e + 1e-9'],
      ['f', "insert(f, 1, 1, 'X')"],
      ['g', '1 - g'],
    ]) {
      const id = 'abcdefg'.indexOf(column as string) + 23;
      await target.query(`update ${target.db}.big set ${column} = ${value} where id = ${id}`);
    }
    await target.query(`update ${target.db}.big set a = null where id = 1000`);
    await target.query(`delete from ${target.db}.big where id = 77`);
    await target.query(`insert into ${target.db}.text_key values ('nowhere', 'to be found', '{"n": 1}')`);
    await target.query(`delete from ${target.db}.text_key where code like 'k12%' and country = 'c5'`);
    await target.query(`delete from ${target.db}.keyless limit 1`);
    const lost =
      5000 - Number((await target.query<{ n: number }>(`select count(*) - 1 as n from ${target.db}.text_key`))[0]?.n);
    expect(lost).toBeGreaterThan(5);
    const broken = await validate(handle);
    const tables = await found(target, broken);
    expect(tables['big']).toMatchObject({ state: 'checked', checked: 5000, different: 9, unsettled: 0, repaired: 0 });
    expect([...(tables['big'] as Checked).examples].sort()).toEqual(
      [23, 24, 25, 26, 27, 28, 29, 1000, 77].map((id) => `id=${id}`).sort(),
    );
    expect(tables['text_key']).toMatchObject({ different: lost + 1 });
    expect(tables['keyless']).toMatchObject({ different: 1, examples: [] });
    expect(broken.check).toMatchObject({ different: 11 + lost, unsettled: 0 });
    expect(await left(target)).toEqual([]);

    const repairing = await validate(handle, {
      repair: true,
      tables: ['big', 'text_key'].map((name) => `${source.schema}.${name}`),
    });
    expect(repairing.check).toMatchObject({ tables: 2, different: 10 + lost, repaired: 10 + lost });
    const keyed = source.tables.filter((name) => name !== 'keyless');
    await expectSame(source, target, keyed);
    expect(await validate(handle, { tables: [`${source.schema}.big`] })).toMatchObject({ check: { different: 0 } });
    expect(target.rejections()).toEqual([]);
  });

  it('sees no difference in what writers change meanwhile, with a stream and without', async () => {
    const workload = await startWorkload(source, 5);
    const writing = workload.forever();
    const keyed = source.tables.filter((name) => name !== 'keyless').map((name) => `${source.schema}.${name}`);
    try {
      for (const schedule of [null, auto]) {
        if (schedule) await handle.executeUpdate(updates.setSchedule, { args: [schedule] });
        const run = await validate(handle, { tables: keyed });
        expect(run).toMatchObject({ state: 'succeeded', check: { different: 0, failed: 0 } });
        expect(run.check?.tables).toBeGreaterThan(1);
      }
    } finally {
      await workload.stop();
      await writing;
    }
    await target.query(`update ${target.db}.empty_table set t = 'never so' where id = 1`);
    expect(await validate(handle, { repair: true, tables: keyed })).toMatchObject({ state: 'succeeded' });
    await until(
      () =>
        expectSame(
          source,
          target,
          source.tables.filter((name) => name !== 'keyless'),
        ).then(
          () => true,
          () => false,
        ),
      (same) => same,
      30_000,
    );
    expect(target.rejections()).toEqual([]);
  });

  it('leaves nothing when it is cancelled, and goes on when its worker is replaced', async () => {
    await target.query(`update ${target.db}.big set b = 'broken' where id in (5, 6)`);
    const asked = handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, {
      args: [{ operation: 'validate' }],
    });
    await until(
      () => left(target),
      (names) => names.length > 0,
    );
    await asked;
    await handle.executeUpdate(updates.cancel, { args: [{}] });
    await until(
      () => overview(handle),
      ({ current, queue }) => current.load === null && current.stream === null && queue.length === 0,
    );
    expect(await left(target)).toEqual([]);
    const again = handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, {
      args: [{ operation: 'validate' }],
    });
    await until(
      () => left(target),
      (names) => names.length > 0,
    );
    const answer = await again;
    await harness.restart();
    const id = answer.accepted ? answer.run.id : 0;
    const run = await until(
      async () => (await handle.query<readonly Run[]>(queries.runs)).find((one) => one.id === id),
      (one) => one?.endedAt != null,
      120_000,
    );
    expect(run).toMatchObject({ state: 'succeeded', check: { different: 2, unsettled: 0, failed: 0 } });
    expect((await found(target, run as Run))['big']?.examples).toEqual(['id=5', 'id=6']);
    expect(await left(target)).toEqual([]);
    await until(
      () => overview(handle),
      ({ current, queue }) => current.stream === null && queue.length === 0,
    );
    await expectGood(handle, await runOperation(handle, 'delta'));
  });
});
