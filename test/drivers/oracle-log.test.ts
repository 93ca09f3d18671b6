import { afterEach, describe, expect, test, vi } from 'vitest';
import { sourceCodes } from '../../src/codes.ts';
import type { Position } from '../../src/drivers/model.ts';
import { coverage, listLogs } from '../../src/drivers/oracle/log-files.ts';
import type { Session } from '../../src/drivers/oracle/session.ts';
import { waits } from '../../src/drivers/oracle/written-end.ts';
import { servers } from '../fakes/oracle/client.ts';
import { type FakeOracle, type FakeSettings, startOracle } from '../fakes/oracle/server.ts';
import { begin, follow, type Ground, isRow, oracleGround, transaction } from './oracle-fixture.ts';

vi.mock('oracledb', async () => ({ default: (await import('../fakes/oracle/client.ts')).fakeOracledb }));

const settleMs = waits.settleMs;
const stack: AsyncDisposable[] = [];
afterEach(async () => {
  waits.settleMs = settleMs;
  for (const one of stack.splice(0)) await one[Symbol.asyncDispose]();
});

async function made(settings: Partial<FakeSettings>, type: string, more: Record<string, string> = {}): Promise<Ground> {
  const ground = await oracleGround(settings, { type, ...more });
  stack.push(ground);
  return ground;
}

/** One table that is followed from now on. */
async function followed(settings: Partial<FakeSettings>, type: string) {
  const { server, source, table: describe } = await made(settings, type);
  server.sql('create table t (id int primary key)');
  const table = await describe('t');
  const { position, identity } = await begin(source);
  const keys = async () => keysOf((await follow(source, position, [table], { identity })).events);
  return { server, source, table, position, keys };
}

/** A database that reads the logs of another one, with copies of its archived files. */
function miningFor(server: FakeOracle, service: string): FakeOracle {
  const mining = startOracle({ minesFor: server, copies: new Set(), dbid: 99 });
  servers.set(service, mining);
  stack.push({
    [Symbol.asyncDispose]: async () => {
      servers.delete(service);
      mining.close();
    },
  });
  return mining;
}

const keysOf = (events: Awaited<ReturnType<typeof follow>>['events']): string[] =>
  events.filter(isRow).map((event) => event.key);

