import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPostgres } from '../../scripts/servers/postgres.ts';
import type { Server } from '../../scripts/servers/server.ts';
import type { Finding } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import { changesOf, drain, scopeOf } from './postgres-capture-fixture.ts';
import { authority, serverCertificate, serverKey } from './postgres-certificates.ts';
import { type Playground, playground } from './postgres-fixture.ts';
import { describeOne, readAll } from './source-suite.ts';

const signal = new AbortController().signal;
const errors = (findings: readonly Finding[]) => findings.filter((finding) => finding.severity === 'error');

describe('a server that is not set up for following changes', () => {
  let server: Server;
  let ground: Playground;
  beforeAll(async () => {
    server = await startPostgres({ major: 15, settings: { wal_level: 'replica', max_slot_wal_keep_size: '1GB' } });
    ground = await playground(server);
    await ground.sql('create table t (id int primary key); insert into t values (1)');
  });
  afterAll(async () => {
    await ground?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  test('preflight says what to run, and the way to do without', async () => {
    await using source = await ground.open();
    const findings = await source.preflight([]);
    expect(errors(findings)).toEqual([
      {
        severity: 'error',
        code: 'wal_level',
        message: expect.stringMatching(/alter system set wal_level = logical.*`capture` to none/),
      },
    ]);
    expect(findings).toContainEqual({
      severity: 'warning',
      code: 'retention',
      message: expect.stringContaining('1GB'),
    });
    await expect(source.begin('p', 'p_1', [{ schema: 'public', name: 't' }], () => {}, signal)).rejects.toMatchObject({
      name: 'Misconfigured',
      action: expect.stringContaining('wal_level'),
    });
    await source.remove('p');
  });

  test('with capture none a full extract works', async () => {
    await using source = await ground.open({ capture: 'none' });
    expect(errors(await source.preflight([{ schema: 'public', name: 't' }]))).toEqual([]);
    const start = await source.begin('p', 'p_1', [{ schema: 'public', name: 't' }], () => {}, signal);
    expect(start.slot).toBe('');
    expect(await readAll(source, await describeOne(source, 'public', 't'))).toEqual([['1']]);
    await source.end('p_1');
    await source.remove('p');
  });

  test('an unknown word for an option is refused', async () => {
    await expect(ground.open({ capture: 'maybe' })).rejects.toMatchObject({ name: 'Misconfigured' });
    await expect(ground.open({ ssl_mode: 'maybe' })).rejects.toMatchObject({ name: 'Misconfigured' });
  });

  test('a server without TLS: prefer connects, require does not', async () => {
    await using source = await ground.open({ ssl_mode: 'prefer' });
    expect(source.server.product).toBe('PostgreSQL');
    await expect(ground.open({ ssl_mode: 'require' })).rejects.toMatchObject({
      name: 'AccessDenied',
      action: expect.stringContaining('ssl_mode'),
    });
  });

  test('a login that fails leaves no connection behind', async () => {
    let connections = 0;
    const front = createServer((client) => {
      const back = connect(server.port, server.host);
      connections++;
      client.once('close', () => connections--);
      back.once('close', () => client.destroy());
      for (const one of [client, back]) one.on('error', () => {});
      client.pipe(back).pipe(client);
    });
    await new Promise<void>((done) => front.listen(0, '127.0.0.1', done));
    const { port } = front.address() as AddressInfo;
    // PostgreSQL gives a client that says nothing more a minute.
    for (const wrong of [{ pwd: '' }, { pwd: 'wrong' }, { db: 'no_such_db' }, { ssl_mode: 'require' }]) {
      await expect(ground.open({ port: String(port), ...wrong })).rejects.toThrow();
      await expect.poll(() => connections, { timeout: 20_000 }).toBe(0);
    }
    front.close();
  });

  test('wrong addresses and names: a clear message each, tried again where that helps', async () => {
    await expect(ground.open({ db: 'no_such_db' })).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('no_such_db'),
    });
    await expect(ground.open({ uid: 'no_such_user' })).rejects.toMatchObject({ name: 'AccessDenied' });
    await expect(ground.open({ pwd: '' })).rejects.toMatchObject({ name: 'AccessDenied' });
    await expect(ground.open({ port: '1' })).rejects.toMatchObject({
      name: 'Error',
      message: expect.stringContaining("Can't reach PostgreSQL at 127.0.0.1:1"),
    });
    await expect(ground.open({ host: 'no-such-host.invalid' })).rejects.toMatchObject({
      name: 'Error',
      message: expect.stringContaining("Can't reach"),
    });
  });
});

