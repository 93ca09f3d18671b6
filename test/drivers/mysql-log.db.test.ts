import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { startMysql } from '../../scripts/servers/mysql.ts';
import type { Server, ServerInfo } from '../../scripts/servers/server.ts';
import type { Finding, Params, TableRef } from '../../src/drivers/model.ts';
import { decodePosition } from '../../src/drivers/mysql/position.ts';
import { open } from '../../src/drivers/mysql/source.ts';
import type { Source } from '../../src/drivers/source.ts';
import { describeOne, type Playground, playground, readRows } from './mysql-fixture.ts';

const forever = () => new AbortController().signal;
const paramsOf = (server: ServerInfo, more: Params = {}): Params => ({
  host: server.host,
  port: String(server.port),
  uid: server.user,
  pwd: server.password,
  ...more,
});
const silent = () => {};
const codes = (findings: readonly Finding[], severity: Finding['severity']) =>
  findings.filter((finding) => finding.severity === severity).map((finding) => finding.code);

/** Writers that insert their own numbers one by one until stopped; `prepare` runs once in each session, `before` each insert. */
async function writers(
  server: ServerInfo,
  database: string,
  count: number,
  sql: { prepare(writer: number): string; before(writer: number, n: number): string },
): Promise<() => Promise<void>> {
  let stopped = false;
  const runs = Array.from({ length: count }, async (_, writer) => {
    const connection = await mysql.createConnection({
      host: server.host,
      port: server.port,
      user: server.user,
      password: server.password,
    });
    await connection.query(sql.prepare(writer));
    for (let n = 1; !stopped; n++) {
      const before = sql.before(writer, n);
      if (before !== '') await connection.query(before);
      await connection.query(`insert into \`${database}\`.written values (${writer}, ${n})`);
    }
    await connection.end();
  });
  return async () => {
    stopped = true;
    await Promise.all(runs);
  };
}

/** The largest number that each writer's rows reach in what the source reads now. */
async function readWriters(source: Source, database: string): Promise<Map<number, Set<number>>> {
  const { rows } = await readRows(source, await describeOne(source, database, 'written'));
  const seen = new Map<number, Set<number>>();
  for (const [writer, n] of rows.map((row) => row.map(Number))) {
    const numbers = seen.get(writer as number) ?? new Set();
    seen.set(writer as number, numbers.add(n as number));
  }
  return seen;
}

