import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPostgres } from '../../scripts/servers/postgres.ts';
import type { Server } from '../../scripts/servers/server.ts';
import type { Position } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import { capture, changesOf, drain, lastPosition, type Scope, scopeOf } from './postgres-capture-fixture.ts';
import { type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne } from './source-suite.ts';

const run = promisify(execFile);

describe.each(postgresServers())('a position that is lost on %s', (server) => {
  let ground: Playground;
  let source: Source;
  let turn = 0;
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  const via = async () => Number((await ground.sql('show server_version_num'))[0]?.[0]) >= 130000;

  test.each<[what: string, spoil: (scope: Scope) => Promise<Partial<Parameters<Scope['request']>[0]>>, reason: RegExp]>(
    [
      [
        'the slot is gone',
        async ({ start }) => {
          await source.end(start.slot);
          return {};
        },
        /slot .* is gone/,
      ],
      [
        'the slot has been read by someone else',
        async ({ start }) => {
          await ground.sql('select pg_switch_wal()');
          await ground.sql('select * from pg_logical_slot_get_binary_changes($1, null, null, $2, $3, $4, $5)', [
            start.slot,
            'proto_version',
            '1',
            'publication_names',
            start.slot.replace(/_1$/, ''),
          ]);
          return {};
        },
        /moved on to/,
      ],
      [
        'the publication was made again',
        async ({ pipeline, tables }) => {
          const name = tables[0]?.table.ref.name;
          await ground.sql(`drop publication ${pipeline}`);
          await ground.sql(
            `create publication ${pipeline} for table ${name} ${(await via()) ? 'with (publish_via_partition_root = true)' : ''}`,
          );
          return {};
        },
        /publication .* made again/,
      ],
      [
        'the publication is gone',
        async ({ pipeline }) => {
          await ground.sql(`drop publication ${pipeline}`);
          return {};
        },
        /publication .* was dropped/,
      ],
      [
        'the publication leaves out deletes',
        async ({ pipeline }) => {
          await ground.sql(`alter publication ${pipeline} set (publish = 'insert, update')`);
          return {};
        },
        /no longer carries all changes/,
      ],
      [
        'another server',
        async ({ start }) => ({ identity: start.identity.replace(/^\d+/, '7') }),
        /another PostgreSQL server/,
      ],
      [
        'a position that the log has not reached',
        async () => ({ from: 'FFFF/0' as Position }),
        /restored to an earlier state/,
      ],
    ],
  )('%s', async (_, spoil, reason) => {
    const name = `lost${++turn}`;
    await ground.sql(`create table ${name} (id int primary key)`);
    const scope = await scopeOf(source, [await describeOne(source, 'public', name)]);
    await ground.sql(`insert into ${name} values (1)`);
    const more = await spoil(scope);
    await expect(drain(source, scope.request(more))).rejects.toMatchObject({
      name: 'PositionLost',
      message: expect.stringMatching(reason),
      action: expect.stringMatching(/full extract/),
    });
  });

  test('a slot that is dropped under a reader ends it, and the next one knows why', async () => {
    await ground.sql('create table dropped_slot (id int primary key)');
    const scope = await scopeOf(source, [await describeOne(source, 'public', 'dropped_slot')]);
    const reader = await capture(source, scope.request({ until: 'forever' }));
    await source.end(scope.start.slot);
    await expect(async () => {
      for await (const _ of reader.events());
    }).rejects.toThrow();
    await reader[Symbol.asyncDispose]();
    await expect(drain(source, scope.request())).rejects.toMatchObject({ name: 'PositionLost' });
    expect(await source.logState(scope.start.slot, scope.start.position)).toMatchObject({
      lost: expect.stringMatching(/gone/),
    });
  });
});