describe('what each code of the Log Miner reads', () => {
  const codes = sourceCodes.filter(({ driver, capture }) => driver === 'oracle' && capture === 'log');
  test('there are eleven', () => expect(codes).toHaveLength(11));

  test.each(codes)('$code: $product, $extract', async ({ code, product, extract }) => {
    const pluggable = /Pluggable/.test(product);
    const [remote, archivedOnly] = [/Remote/.test(extract), /^(?:Remote )?Log Miner$/.test(extract)];
    const ground = await made(
      pluggable ? { container: 'SHOP', containerId: 3 } : {},
      code,
      remote ? { mining_host: 'm', mining_db: 'MINES', mining_folder: '/copies/' } : {},
    );
    const { server, source } = ground;
    const mining = remote ? miningFor(server, 'MINES') : server;
    const threads = /RAC/.test(product) ? [1, 2] : [1];
    if (threads.length > 1) server.openThread(2);
    if (remote) {
      server.control.file(1).dictionary = true;
      server.switchLog();
    }
    server.sql('create table t (id int primary key)');
    const table = await ground.table('t');
    expect((await source.preflight([table.ref])).filter(({ severity }) => severity === 'error')).toEqual([]);
    const { position } = await begin(source);
    server.sql('insert into t values (1)');
    for (const thread of threads) {
      const one = transaction(server, `0A00FF0${thread}`, { thread });
      one.start();
      one.dml('t', 1, `insert into "main"."t"("id") values ('${10 + thread}');`, 'R1');
      one.commit();
    }
    const now = await follow(source, position, [table]);
    const all = ['1', ...threads.map((thread) => `${10 + thread}`)];
    expect(keysOf(now.events)).toEqual(archivedOnly ? [] : all);
    for (const thread of threads) server.switchLog(thread);
    mining.settings.copies?.add('/copies/1_1.arc').add('/copies/1_2.arc');
    const later = await follow(source, now.position, [table]);
    expect([...keysOf(now.events), ...keysOf(later.events)]).toEqual(all);
    const starts = mining.statements.filter((sql) => /start_logmnr/.test(sql)).join('\n');
    expect(starts).toMatch(remote ? /dict_from_redo_logs.*ddl_dict_tracking/ : /dict_from_online_catalog/);
    expect(starts).not.toMatch(/continuous_mine/);
    const [contents = ''] = mining.statements.filter((sql) => /from v\$logmnr_contents where scn/.test(sql));
    expect(contents.includes("src_con_name = 'SHOP'")).toBe(pluggable);
    expect(server.statements.some((sql) => /\/redo\//.test(sql))).toBe(false);
  });
});

describe('a mining database', () => {
  test('waits for copies of the archived logs, and says where they belong', async () => {
    const ground = await made({}, 'rds.oracle11lmrm', { mining_host: 'm', mining_db: 'FAR', mining_folder: '/copies' });
    const { server, source } = ground;
    const mining = miningFor(server, 'FAR');
    server.sql('create table t (id int primary key)');
    const table = await ground.table('t');
    await expect(begin(source)).rejects.toMatchObject({
      name: 'Misconfigured',
      action: expect.stringContaining('DBMS_LOGMNR_D.BUILD'),
    });
    expect((await source.preflight([])).filter(({ severity }) => severity === 'error')).toMatchObject([
      { code: 'dictionary', message: expect.stringContaining('DBMS_LOGMNR_D.BUILD') },
    ]);
    server.control.file(1).dictionary = true;
    server.switchLog();
    // A transaction that is older than the dictionary could not be read.
    server.query('insert into cat.gv$transaction values (5, 10, 15, 1)', []);
    await expect(begin(source)).rejects.toMatchObject({ name: 'Misconfigured' });
    server.query('delete from cat.gv$transaction', []);
    const { position } = await begin(source);
    server.sql('insert into t values (1)');
    server.switchLog();
    await expect(follow(source, position, [table])).rejects.toThrow(
      /1_1\.arc.*Copy the archived logs to `mining_folder`/,
    );
    await expect(follow(source, position, [table])).rejects.not.toMatchObject({ name: 'PositionLost' });
    mining.settings.copies?.add('/copies/1_1.arc').add('/copies/1_2.arc');
    expect(keysOf((await follow(source, position, [table])).events)).toEqual(['1']);
  });

  test('of another database is refused where the dictionary of today would be read', async () => {
    const ground = await made({}, 'rds.oracle11lfm', { mining_host: 'm', mining_db: 'OTHER' });
    miningFor(ground.server, 'OTHER');
    ground.server.sql('create table t (id int primary key)');
    const { position } = await begin(ground.source);
    await expect(follow(ground.source, position, [await ground.table('t')])).rejects.toMatchObject({
      name: 'Misconfigured',
      action: expect.stringContaining('rds.oracle11lmrm'),
    });
  });
});

describe('how far the log is read', () => {
  test('no further than the slowest thread has written: what it writes later has its place', async () => {
    waits.settleMs = 3_600_000;
    const ground = await made({}, 'rds.oracle11lmcrac');
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    server.openThread(2);
    const table = await ground.table('t');
    const { position } = await begin(source);
    const slow = server.control.threads.get(2);
    const [late, early] = [transaction(server, '0A00FF02', { thread: 2 }), transaction(server, '0A00FF01')];
    const held = server.nextScn();
    if (slow) slow.lastChange = held;
    early.start();
    early.dml('t', 1, `insert into "main"."t"("id") values ('1');`, 'R1');
    const scns = [server.nextScn(), server.nextScn(), server.nextScn()];
    early.commit();
    const looks = [
      () => undefined,
      () => undefined,
      () => {
        // Its buffer held these since before the other thread's commit.
        for (const [i, row] of [{ operation: 6 }, {}, { operation: 7 }].entries())
          if (i === 1) late.dml('t', 1, `insert into "main"."t"("id") values ('2');`, 'R2', { scn: scns[i] as bigint });
          else server.redo({ ...row, xid: '0A00FF0200000000', thread: 2, scn: scns[i] as bigint });
        if (slow) slow.lastChange = null;
        return undefined;
      },
    ];
    for (const work of looks) server.answer(/to_char\(min\(t\.last_redo_change#\)\)/, work);
    expect(keysOf((await follow(source, position, [table])).events)).toEqual(['2', '1']);
    expect(server.answers).toEqual([]);
  });

  test('past a thread that writes nothing, when its buffer must have been written', async () => {
    waits.settleMs = 30;
    const ground = await made({}, 'rds.oracle11lmcrac');
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    server.openThread(2);
    const idle = server.control.threads.get(2);
    if (idle) idle.lastChange = server.nextScn();
    const table = await ground.table('t');
    const { position } = await begin(source);
    server.sql('insert into t values (1)');
    expect(keysOf((await follow(source, position, [table])).events)).toEqual(['1']);
  });

  test('a file that is written over while it is read ends the reader, and its archived copy is read next', async () => {
    const { server, keys } = await followed({}, 'rds.oracle11lfm');
    server.sql('insert into t values (1)');
    server.answer(/from v\$logmnr_contents where scn/, () => {
      server.switchLog();
      server.control.file(1).reused = true;
      return undefined;
    });
    await expect(keys()).rejects.toThrow(/sequence 1 of thread 1 was written over/);
    expect(await keys()).toEqual(['1']);
  });

  test('nothing is given out of what was read after a file was written over', async () => {
    const { server, source, table, position } = await followed({}, 'rds.oracle11lmcrac');
    server.openThread(2);
    const [cut, whole] = [transaction(server, '0A00FF01'), transaction(server, '0A00FF02', { thread: 2 })];
    cut.start();
    for (let i = 0; i < 2_100; i++) cut.dml('t', 1, `insert into "main"."t"("id") values ('${i}');`, `R${i}`);
    cut.commit();
    whole.start();
    whole.dml('t', 1, `insert into "main"."t"("id") values ('9999');`, 'S1');
    whole.commit();
    server.answer(/^fetch 2000 of select to_char\(scn\)/, () => {
      server.control.file(1).reused = true;
      return undefined;
    });
    const capture = await source.capture?.(
      {
        ...{ pipeline: 'p', name: 'p', slot: '', identity: '', from: position },
        ...{ tables: [{ table, skip: [] }], until: 'written' as const },
      },
      new AbortController().signal,
    );
    const events: unknown[] = [];
    const read = async () => {
      for await (const piece of capture?.events() ?? []) events.push(...piece);
    };
    await expect(read()).rejects.toThrow(/written over/);
    await capture?.[Symbol.asyncDispose]();
    expect(events).toEqual([]);
  });

  test('LogMiner missing a file although all are listed is no loss', async () => {
    const { server, keys } = await followed({}, 'rds.oracle11lfm');
    server.sql('insert into t values (1)');
    for (let i = 0; i < 6; i++) server.fail(/start_logmnr/, 'ORA-01291: missing log file');
    await expect(keys()).rejects.toMatchObject({ name: 'Error', code: 'ORA-01291' });
    expect(await keys()).toEqual(['1']);
  });

  test('archived files out of order: the reader waits for the one that is on its way', async () => {
    const { server, keys } = await followed({}, 'rds.oracle11lm');
    server.sql('insert into t values (1)');
    server.control.switchLog(1, false);
    server.sql('insert into t values (2)');
    server.switchLog();
    expect(await keys()).toEqual([]);
    server.control.file(1).archived = true;
    expect(await keys()).toEqual(['1', '2']);
  });

  test('the last file of an instance that has stopped is read although nobody archives it', async () => {
    const ground = await made({}, 'rds.oracle11lmrac');
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    server.openThread(2);
    const table = await ground.table('t');
    const { position } = await begin(source);
    const one = transaction(server, '0A00FF02', { thread: 2 });
    one.start();
    one.dml('t', 1, `insert into "main"."t"("id") values ('2');`, 'R1');
    one.commit();
    server.control.closeThread(2);
    server.switchLog(1);
    expect(keysOf((await follow(source, position, [table])).events)).toEqual(['2']);
  });

  test('a gap is told from a thread that was closed, for any number of threads', async () => {
    const file = (thread: number, sequence: number, first: bigint, next: bigint) => ({
      ...{ name: `${thread}_${sequence}`, thread, sequence, first, next, dictionary: null, online: false },
    });
    const open = (thread: number) => ({ thread, open: true, lastSequence: 9, lastChange: 900n });
    const files = [file(1, 5, 100n, 300n), file(2, 8, 200n, 300n), file(3, 4, 210n, 300n)];
    expect(coverage(files, [1, 2, 3].map(open), 150n)).toEqual({ end: 149n, missing: { thread: 2, sequence: 7 } });
    expect(coverage(files, [1, 2, 3].map(open), 150n, new Set(['2 7', '3 3'])).end).toBe(299n);
    // Closed, but its last file is not there.
    const closed = { thread: 4, open: false, lastSequence: 2, lastChange: 180n };
    expect(coverage(files.slice(0, 1), [open(1), closed], 150n).missing).toEqual({ thread: 4, sequence: 2 });
    expect(coverage(files.slice(0, 1), [open(1), { ...closed, lastChange: 140n }], 150n).end).toBe(299n);
    const rows = new Map([
      [/from v\$archived_log a join/, files.map((one) => [one.name, one.thread, one.sequence, one.first, one.next])],
      [/from v\$log l/, []],
      [/from v\$thread/, [1, 2, 3].map((thread) => [thread, 'OPEN', 9, '900'])],
      [/from v\$log_history/, [['120']]],
    ] as [RegExp, unknown[][]][]);
    const session = {
      query: async (sql: string) => [...rows].find(([pattern]) => pattern.test(sql))?.[1] ?? [],
    } as unknown as Session;
    expect(await listLogs(session, 150n, { online: true, remote: false })).toMatchObject({ end: 299n, missing: null });
    rows.set(/from v\$log_history/, [['170']]);
    const [[history]] = [...rows].filter(([pattern]) => /log_history/.test(pattern.source)) as [[RegExp, unknown]];
    rows.set(history, [['170']]);
    expect((await listLogs(session, 150n, { online: true, remote: false })).missing).toContain(
      'sequence 7 of thread 2',
    );
  });

  test('of copies in several destinations that of the first is read, and one that was restored counts', async () => {
    const { server, keys } = await followed({}, 'rds.oracle11lm');
    server.sql('insert into t values (1)');
    server.switchLog();
    const session = { query: async (sql: string, binds = []) => server.query(sql, binds) } as unknown as Session;
    const names = async () =>
      (await listLogs(session, 1n, { online: false, remote: false })).files.map(({ name }) => name);
    expect(await names()).toEqual(['/arch/1_1.arc']);
    server.control.file(1).restored = true;
    expect(await names()).toEqual(['/restored/1_1.arc']);
    expect(await keys()).toEqual(['1']);
  });
});

test('many files are read in several windows, and a transaction through all of them is whole', async () => {
  const { server, keys } = await followed({}, 'rds.oracle11lfm');
  const long = transaction(server, '0A00FF01');
  long.start();
  for (let i = 0; i < 30; i++) {
    long.dml('t', 1, `insert into "main"."t"("id") values ('${100 + i}');`, `R${i}`);
    server.sql(`insert into t values (${i})`);
    server.switchLog();
  }
  long.commit();
  server.statements.length = 0;
  expect((await keys()).map(Number)).toEqual([
    ...Array.from({ length: 30 }, (_, i) => i),
    ...Array.from({ length: 30 }, (_, i) => 100 + i),
  ]);
  const calls = server.statements.filter((sql) => /(?:start_logmnr|add_logfile)\(/.test(sql));
  const starts = calls.flatMap((sql, i) => (/start_logmnr/.test(sql) ? [i] : []));
  expect(starts.length).toBeGreaterThan(2);
  expect(Math.max(...starts.map((at, i) => at - (starts[i - 1] ?? -1) - 1))).toBeLessThanOrEqual(13);
});

test('a reader that goes on gives what comes, says where it stands, and ends with its signal', async () => {
  const { server, source, table, position } = await followed({}, 'rds.oracle11lmc');
  const stop = new AbortController();
  const capture = await source.capture?.(
    {
      ...{ pipeline: 'p', name: 'p', slot: '', identity: '', from: position },
      ...{ tables: [{ table, skip: [] }], until: 'forever' as const },
    },
    stop.signal,
  );
  const seen: string[] = [];
  let stands = position;
  const read = async () => {
    for await (const piece of capture?.events() ?? [])
      for (const event of piece) {
        if (isRow(event)) seen.push(event.key);
        if (event.kind === 'progress') expect(event.atEnd).toBe(true);
        if (event.kind !== 'commit') continue;
        stands = event.position;
        if (seen.length === 5) stop.abort(new Error('enough'));
        else server.sql(`insert into t values (${seen.length})`);
      }
  };
  server.sql('insert into t values (0)');
  await expect(read()).rejects.toThrow('enough');
  await capture?.[Symbol.asyncDispose]();
  expect(seen).toEqual(['0', '1', '2', '3', '4']);
  server.sql('insert into t values (5)');
  expect(keysOf((await follow(source, stands, [table])).events)).toEqual(['5']);
});

test('how long the log is kept follows from the oldest archived file that is left', async () => {
  const ground = await made({}, 'rds.oracle11lfm');
  const { server, source } = ground;
  const hours = async (position: Position) => (await source.logState('', position)).hoursLeft;
  const ago = (h: number) => new Date(Date.now() - h * 3_600_000).toISOString().slice(0, 19).replace('T', ' ');
  for (let i = 0; i < 3; i++) server.switchLog();
  const { position: old } = await begin(source);
  for (let i = 0; i < 2; i++) server.switchLog();
  for (const [sequence, h] of [
    [1, 60],
    [2, 50],
    [3, 48],
    [4, 12],
    [5, 2],
  ] as const)
    server.control.file(sequence).nextTime = ago(h);
  // Nothing has been deleted yet: when that begins, nobody knows.
  expect(await hours(old)).toBeNull();
  server.loseLog(1, false);
  expect(await hours(old)).toBeCloseTo(50 - 12, 0);
  const { position: late } = await begin(source);
  expect(await hours(late)).toBeCloseTo(50, 0);
  for (const sequence of [2, 3]) server.loseLog(sequence, false);
  expect(await hours(old)).toBeCloseTo(0, 0);
  server.loseLog(4, false);
  expect(await source.logState('', old)).toMatchObject({ hoursLeft: 0, lost: expect.stringContaining('sequence 4') });
});

test('a pluggable database that was made anew under its name is another', async () => {
  const { server, keys } = await followed({ container: 'SHOP', containerId: 3 }, 'rds.oracle11lmp');
  expect(await keys()).toEqual([]);
  server.settings.conDbid = 80;
  await expect(keys()).rejects.toMatchObject({ name: 'PositionLost' });
});