describe.each(['mysql9', 'mariadb'] as const)('positions on %s', (name) => {
  let ground: Playground;
  beforeAll(async () => {
    ground = await playground(name);
    await ground.sql('create table written (writer int, n int, primary key (writer, n))');
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  test('whatever a start position contains is seen by every later read, under concurrent writers', async () => {
    await using source = await ground.open();
    const server = inject(name);
    const uuid = (writer: number) => `00000000-0000-0000-0000-${String(Date.now()).slice(-11)}${writer}`;
    const uuids = [uuid(0), uuid(1), uuid(2), uuid(3)];
    const domains = [11, 12, 13, 14].map((domain) => domain + Math.floor(Math.random() * 1e6) * 10);
    // Each insert has a transaction number of our choosing, so that a set of transactions is a set of rows.
    const stop = await writers(server, ground.database, 4, {
      prepare: (writer) => (name === 'mariadb' ? `set gtid_domain_id = ${domains[writer]}` : 'do 0'),
      before: (writer, n) =>
        name === 'mariadb' ? `set gtid_seq_no = ${n}` : `set gtid_next = '${uuids[writer]}:${n}'`,
    });
    try {
      while ((await readWriters(source, ground.database)).size < 4) await sleep(20);
      for (let round = 0; round < 25; round++) {
        await sleep(Math.random() * 30);
        const start = await source.begin('p', 's', [{ schema: ground.database, name: 'written' }], silent, forever());
        const seen = await readWriters(source, ground.database);
        const gtid = decodePosition(start.position)?.gtid ?? '';
        for (let writer = 0; writer < 4; writer++) {
          const reached =
            name === 'mariadb'
              ? Number(new RegExp(`(?:^|,)${domains[writer]}-\\d+-(\\d+)`).exec(gtid)?.[1] ?? 0)
              : Number(new RegExp(`${uuids[writer]}:1(?:-(\\d+))?`).exec(gtid)?.[1] ?? 0);
          expect(reached).toBeGreaterThan(0);
          const missing = Array.from({ length: reached }, (_, i) => i + 1).filter((n) => !seen.get(writer)?.has(n));
          expect(missing).toEqual([]);
        }
      }
    } finally {
      await stop();
    }
  });

  test('the written end only grows, and lies behind what was read', async () => {
    await using source = await ground.open();
    const start = await source.begin('p', 's', [], silent, forever());
    const first = decodePosition(await source.written());
    await ground.sql('insert into written values (99, 1)');
    const second = decodePosition(await source.written());
    expect(first?.file).toBeTruthy();
    expect([second?.file === first?.file ? (second?.offset ?? 0) > (first?.offset ?? 0) : true]).toEqual([true]);
    expect(start.slot).toBe('');
    expect(start.identity).toMatch(name === 'mysql9' ? /^mysql:[0-9a-f-]{36}$/ : /^mariadb:\d+$/);
    expect((await source.begin('p', 's', [], silent, forever())).identity).toBe(start.identity);
    await source.end('s');
    await source.remove('p');
  });

  test('preflight is content with the server as it is; cascading children are named where they are not logged', async () => {
    await using source = await ground.open();
    await ground.sql('create table parent (id int primary key)');
    await ground.sql(
      'create table child (id int primary key, p int, foreign key (p) references parent (id) on delete cascade)',
    );
    await ground.sql('create table mine (id int primary key) engine=MyISAM');
    const refs: TableRef[] = ['parent', 'child', 'mine', 'written'].map((table) => ({
      schema: ground.database,
      name: table,
    }));
    const findings = await source.preflight(refs);
    expect(codes(findings, 'error')).toEqual([]);
    expect(findings.map((finding) => [finding.code, finding.table?.name])).toEqual([
      ...(name === 'mariadb' ? [['cascade', 'child']] : []),
      ['engine', 'mine'],
    ]);
  });

  test('missing grants are named one by one, and granting what is said helps', async () => {
    const user = `g${ground.database}`.slice(0, 20);
    await ground.sql("create user ? identified by 'pw-of-this-user'", [user]);
    await ground.sql('create table secret (id int primary key, b int)');
    const login = { uid: user, pwd: 'pw-of-this-user' };
    const refs: TableRef[] = [{ schema: ground.database, name: 'secret' }];
    try {
      await ground.sql(`grant select (id) on ${ground.database}.secret to ?`, [user]);
      await using limited = await ground.open(login);
      const first = await limited.preflight(refs);
      expect(codes(first, 'error')).toEqual(['grant', 'grant', 'grant']);
      expect(first[2]?.table).toEqual(refs[0]);
      expect(first[2]?.message).toContain('GRANT SELECT');
      const [partial] = await limited.describe([{ ref: refs[0] as TableRef, options: {} }]);
      // The catalog hides what a user may not read: only the preflight can tell.
      expect(partial && 'table' in partial && partial.table.columns.map((column) => column.name)).toEqual(['id']);
      await expect(limited.begin('p', 's', refs, silent, forever())).resolves.toBeTruthy();
      await expect(limited.written()).rejects.toMatchObject({ name: 'AccessDenied' });
      await ground.sql(
        `grant ${name === 'mariadb' ? 'binlog monitor' : 'replication client'}, replication slave on *.* to ?`,
        [user],
      );
      await ground.sql(`grant select on ${ground.database}.secret to ?`, [user]);
      await using full = await ground.open(login);
      expect(codes(await full.preflight(refs), 'error')).toEqual([]);
    } finally {
      await ground.sql('drop user ?', [user]);
    }
  });

  test('a grant by role counts', async () => {
    const user = `r${ground.database}`.slice(0, 20);
    const role = `o${ground.database}`.slice(0, 20);
    await ground.sql("create user ? identified by 'pw-of-this-user'", [user]);
    await ground.sql('create role ?', [role]);
    try {
      await ground.sql(
        `grant ${name === 'mariadb' ? 'binlog monitor' : 'replication client'}, replication slave on *.* to ?`,
        [role],
      );
      await ground.sql(`grant select on ${ground.database}.* to ?`, [role]);
      await ground.sql('grant ? to ?', [role, user]);
      await ground.sql(name === 'mariadb' ? 'set default role ? for ?' : 'set default role ? to ?', [role, user]);
      await using source = await ground.open({ uid: user, pwd: 'pw-of-this-user' });
      expect(codes(await source.preflight([{ schema: ground.database, name: 'written' }]), 'error')).toEqual([]);
    } finally {
      await ground.sql('drop user ?', [user]);
      await ground.sql('drop role ?', [role]);
    }
  });
});

test('a server without a log is refused for capture and fine without it', async () => {
  const params = paramsOf(inject('destination'));
  await using source = await open(params, forever());
  const findings = await source.preflight([]);
  expect(codes(findings, 'error')).toEqual(['log_bin']);
  expect(findings[0]?.message).toMatch(/log_bin.*capture/s);
  await expect(source.begin('p', 's', [], silent, forever())).rejects.toMatchObject({ name: 'Misconfigured' });
  await expect(source.written()).rejects.toMatchObject({ name: 'Misconfigured' });
  await using full = await open({ ...params, capture: 'none' }, forever());
  expect(await full.preflight([])).toEqual([]);
  expect(await full.begin('p', 's', [], silent, forever())).toMatchObject({ position: '', slot: '' });
  expect(await full.written()).toBe('');
});

describe('a MySQL without GTIDs, set up badly', () => {
  let server: Server;
  let admin: mysql.Connection;
  const written: TableRef[] = [{ schema: 'shop', name: 'written' }];
  beforeAll(async () => {
    server = await startMysql({
      flavour: 'mysql9',
      settings: {
        'gtid-mode': 'OFF',
        'enforce-gtid-consistency': 'OFF',
        'binlog-row-image': 'MINIMAL',
        'binlog-row-metadata': 'MINIMAL',
        'binlog-row-value-options': 'PARTIAL_JSON',
        'binlog-expire-logs-seconds': 7200,
        'binlog-ignore-db': 'hidden',
        'max-allowed-packet': '4M',
        'innodb-buffer-pool-size': '64M',
      },
    });
    admin = await mysql.createConnection({
      host: server.host,
      port: server.port,
      user: server.user,
      password: server.password,
    });
    await admin.query('create database shop');
    await admin.query('create table shop.written (writer int, n int, primary key (writer, n))');
    await admin.query('create database hidden');
    await admin.query('create table hidden.t (id int primary key)');
  }, 180_000);
  afterAll(async () => {
    await admin.end();
    await server.stop();
  });

  test('preflight names each setting with what to run', async () => {
    await using source = await open(paramsOf(server), forever());
    const findings = await source.preflight([...written, { schema: 'hidden', name: 't' }]);
    expect(codes(findings, 'error')).toEqual(['binlog_row_image', 'binlog_row_value_options', 'binlog_filter']);
    expect(codes(findings, 'warning')).toEqual(['binlog_row_metadata', 'gtid_mode', 'retention']);
    expect(findings.find((finding) => finding.code === 'binlog_filter')?.table).toEqual({
      schema: 'hidden',
      name: 't',
    });
    for (const code of ['binlog_row_image', 'binlog_row_value_options', 'binlog_row_metadata'])
      expect(findings.find((finding) => finding.code === code)?.message).toContain(`SET GLOBAL ${code}`);
  });

  test.each(['with RELOAD', 'without RELOAD'])(
    'a start under a read lock misses no row, under concurrent writers, %s',
    async (rights) => {
      const login = { uid: 'locker', pwd: 'pw-of-this-user' };
      if (rights === 'without RELOAD') {
        await admin.query("create user locker identified by 'pw-of-this-user'");
        await admin.query('grant replication client, replication slave on *.* to locker');
        await admin.query('grant select, lock tables on shop.* to locker');
      }
      await using source = await open(paramsOf(server, rights === 'with RELOAD' ? {} : login), forever());
      expect(codes(await source.preflight(written), 'error')).not.toContain('grant');
      await admin.query('truncate shop.written');
      const stop = await writers(server, 'shop', 4, {
        prepare: () => 'set binlog_rows_query_log_events = 1',
        before: () => '',
      });
      const starts: { file: string; offset: number; seen: Map<number, Set<number>> }[] = [];
      try {
        for (let round = 0; round < 15; round++) {
          await sleep(Math.random() * 30);
          const { position } = await source.begin('p', 's', written, silent, forever());
          const { file = '', offset = 0 } = decodePosition(position) ?? {};
          starts.push({ file, offset, seen: await readWriters(source, 'shop') });
        }
      } finally {
        await stop();
      }
      // The statements beside the row events tell which insert each place of the log belongs to.
      const [events] = (await admin.query(`show binlog events in '${starts[0]?.file}'`)) as unknown as [
        { Event_type: string; Info: string; End_log_pos: number }[],
      ];
      const inserts: { writer: number; n: number; end: number }[] = [];
      let open_: { writer: number; n: number } | undefined;
      for (const event of events) {
        const [, writer, n] = /insert into .*written.* values \((\d+), (\d+)\)/.exec(event.Info) ?? [];
        if (n !== undefined) open_ = { writer: Number(writer), n: Number(n) };
        if (event.Event_type === 'Xid' && open_) {
          inserts.push({ ...open_, end: Number(event.End_log_pos) });
          open_ = undefined;
        }
      }
      expect(inserts.length).toBeGreaterThan(50);
      for (const { offset, seen } of starts) {
        const before = inserts.filter((insert) => insert.end <= offset);
        const since = inserts.filter((insert) => insert.end > offset);
        const logged = new Map(inserts.map((insert) => [`${insert.writer}/${insert.n}`, insert]));
        // Rows of the run before this one are gone with the TRUNCATE; what the log holds up to the start is there for the reader.
        const missing = before.filter(
          ({ writer, n, end }) => !seen.get(writer)?.has(n) && logged.get(`${writer}/${n}`)?.end === end,
        );
        const lastTruncate = Math.max(
          0,
          ...events.filter((event) => /truncate/i.test(event.Info)).map((event) => Number(event.End_log_pos)),
        );
        expect(missing.filter((insert) => insert.end > lastTruncate)).toEqual([]);
        expect(since.length + before.length).toBe(inserts.length);
      }
      expect(starts.some(({ offset }) => inserts.some((insert) => insert.end > offset))).toBe(true);
    },
  );

  test('a lock that has to wait says for whom, and an abort gives it up', async () => {
    await using source = await open(paramsOf(server), forever());
    const blocker = await mysql.createConnection({
      host: server.host,
      port: server.port,
      user: server.user,
      password: server.password,
    });
    await blocker.query('lock tables shop.written write');
    const told: string[] = [];
    const stop = new AbortController();
    const begun = source.begin('p', 's', written, (why) => told.push(why), stop.signal);
    const ended = expect(begun).rejects.toThrow('given up');
    await sleep(2_600);
    stop.abort(new Error('given up'));
    await ended;
    await blocker.end();
    expect(told.length).toBeGreaterThan(0);
    expect(told[0]).toMatch(/read lock/);
    await expect(source.begin('p', 's', written, silent, forever())).resolves.toBeTruthy();
  });

  test('a JSON value that the server can no longer send is an error, not an empty text', async () => {
    await admin.query('create table shop.json (id int primary key, j json)');
    await admin.query("insert into shop.json values (1, json_array(repeat('z', 3000000)))");
    await admin.query('set global max_allowed_packet = 1048576');
    try {
      await using source = await open(paramsOf(server), forever());
      const table = await describeOne(source, 'shop', 'json');
      await expect(readRows(source, table)).rejects.toMatchObject({
        name: 'UnsupportedValue',
        message: expect.stringContaining('max_allowed_packet'),
      });
    } finally {
      await admin.query('set global max_allowed_packet = 4194304');
    }
    await using source = await open(paramsOf(server), forever());
    expect((await readRows(source, await describeOne(source, 'shop', 'json'))).rows[0]?.[1]?.length).toBe(3_000_004);
  });
});