describe('a server of its own', () => {
  let server: Server;
  let ground: Playground;
  let source: Source;
  beforeAll(async () => {
    server = await startPostgres({
      major: 15,
      settings: { max_slot_wal_keep_size: '64MB', max_wal_size: '64MB', wal_keep_size: 0, synchronous_commit: 'on' },
    });
    ground = await playground(server);
    source = await ground.open();
  });
  afterAll(async () => {
    // The tests' own sessions died with the server.
    await source?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  test('the hours left shrink as the log grows, until the slot is lost; both say why', {
    timeout: 120_000,
  }, async () => {
    await ground.sql('create table kept (id int primary key, v text)');
    const scope = await scopeOf(source, [await describeOne(source, 'public', 'kept')]);
    const state = () => source.logState(scope.start.slot, scope.start.position);
    const first = await state();
    expect(first.lost).toBeNull();
    const write = () =>
      ground.sql(
        "insert into kept select i + (select count(*) from kept), repeat('x', 1000) from generate_series(1, 10000) i",
      );
    await write();
    await delay(1_100);
    const second = await state();
    expect(second.bytes).toBeGreaterThan((first.bytes ?? 0) + 9_000_000);
    expect(second.hoursLeft).toBeGreaterThan(0);
    await write();
    await write();
    const third = await state();
    expect(third.bytes).toBeGreaterThan((second.bytes ?? 0) + 18_000_000);
    expect(third.hoursLeft ?? 0).toBeLessThan(second.hoursLeft ?? 0);
    for (let times = 0; times < 8; times++) {
      await write();
      await ground.sql('checkpoint');
    }
    expect(await state()).toMatchObject({ hoursLeft: 0, lost: expect.stringMatching(/max_slot_wal_keep_size/) });
    await expect(drain(source, scope.request())).rejects.toMatchObject({
      name: 'PositionLost',
      message: expect.stringMatching(/dropped log/),
    });
    await source.end(scope.start.slot);
  });

  test('a server that crashes while it streams: what is committed comes once', { timeout: 120_000 }, async () => {
    const place = await playground(server);
    await place.sql('create table crashing (id int primary key)');
    let opened = await place.open();
    const scope = await scopeOf(opened, [await describeOne(opened, 'public', 'crashing')]);
    await place.sql('insert into crashing select generate_series(1, 50000)');
    await place.sql('insert into crashing select generate_series(50001, 50010)');
    const got: string[] = [];
    let from = scope.start.position;
    const reader = await capture(opened, scope.request({ until: 'forever' }));
    await expect(async () => {
      let open: string[] = [];
      let killed = false;
      for await (const piece of reader.events()) {
        for (const event of piece) {
          if ('key' in event) open.push(event.key);
          if (event.kind === 'commit') {
            got.push(...open);
            open = [];
            from = event.position;
            await reader.acknowledge(from);
          }
        }
        if (!killed) await server.kill9();
        killed = true;
      }
    }).rejects.toThrow();
    await reader[Symbol.asyncDispose]();
    await opened[Symbol.asyncDispose]();
    await server.restart();
    opened = await place.open();
    got.push(...changesOf(await drain(opened, scope.request({ from }))).map((change) => change.key));
    expect(got).toEqual(Array.from({ length: 50_010 }, (_, index) => String(index + 1)));
    await opened[Symbol.asyncDispose]();
  });
});

describe('a server that goes on from an earlier state', () => {
  test('the log goes on over a new timeline if it left the old one behind the position, else it is lost', {
    timeout: 180_000,
  }, async () => {
    const server = await startPostgres({ major: 15 });
    const saved = `${server.dataDir}.saved`;
    try {
      const ground = await playground(server);
      await ground.sql('create table forked (id int primary key)');
      let source = await ground.open();
      const scope = await scopeOf(source, [await describeOne(source, 'public', 'forked')]);
      await ground.sql('insert into forked values (1)');
      const first = await drain(source, scope.request());
      const early = lastPosition(first);
      await ground.sql('checkpoint');
      await source[Symbol.asyncDispose]();
      await server.kill9();
      await run('cp', ['-a', server.dataDir, saved]);
      await server.restart();
      source = await ground.open();
      const other = await ground.open();
      const client = await reconnected(ground);
      await client.query('insert into forked values (2)');
      const late = lastPosition(await drain(source, scope.request({ from: early })));
      await other[Symbol.asyncDispose]();
      await source[Symbol.asyncDispose]();
      await server.kill9();
      // The copy is what a restored server is; recovery ends on a new timeline.
      await rm(server.dataDir, { recursive: true });
      await run('cp', ['-a', saved, server.dataDir]);
      await run('sh', [
        '-c',
        `touch ${server.dataDir}/recovery.signal && echo "restore_command = '/bin/false'" >> ${server.dataDir}/postgresql.auto.conf && chown -R --reference=${server.dataDir}/PG_VERSION ${server.dataDir}/recovery.signal`,
      ]);
      await server.restart();
      const again = await reconnected(ground);
      await expect
        .poll(async () => (await again.query('select pg_is_in_recovery() as it')).rows[0].it, { timeout: 30_000 })
        .toBe(false);
      source = await ground.open();
      await again.query('insert into forked values (3)');
      await again.query('insert into forked select generate_series(1000, 20000)');
      await expect(drain(source, scope.request({ from: late }))).rejects.toMatchObject({ name: 'PositionLost' });
      const events = await drain(source, scope.request({ from: early }));
      expect(changesOf(events)[0]?.key).toBe('3');
      const forked = lastPosition(events);
      expect(forked).toMatch(/@2$/);
      await again.query('insert into forked values (4)');
      expect(changesOf(await drain(source, scope.request({ from: forked }))).map((change) => change.key)).toEqual([
        '4',
      ]);
      expect(source.reached(forked, early)).toBe(true);
      await source[Symbol.asyncDispose]();
    } finally {
      await server.stop();
      await rm(saved, { recursive: true, force: true });
    }
  });
});

/** The tests' own session ended with the server. */
async function reconnected(ground: Playground) {
  for (let attempt = 1; ; attempt++)
    try {
      return await ground.session();
    } catch (error) {
      if (attempt > 100) throw error;
      await delay(100);
    }
}
