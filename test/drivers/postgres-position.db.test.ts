import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Source, Start } from '../../src/drivers/source.ts';
import { addressOf, type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne, readAll } from './source-suite.ts';

const signal = new AbortController().signal;

describe.each(postgresServers())('positions of %s', (server) => {
  let ground: Playground;
  let source: Source;
  let version: number;
  let turn = 0;
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
    version = Number((await ground.sql('show server_version_num')).flat()[0]);
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });
  const pipelineName = () => `${ground.database}_${++turn}`;
  const tables = (...names: string[]) => names.map((name) => ({ schema: 'public', name }));
  const published = async (publication: string) =>
    (
      await ground.sql(
        'select schemaname || $2 || tablename from pg_publication_tables where pubname = $1 order by 1',
        [publication, '.'],
      )
    ).flat();
  const slots = async () =>
    (
      await ground.sql('select slot_name from pg_replication_slots where database = current_database() order by 1')
    ).flat();

  /** First column of every row that the slot would stream as inserted. */
  async function streamed(start: Start, publication: string): Promise<Set<number>> {
    const client = await ground.session();
    const { rows } = await client.query<{ data: Buffer }>(
      "select data from pg_logical_slot_peek_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', $2)",
      [start.slot, publication],
    );
    const ids = new Set<number>();
    for (const { data } of rows) {
      // Insert: I, relation (4), N, columns (2), then kind and length and text of each.
      if (data.toString('latin1', 0, 1) !== 'I' || data.toString('latin1', 8, 9) !== 't') continue;
      ids.add(Number(data.toString('utf8', 13, 13 + data.readUInt32BE(9))));
    }
    return ids;
  }

  test('every commit is seen by reads after begin or is in the stream from P0', { timeout: 120_000 }, async () => {
    await ground.sql('create table gap (id bigint primary key generated always as identity, writer int)');
    const rounds = 12;
    let writing = true;
    const written = new Set<number>();
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      const client = await ground.session();
      if (writer % 2 === 0) await client.query('set synchronous_commit = on');
      while (writing) {
        const result = await client.query(
          'insert into gap (writer) select $1 from generate_series(1, 1 + $1) returning id',
          [writer],
        );
        for (const row of result.rows) written.add(Number(row.id));
        if (writer === 5) await delay(1);
      }
    });
    const pipeline = pipelineName();
    const table = await describeOne(source, 'public', 'gap');
    try {
      for (let round = 0; round < rounds; round++) {
        const start = await source.begin(pipeline, `${pipeline}_1`, tables('gap'), () => {}, signal);
        const read = new Set((await readAll(source, table)).map((row) => Number(row[0])));
        await delay(5);
        const known = [...written];
        const stream = await streamed(start, pipeline);
        expect(known.filter((id) => !read.has(id) && !stream.has(id))).toEqual([]);
        expect(stream.size).toBeGreaterThan(0);
        await source.end(`${pipeline}_1`);
      }
    } finally {
      writing = false;
      await Promise.all(writers);
      await source.remove(pipeline);
    }
  });

  test('begin waits for open and prepared transactions, names them, and then sees them', async () => {
    await ground.sql('create table awaited (id int primary key)');
    const writer = await ground.session();
    await writer.query('begin');
    await writer.query('insert into awaited values (1)');
    const pid = (await writer.query('select pg_backend_pid() as pid')).rows[0].pid;
    const other = await ground.session();
    await other.query("begin; insert into awaited values (2); prepare transaction 'gid one'");
    const reasons: string[] = [];
    const pipeline = pipelineName();
    let done = false;
    const begun = source
      .begin(pipeline, `${pipeline}_1`, tables('awaited'), (why) => reasons.push(why), signal)
      .finally(() => {
        done = true;
      });
    await expect.poll(() => reasons.join('\n'), { timeout: 10_000 }).toContain(`pid ${pid}`);
    expect(done).toBe(false);
    await writer.query('commit');
    await expect.poll(() => reasons.join('\n'), { timeout: 10_000 }).toContain("'gid one'");
    expect(done).toBe(false);
    await other.query("commit prepared 'gid one'");
    const start = await begun;
    const seen = await readAll(source, await describeOne(source, 'public', 'awaited'));
    expect(seen.map(([id]) => id).sort()).toEqual(['1', '2']);
    expect(start.slot).toBe(`${pipeline}_1`);
    await source.remove(pipeline);
  });

  test('an abort while waiting leaves neither slot nor session', async () => {
    await ground.sql('create table given_up (id int primary key)');
    const writer = await ground.session();
    await writer.query('begin; insert into given_up values (1)');
    await using other = await ground.open();
    const stop = new AbortController();
    const pipeline = pipelineName();
    const begun = other.begin(
      pipeline,
      `${pipeline}_1`,
      tables('given_up'),
      () => stop.abort(new Error('given up')),
      stop.signal,
    );
    await expect(begun).rejects.toThrow('given up');
    await expect
      .poll(async () =>
        (
          await ground.sql(
            "select count(*) from pg_stat_activity where query like '%pg_create_logical%' and state = 'active' and pid <> pg_backend_pid()",
          )
        ).flat(),
      )
      .toEqual(['0']);
    await writer.query('rollback');
    expect(await slots()).not.toContain(`${pipeline}_1`);
    await source.remove(pipeline);
  });

  test('the publication holds exactly the tables whose updates go on working', async () => {
    await ground.sql(`
      create table with_pk (id int primary key);
      create table without_key (id int);
      create table full_identity (id int); alter table full_identity replica identity full;
      create table by_index (id int not null, v int); create unique index by_index_id on by_index (id); alter table by_index replica identity using index by_index_id;
      create table nothing (id int primary key); alter table nothing replica identity nothing;
      create table deferred (id int primary key deferrable);
      create unlogged table unlogged_one (id int primary key);
      create table parent (id int primary key); create table child (x int) inherits (parent);
      create view watched as select 1 as id;
    `);
    // Partitioned tables have no keys of their own before 11.
    const partitioned = version >= 110000;
    if (partitioned)
      await ground.sql(`
        create table parted (id int, k int, primary key (id, k)) partition by list (k);
        create table parted_1 partition of parted for values in (1); create table parted_2 partition of parted for values in (2);
        create table loose (id int not null, k int) partition by list (k); create unique index on loose (id, k);
        create table loose_1 partition of loose for values in (1);
      `);
    const names = [
      'with_pk',
      'without_key',
      'full_identity',
      'by_index',
      'nothing',
      'deferred',
      'unlogged_one',
      'parent',
      'parted',
      'loose',
      'watched',
      'missing',
    ];
    const pipeline = pipelineName();
    await source.begin(pipeline, `${pipeline}_1`, tables('with_pk'), () => {}, signal);
    expect(await published(pipeline)).toEqual(['public.with_pk']);
    await source.begin(pipeline, `${pipeline}_2`, tables(...names), () => {}, signal);
    const plain = ['by_index', 'full_identity', 'parent', 'with_pk'];
    const parts = version >= 130000 ? ['parted'] : partitioned ? ['parted_1', 'parted_2'] : [];
    expect(await published(pipeline)).toEqual([...plain, ...parts].sort().map((name) => `public.${name}`));
    for (const name of names.slice(0, 8)) {
      await ground.sql(`insert into ${name} values (1)`);
      await ground.sql(`update ${name} set id = id + 10; delete from ${name}`);
    }
    await ground.sql('insert into child values (2, 2); update child set id = 3; delete from child');
    if (partitioned)
      for (const name of ['parted', 'loose'])
        await ground.sql(`insert into ${name} values (1, 1); update ${name} set id = id + 10; delete from ${name}`);
    expect(await slots()).toEqual([`${pipeline}_1`, `${pipeline}_2`]);
    await source.remove(pipeline);
    expect(await slots()).toEqual([]);
    expect((await ground.sql('select pubname from pg_publication where pubname = $1', [pipeline])).flat()).toEqual([]);
  });

  test('a pipeline whose name continues that of another keeps its slots', async () => {
    await ground.sql('create table shared_one (id int primary key)');
    const short = pipelineName();
    const long = `${short}_x`;
    await source.begin(short, `${short}_1`, tables('shared_one'), () => {}, signal);
    await source.begin(long, `${long}_1`, tables('shared_one'), () => {}, signal);
    await source.remove(short);
    expect(await slots()).toEqual([`${long}_1`]);
    await source.remove(long);
    expect(await slots()).toEqual([]);
  });

  test('a slot that an earlier attempt still reads is taken over', async () => {
    await ground.sql('create table taken (id int primary key)');
    const pipeline = pipelineName();
    const start = await source.begin(pipeline, `${pipeline}_1`, tables('taken'), () => {}, signal);
    const { host, port, user, password } = addressOf(server);
    const reader = new pg.Client({
      host,
      port,
      user,
      password,
      database: ground.database,
      replication: 'database',
    } as pg.ClientConfig);
    reader.on('error', () => {});
    await reader.connect();
    const reading = reader
      .query(`START_REPLICATION SLOT ${start.slot} LOGICAL 0/0 (proto_version '1', publication_names '${pipeline}')`)
      .catch(() => {});
    await expect
      .poll(async () =>
        (await ground.sql('select active from pg_replication_slots where slot_name = $1', [start.slot])).flat(),
      )
      .toEqual(['t']);
    const again = await source.begin(pipeline, `${pipeline}_1`, tables('taken'), () => {}, signal);
    expect(again.slot).toBe(start.slot);
    await reading;
    await reader.end().catch(() => {});
    await source.remove(pipeline);
  });

  test('a publication that does not carry all changes is refused with the command to run', async () => {
    await ground.sql('create table half (id int primary key)');
    const pipeline = pipelineName();
    await ground.sql(`create publication ${pipeline} for table half with (publish = 'insert')`);
    await expect(source.begin(pipeline, `${pipeline}_1`, tables('half'), () => {}, signal)).rejects.toMatchObject({
      name: 'Misconfigured',
      action: expect.stringContaining('alter publication'),
    });
    await source.remove(pipeline);
  });

  test('the identity is system identifier and timeline, the position an LSN', async () => {
    const [[system]] = (await ground.sql('select system_identifier from pg_control_system()')) as [[string]];
    await using plain = await ground.open({ capture: 'none' });
    const start = await plain.begin('unused', 'unused_1', tables('with_pk'), () => {}, signal);
    expect(start).toEqual({
      position: expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/),
      slot: '',
      identity: `${system}/1`,
    });
    expect(await slots()).toEqual([]);
    const [[later]] = (await ground.sql('select pg_current_wal_insert_lsn() >= $1::pg_lsn', [start.position])) as [
      [string],
    ];
    expect(later).toBe('t');
  });
});
