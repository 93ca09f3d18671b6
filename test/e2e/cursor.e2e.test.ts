import type { WorkflowHandle } from '@temporalio/client';
import mysql, { type Connection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import {
  type PipelineEvent,
  type PipelineOverview,
  queries,
  type RequestAnswer,
  type Run,
  updates,
} from '../../src/workflows/messages.ts';
import { drivers, jarsOf } from '../drivers/jdbc/fixture.ts';
import { type Harness, until } from '../workflows/harness.ts';
import {
  type Destination,
  expectClean,
  expectGood,
  expectSame,
  makeDestination,
  runFull,
  runOperation,
  startPipeline,
  startWorker,
} from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';

const ROWS = 9_000;

type Case = {
  readonly source: SeededSource;
  /** Deletes and a changed key are looked for too, which takes as long as the rest. */
  readonly validated: boolean;
  /** Ends every session of the product at the source. */
  cut(): Promise<unknown>;
};

async function postgres(more: (source: SeededSource) => Record<string, string> = () => ({})): Promise<Case> {
  const source = await seedPostgres(inject('postgres15'), 10);
  await source.run(`create table followed (id int primary key, v text, n int, at timestamptz(3) not null default clock_timestamp());
    insert into followed select i, 'row ' || i, i from generate_series(1, ${ROWS}) i;
    create index on followed (at);
    create function touch() returns trigger language plpgsql as 'begin new.at = clock_timestamp(); return new; end';
    create trigger touch before update on followed for each row execute function touch()`);
  return {
    source: { ...source, params: { ...source.params, capture: 'cursor', ...more(source) } },
    validated: Boolean(process.env['FLOW_MATRIX']),
    cut: () =>
      source.run(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${source.database}' and application_name = 'flow-ingest'`,
      ),
  };
}

async function mariadb(): Promise<Case> {
  const source = await seedMysql(inject('mariadb'), 10);
  await source.run(`create table followed (id int primary key, v text, n int,
      at timestamp(3) not null default current_timestamp(3) on update current_timestamp(3), index (at));
    insert into followed (id, v, n) select seq, concat('row ', seq), seq from seq_1_to_${ROWS}`);
  return {
    source: { ...source, params: { ...source.params, capture: 'cursor' } },
    validated: true,
    cut: async () => {},
  };
}

const byJdbc = (): Promise<Case> =>
  postgres(({ database }) => {
    const { host, port } = inject('postgres15');
    const url = `jdbc:postgresql://${host}:${port}/${database}`;
    return { type: 'rds.jdbcfe', drv: 'org.postgresql.Driver', url, jdbc_drivers: jarsOf('postgres') };
  });

let harness: Harness;
let target: Destination | undefined;
let source: SeededSource | undefined;
beforeAll(async () => {
  harness = await startWorker();
});
afterAll(() => harness?.stop());
afterEach(async () => {
  await source?.drop();
  await target?.drop();
});

/** Ends the sessions that write to the copy; the next attempt takes up what they left. */
async function cutDestination({ db, query }: Destination): Promise<boolean> {
  const rows = await query<{ id: number }>(
    `select id from information_schema.processlist where db = '${db}' and command <> 'Sleep' and id <> connection_id()`,
  );
  for (const { id } of rows) await query(`kill ${id}`).catch(() => {});
  return rows.length > 0;
}

/** A session that has locked a row of the copy. */
async function holdRow({ db }: Destination): Promise<Connection> {
  const { host, port, user, password } = inject('destination');
  const session = await mysql.createConnection({ host, port, user, password });
  await session.query('start transaction');
  await session.query(`select id from \`${db}\`.followed where id = 2 for update`);
  return session;
}

async function validate(handle: WorkflowHandle): Promise<Run> {
  const argument = { operation: 'validate', validate: { repair: true, tables: null } };
  const answer = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, { args: [argument] });
  if (!answer.accepted) throw new Error(answer.text);
  const own = async () => (await handle.query<readonly Run[]>(queries.runs)).find(({ id }) => id === answer.run.id);
  return (await until(own, (run) => run?.endedAt != null, 60_000)) as Run;
}