describe('a server with TLS', () => {
  let folder: string;
  let server: Server;
  let ground: Playground;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pg-tls-'));
    await writeFile(join(folder, 'ca.pem'), authority);
    server = await startPostgres({ major: 18 });
    await writeFile(join(server.dataDir, 'server.crt'), serverCertificate);
    await writeFile(join(server.dataDir, 'server.key'), serverKey);
    // PostgreSQL takes a key of root's that its own group may read, or one of its own; the folder's owner is not known here.
    const { uid, gid } = await import('node:fs').then((fs) => fs.statSync(server.dataDir));
    await import('node:fs').then((fs) => fs.chownSync(join(server.dataDir, 'server.key'), uid, gid));
    await chmod(join(server.dataDir, 'server.key'), 0o600);
    ground = await playground(server);
    await ground.sql('alter system set ssl = on');
    await ground.sql('select pg_reload_conf()');
    await delay(300);
  });
  afterAll(async () => {
    await ground?.[Symbol.asyncDispose]();
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const encrypted = async () =>
    (
      await ground.sql(
        "select s.ssl from pg_stat_ssl s join pg_stat_activity a using (pid) where a.datname = current_database() and application_name = 'flow-ingest'",
      )
    ).flat();

  test.each([
    ['prefer', {}, true],
    ['require', {}, true],
    ['disable', {}, false],
    ['verify-ca', { ssl_ca: authority }, true],
    ['verify-full', { ssl_ca: authority, host: 'localhost' }, true],
  ])('%s connects', async (ssl_mode, more, tls) => {
    await using source = await ground.open({ ssl_mode, ...more });
    await ground.sql(
      'drop table if exists wide; create table wide as select i as id, repeat(md5(i::text), 30) as pad from generate_series(1, 5000) i',
    );
    expect(await readAll(source, await describeOne(source, 'public', 'wide'))).toHaveLength(5000);
    expect(new Set(await encrypted())).toEqual(new Set([tls ? 't' : 'f']));
  });

  test('changes are read encrypted, every one of them', async () => {
    await ground.sql('create table streamed (id int primary key, v text)');
    await using source = await ground.open({ ssl_mode: 'verify-full', ssl_ca: authority, host: 'localhost' });
    const scope = await scopeOf(source, [await describeOne(source, 'public', 'streamed')]);
    await ground.sql("insert into streamed select i, repeat('x', i % 3000) from generate_series(1, 20000) i");
    const events = await drain(source, scope.request());
    expect(changesOf(events).map((change) => [Number(change.key), change.row?.[1]?.length])).toEqual(
      Array.from({ length: 20_000 }, (_, index) => [index + 1, (index + 1) % 3000]),
    );
    await source.remove(scope.pipeline);
  });

  test('ssl_ca may be the path of a file', async () => {
    await using source = await ground.open({ ssl_mode: 'verify-ca', ssl_ca: join(folder, 'ca.pem') });
    expect(source.server.product).toBe('PostgreSQL');
    await expect(ground.open({ ssl_mode: 'verify-ca', ssl_ca: join(folder, 'none.pem') })).rejects.toMatchObject({
      name: 'Misconfigured',
    });
  });

  test.each([
    ['verify-ca without its authority', { ssl_mode: 'verify-ca' }],
    ['verify-full under another name', { ssl_mode: 'verify-full', ssl_ca: authority, host: '127.0.0.1' }],
  ])('%s is refused', async (_, more) => {
    await expect(ground.open(more)).rejects.toMatchObject({
      name: 'AccessDenied',
      message: expect.stringContaining('TLS'),
    });
  });
});

describe('a commit that is in the log before it can be seen', () => {
  let server: Server;
  let ground: Playground;
  let source: Source;
  beforeAll(async () => {
    server = await startPostgres({ major: 15, settings: { synchronous_commit: 'local' } });
    ground = await playground(server);
    source = await ground.open();
  });
  afterAll(async () => {
    await ground.sql('alter system reset synchronous_standby_names');
    await ground.sql('select pg_reload_conf()');
    await source?.[Symbol.asyncDispose]();
    await ground?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  // A commit that waits for a synchronous standby has written its record but is invisible. Begun while the slot was being built, and
  // committed before the slot was ready, it is not in the slot's stream either: only the wait for visibility keeps it.
  test('is waited for', async () => {
    await ground.sql('create table late (id int primary key)');
    const [first, second, third] = [await ground.session(), await ground.session(), await ground.session()];
    await first.query('begin; insert into late values (1)');
    const reasons: string[] = [];
    let done = false;
    const begun = source
      .begin('p', 'p_1', [{ schema: 'public', name: 'late' }], (why) => reasons.push(why), signal)
      .finally(() => {
        done = true;
      });
    await expect.poll(() => reasons.length, { timeout: 10_000 }).toBeGreaterThan(0);
    await ground.sql("alter system set synchronous_standby_names = 'nobody'");
    await ground.sql('select pg_reload_conf()');
    await second.query('begin; insert into late values (2)');
    await first.query('commit');
    await delay(1500);
    await third.query('set synchronous_commit = on');
    const pid = (await third.query('select pg_backend_pid() as pid')).rows[0].pid;
    const hanging = third.query('insert into late values (3)');
    await expect
      .poll(async () =>
        (await ground.sql('select wait_event from pg_stat_activity where pid = $1', [String(pid)])).flat(),
      )
      .toEqual(['SyncRep']);
    await second.query('commit');
    await expect
      .poll(
        async () =>
          (
            await ground.sql(
              "select count(*) from pg_replication_slots where slot_name = 'p_1' and confirmed_flush_lsn is not null",
            )
          ).flat(),
        { timeout: 10_000 },
      )
      .toEqual(['1']);
    await expect.poll(() => reasons.join('\n'), { timeout: 10_000 }).toMatch(new RegExp(`Reading waits .*pid ${pid}`));
    expect(done).toBe(false);
    await ground.sql('alter system reset synchronous_standby_names');
    await ground.sql('select pg_reload_conf()');
    await hanging;
    const start = await begun;
    const rows = await readAll(source, await describeOne(source, 'public', 'late'));
    expect(rows.map(([id]) => id).sort()).toEqual(['1', '2', '3']);
    const streamed = await ground.sql(
      "select count(*) from pg_logical_slot_peek_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', 'p') where substr(data, 1, 1) = 'I'",
      [start.slot],
    );
    // The case is only proven when the stream does not hold the commit.
    expect(streamed.flat()).toEqual(['0']);
    await source.remove('p');
  });
});