/** Deleted rows and old keys stay until `validate` finds them. */
async function findDeletes(handle: WorkflowHandle, { source }: Case, copied: Destination): Promise<void> {
  await source.run(`delete from followed where id % 1000 = 1; update followed set id = -7 where id = 7`);
  await expectGood(handle, await runOperation(handle, 'delta'));
  const checked = await validate(handle);
  expect(checked).toMatchObject({ state: 'succeeded', check: { different: 11, repaired: 11 } });
  // A repair is followed by a delta of its own.
  const idle = ({ current, queue }: PipelineOverview) => current.stream === null && queue.length === 0;
  await until(() => handle.query<PipelineOverview>(queries.overview), idle, 60_000);
  await expectGood(handle, await runOperation(handle, 'delta'));
  await expectSame(source, copied, ['followed']);
}

const cases: [string, 'mariadb' | 'singlestore', () => Promise<Case>][] = [
  ['PostgreSQL', 'singlestore', () => postgres()],
  ['MariaDB', 'mariadb', mariadb],
];
// A JVM for each connection: the drivers' own tests show the same, piece by piece.
if (drivers && process.env['FLOW_MATRIX']) cases.push(['PostgreSQL by JDBC', 'mariadb', byJdbc]);

describe.each(cases)('%s, followed by cursors', { timeout: 120_000 }, (_name, mode, make) => {
  it('is copied exactly by deltas that are cut off on their way; what they can not see is said, and found by validate', async () => {
    const made = await make();
    source = made.source;
    target = await makeDestination(mode);
    const copied = target;
    const { run } = made.source;
    const handle = await startPipeline(harness, source, target, [{ name: 'followed', options: { cursor: ['at'] } }]);
    await expectGood(handle, await runFull(handle));
    await expectSame(source, target, ['followed']);

    await run(
      `update followed set v = 'changed', n = n + 1 where id % 2 = 0; insert into followed (id, v) values (${ROWS + 1}, 'it''s new')`,
    );
    // The delta waits for this lock of ours, and so can't be over before it is cut.
    const holder = await holdRow(copied);
    const delta = runOperation(handle, 'delta');
    while (!(await cutDestination(copied))) await new Promise((resolve) => setTimeout(resolve, 40));
    await made.cut();
    holder.destroy();
    const first = await delta;
    await expectGood(handle, first);
    expect(first.rows.updated + first.rows.inserted).toBeGreaterThan(ROWS / 2);
    await expectSame(source, target, ['followed']);

    if (made.validated) await findDeletes(handle, made, copied);

    const view = await handle.query<PipelineOverview>(queries.overview);
    expect(view).toMatchObject({ consistent: true, notice: expect.stringContaining('deleted rows') });
    const events = await handle.query<readonly PipelineEvent[], [unknown]>(queries.events, { since: 0 });
    const texts = events.map(({ message }) => message).join('\n');
    expect(texts).toContain('Deleted rows are not seen by a cursor: `validate` finds them.');
    expect(texts).toMatch(/Manual Delta complete: .* deletes \(a cursor sees none: `validate` finds them\)/);
    await expectClean(target);
    expect(target.rejections()).toEqual([]);
  });
});

it('a table without a cursor fails alone, and so does one with history', { timeout: 60_000 }, async () => {
  const made = await mariadb();
  source = made.source;
  target = await makeDestination('mariadb');
  await source.run('create table kept like followed');
  const handle = await startPipeline(harness, source, target, [
    { name: 'big', options: {} },
    { name: 'kept', options: { cursor: ['at'], history: true } },
    { name: 'followed', options: { cursor: ['at'] } },
  ]);
  const run = await runFull(handle);
  expect(run.state).toBe('succeeded');
  const tables = await handle.query<readonly { name: string; error?: { message: string } }[]>(queries.selection);
  expect(Object.fromEntries(tables.map(({ name, error }) => [name, error?.message]))).toMatchObject({
    big: expect.stringMatching(/\.big has no column.*These could be: d\./),
    kept: expect.stringContaining('History mode'),
    followed: undefined,
  });
  await expectSame(source, target, ['followed']);
});
