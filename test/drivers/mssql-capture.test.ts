import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Position, Table } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';
import { ServerError } from '../fakes/mssql/server.ts';
import { type MssqlGround, mssqlGround } from './mssql-fixture.ts';
import {
  capture,
  changesOf,
  drain,
  lastPosition,
  linesOf,
  rereadLines,
  type Seen,
  scopeOf,
  seen,
} from './postgres-capture-fixture.ts';
import { describeOne } from './source-suite.ts';

let ground: MssqlGround;
let source: Source;
afterEach(async () => {
  await source?.[Symbol.asyncDispose]();
  await ground?.[Symbol.asyncDispose]();
});

const AGAIN = 'read again';
/** A copy that events are applied to: cells by table and key. */
type Copy = Map<string, string[]>[];

const cellsOf = (line: string): string[] => line.slice(0, -1).split('\t');
const keyOf = (table: Table, cells: readonly string[]): string =>
  table.key.map((name) => cells[table.columns.findIndex((column) => column.name === name)]).join('\t');

async function copyOf(tables: readonly Table[]): Promise<Copy> {
  const copy: Copy = [];
  for (const table of tables) {
    const lines = (await linesOf(source, table)).filter((line) => line !== '');
    copy.push(new Map(lines.map((line) => [keyOf(table, cellsOf(line)), cellsOf(line)])));
  }
  return copy;
}

/** Applies changes as a destination does, which reads rows again whose columns are nowhere to be had. */
function apply(copy: Copy, events: readonly Seen[]): void {
  for (const event of events) {
    if (!('key' in event)) continue;
    const rows = copy[event.table] as Map<string, string[]>;
    if (event.kind === 'delete') {
      rows.delete(event.key);
      continue;
    }
    const before = rows.get(event.oldKey ?? event.key);
    const cells = cellsOf(event.line);
    for (const i of event.missing ?? []) cells[i] = before?.[i] ?? AGAIN;
    if (event.oldKey !== null) rows.delete(event.oldKey);
    rows.set(event.key, cells);
  }
}

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const tables = ['plain', 'worded', 'large'] as const;

function createTables(): void {
  ground.run('create table plain (id int primary key, a int, b nvarchar(50), stamp datetime2(3))');
  ground.run(
    'create table worded (country varchar(10), code nvarchar(20), v decimal(10,2), primary key (country, code))',
  );
  ground.run('create table large (id bigint primary key, body nvarchar(max), bytes varbinary(max), note varchar(20))');
}

/** A transaction of a few random changes. */
function transaction(next: () => number): string[] {
  const list: string[] = [];
  const id = () => Math.floor(next() * 40);
  for (let i = 0; i < 1 + next() * 5; i++) {
    const [n, kind] = [id(), Math.floor(next() * 9)];
    const words = [
      `insert into plain (id, a, b) select ${n}, ${i}, N'tab\t ${n} \\ 😀' where not exists (select 1 from plain where id = ${n})`,
      `update plain set a = ${Math.floor(next() * 1000)}, b = null where id = ${n}`,
      `delete from plain where id = ${n}`,
      `update plain set id = ${n + 100} where id = ${n} and not exists (select 1 from plain where id = ${n + 100})`,
      `insert into worded select 'c${n % 3}', N'k${n}', ${n}.25 where not exists (select 1 from worded where country = 'c${n % 3}' and code = N'k${n}')`,
      `update worded set v = v + 1 where country = 'c${n % 3}'`,
      `insert into large select ${n}, N'body ${n}', 0x00FF${n % 10}0, 'x' where not exists (select 1 from large where id = ${n})`,
      `update large set note = 'n${i}' where id = ${n}`,
      `update large set body = N'changed ${i}' where id = ${n} or id = ${n + 1}`,
    ];
    list.push(words[kind] as string);
  }
  return list;
}

describe.each([
  ['change tracking', 'rds.msadbctm'],
  ['CDC', 'rds.mscdcm'],
] as const)('changes by %s', (_name, type) => {
  beforeEach(async () => {
    ground = await mssqlGround(type);
    createTables();
    for (const table of tables)
      if (type === 'rds.msadbctm') ground.fake.engine.track('dbo', table);
      else ground.fake.engine.enableCdc('dbo', table);
    source = await ground.open();
  });

  const described = (): Promise<Table[]> => Promise.all(tables.map((table) => describeOne(source, 'dbo', table)));

  it('bring a copy to its source, from wherever the last slice ended', async () => {
    const next = random(7);
    for (let i = 0; i < 20; i++) ground.run(transaction(next));
    const all = await described();
    const scope = await scopeOf(source, all);
    // Changes between the start and the load are told again, which changes nothing.
    for (let i = 0; i < 5; i++) ground.run(transaction(next));
    const copy = await copyOf(all);
    let from = scope.start.position;
    for (let round = 0; round < 8; round++) {
      for (let i = 0; i < 6; i++) ground.run(transaction(next));
      const events = await drain(source, scope.request({ from }));
      apply(copy, events);
      const now = await copyOf(all);
      for (const [table, rows] of copy.entries())
        for (const [key, cells] of rows) if (cells.includes(AGAIN)) rows.set(key, now[table]?.get(key) ?? []);
      expect(copy).toEqual(now);
      const to = lastPosition(events);
      expect([source.reached(to, from), source.reached(from, to)]).toEqual([true, false]);
      expect(source.reached(to, await source.written())).toBe(true);
      const last = events.findLast((event) => event.kind === 'commit');
      expect(Math.abs((last?.kind === 'commit' ? last.at : 0) - Date.now())).toBeLessThan(60_000);
      from = to;
    }
    expect(changesOf(await drain(source, scope.request({ from })))).toEqual([]);
  });

  it('of a long transaction come in pieces, in one commit', async () => {
    const all = await described();
    const scope = await scopeOf(source, all);
    const body = 'long '.repeat(1000);
    ground.run(Array.from({ length: 600 }, (_, i) => `insert into large values (${i}, N'${body}${i}', null, null)`));
    await using reader = await capture(source, scope.request());
    const pieces: Seen[][] = [];
    for await (const piece of reader.events()) pieces.push(piece.map(seen));
    expect(pieces.length).toBeGreaterThan(5);
    const events = pieces.flat();
    expect(changesOf(events)).toHaveLength(600);
    expect(events.filter(({ kind }) => kind === 'commit')).toHaveLength(1);
    expect(events.at(-2)?.kind).toBe('commit');
    expect(await rereadLines(reader, 2, ['17', '4711', '18'])).toHaveLength(2);
  });

  it('that a table has already are left out', async () => {
    const all = await described();
    const scope = await scopeOf(source, all);
    ground.run("insert into plain (id, b) values (1, 'old')");
    const copied = await source.written();
    ground.run(["insert into plain (id, b) values (2, 'new')", "insert into worded values ('a', N'b', 1)"]);
    const skipping = scope.tables.map((one, i) => (i === 0 ? { ...one, skip: [copied] } : one));
    const events = changesOf(await drain(source, scope.request({ tables: skipping })));
    expect(events.map((event) => ('key' in event ? [event.table, event.key] : []))).toEqual([
      [0, '2'],
      [1, 'a\tb'],
    ]);
  });

  it('that were cleaned up before they were read are not skipped in silence', async () => {
    const scope = await scopeOf(source, await described());
    ground.run('insert into plain (id) values (1)');
    ground.fake.engine.cleanUp();
    ground.run('insert into plain (id) values (2)');
    const events = await drain(source, scope.request());
    expect(events.filter(({ kind }) => kind === 'structure')).toMatchObject(
      tables.map((_, table) => ({ table, now: null, reason: expect.stringMatching(/cleaned up/) })),
    );
    expect(changesOf(events)).toEqual([]);
  });

  it('are kept for so many hours more, or are lost', async () => {
    const scope = await scopeOf(source, await described());
    // Three days by CDC's own default, seven as change tracking is set here.
    const hours = type === 'rds.mscdcm' ? 72 : 168;
    expect(await source.logState('', scope.start.position)).toEqual({ bytes: null, hoursLeft: hours, lost: null });
    ground.run('insert into plain (id) values (1)');
    await source.written();
    const state = await source.logState('', scope.start.position);
    expect(state.lost).toBeNull();
    expect(Math.abs((state.hoursLeft ?? 0) - hours)).toBeLessThan(1);
    ground.fake.engine.cleanUp();
    expect(await source.logState('', scope.start.position)).toMatchObject({
      hoursLeft: 0,
      lost: expect.stringMatching(/cleaned up/),
    });
  });

  it('of a database that was restored, or is another one, are refused', async () => {
    const scope = await scopeOf(source, await described());
    await expect(drain(source, scope.request({ identity: 'mssql:A1:other' }))).rejects.toMatchObject({
      name: 'PositionLost',
    });
    ground.fake.engine.settings.fork = 'B2';
    await expect(drain(source, scope.request())).rejects.toMatchObject({ name: 'PositionLost' });
  });

  it('are read again and again by a reader that goes on, until it is stopped', async () => {
    const scope = await scopeOf(source, await described());
    const stop = new AbortController();
    await using reader = await capture(source, scope.request({ until: 'forever' }), stop.signal);
    const found: string[] = [];
    const reading = (async () => {
      for await (const piece of reader.events())
        for (const event of piece)
          if ('key' in event) {
            found.push(event.key);
            if (found.length >= 3) stop.abort(new Error('enough'));
          }
    })();
    const write = setInterval(
      () => ground.run(`insert into plain (id) values (${Math.floor(performance.now() * 1000)})`),
      300,
    );
    await expect(reading).rejects.toThrow('enough');
    clearInterval(write);
    // Each once, in the piece of the third one there may be more.
    expect(found.length).toBeGreaterThanOrEqual(3);
    expect(new Set(found).size).toBe(found.length);
  });

  it('survive a connection that is cut: the error passes, the next reader goes on', async () => {
    const scope = await scopeOf(source, await described());
    ground.run(
      Array.from({ length: 400 }, (_, i) => `insert into large values (${i}, N'${'x'.repeat(10_000)}', null, null)`),
    );
    await using reader = await capture(source, scope.request());
    const events = reader.events();
    await events.next();
    ground.fake.tds.cut();
    const failed = await (async () => {
      for await (const _ of events);
    })().then(
      () => undefined,
      (error: unknown) => error as Error,
    );
    expect(failed?.name).toBe('Error');
    // Sessions that wait in the pool notice it a moment later.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(changesOf(await drain(source, scope.request()))).toHaveLength(400);
  });
});

describe('change tracking', () => {
  beforeEach(async () => {
    ground = await mssqlGround('rds.msadbctm');
    ground.run('create table plain (id int primary key, a int, b nvarchar(50))');
    ground.fake.engine.track('dbo', 'plain');
    source = await ground.open();
  });

  it('tells inserts, updates and deletes apart, each row once with its last state', async () => {
    ground.run('insert into plain values (1, 1, null), (2, 2, null), (3, 3, null)');
    const scope = await scopeOf(source, [await describeOne(source, 'dbo', 'plain')]);
    ground.run(['update plain set a = 10 where id = 1', 'update plain set a = 11 where id = 1']);
    ground.run(['delete from plain where id = 2', 'insert into plain values (4, 4, null)']);
    ground.run([
      'insert into plain values (5, 5, null)',
      'delete from plain where id = 5',
      'update plain set id = 30 where id = 3',
    ]);
    const changes = changesOf(await drain(source, scope.request()));
    expect(changes.map((event) => ('key' in event ? `${event.kind} ${event.line || event.key}` : '')).sort()).toEqual(
      ['delete 2', 'delete 3', 'delete 5', 'insert 30\t3\t\\N\n', 'insert 4\t4\t\\N\n', 'update 1\t11\t\\N\n'].sort(),
    );
  });

  it('has a truncated table loaded again, and says so', async () => {
    ground.run('insert into plain values (1, 1, null)');
    const scope = await scopeOf(source, [await describeOne(source, 'dbo', 'plain')]);
    ground.run('truncate table plain');
    // It may have no version of its own: with the next change of any table it is seen.
    ground.run('insert into plain values (2, 2, null)');
    expect(await drain(source, scope.request())).toMatchObject([
      { kind: 'structure', table: 0, now: null, reason: expect.stringMatching(/truncated/) },
      { kind: 'progress', atEnd: true },
    ]);
  });

  it('reads versions, checks and rows in one snapshot, where no clean-up takes anything away', async () => {
    ground.run('create table other (id int primary key)');
    ground.fake.engine.track('dbo', 'other');
    const scope = await scopeOf(source, [
      await describeOne(source, 'dbo', 'plain'),
      await describeOne(source, 'dbo', 'other'),
    ]);
    ground.run('insert into plain values (1, 1, null)');
    const { engine } = ground.fake;
    const sent = engine.statements.length;
    engine.before = (sql) => {
      if (!sql.includes('CHANGETABLE')) return;
      ground.run('insert into plain values (2, 2, null)');
      engine.cleanUp();
      engine.before = undefined;
    };
    const events = await drain(source, scope.request());
    expect(changesOf(events)).toMatchObject([{ kind: 'insert', key: '1' }]);
    const told = engine.statements
      .slice(sent)
      .map((sql) =>
        /(?:FROM|JOIN) \S*change_tracking_tables/.test(sql)
          ? 'check'
          : (/CHANGETABLE|TRANSACTION|CURRENT_VERSION/.exec(sql)?.[0] ?? ''),
      );
    // Isolation and begin, the version, checks before and after what is read.
    expect(told.filter((word) => word !== '').join(' ')).toMatch(
      /^TRANSACTION TRANSACTION CURRENT_VERSION check (check )?CHANGETABLE check CHANGETABLE CHANGETABLE CHANGETABLE check TRANSACTION$/,
    );
    // What came meanwhile was cleaned up before it was read.
    expect(await drain(source, scope.request({ from: lastPosition(events) }))).toMatchObject([
      { kind: 'structure', table: 0, reason: expect.stringMatching(/cleaned up/) },
      { kind: 'structure', table: 1 },
      { kind: 'progress' },
    ]);
  });

  it('begins with the version of a snapshot', async () => {
    const { statements } = ground.fake.engine;
    const sent = statements.length;
    await source.begin('p', 'p_1', [{ schema: 'dbo', name: 'plain' }], () => {}, new AbortController().signal);
    expect(statements.slice(sent, sent + 4)).toEqual([
      'SET TRANSACTION ISOLATION LEVEL SNAPSHOT',
      'BEGIN TRANSACTION',
      'SELECT CHANGE_TRACKING_CURRENT_VERSION() AS version',
      'COMMIT TRANSACTION',
    ]);
  });

  it('has only that table loaded again which is dropped while it is read', async () => {
    ground.run('create table other (id int primary key)');
    ground.fake.engine.track('dbo', 'other');
    const scope = await scopeOf(source, [
      await describeOne(source, 'dbo', 'plain'),
      await describeOne(source, 'dbo', 'other'),
    ]);
    ground.run(['insert into plain values (1, 1, null)', 'insert into other values (1)']);
    const { engine } = ground.fake;
    engine.before = (sql) => {
      if (!/CHANGETABLE.*INNER JOIN \[dbo\]\.\[plain\]/.test(sql)) return;
      engine.before = undefined;
      throw new ServerError(208, "Invalid object name 'dbo.plain'.");
    };
    await expect(drain(source, scope.request())).rejects.toMatchObject({ name: 'Error' });
    ground.run('drop table plain');
    const events = await drain(source, scope.request());
    expect(events[0]).toMatchObject({ kind: 'structure', table: 0, now: null });
    expect(changesOf(events)).toMatchObject([{ table: 1, key: '1' }]);
  });

  it.each([
    ['a column that may be NULL', ['alter table plain add c int null'], { now: true, renames: [] }],
    ['a column with a default', ['alter table plain add c int default 7'], { now: false }],
    ['a column less', ['alter table plain drop column a'], { now: true, renames: [] }],
    ['a column made anew', ['alter table plain drop column a', 'alter table plain add a int null'], { now: false }],
    ['a new name', ['alter table plain rename column a to c'], { now: true, renames: [['c', 'a']] }],
  ] as const)('tells of %s before the first row', async (_name, ddl, expected) => {
    const table = await describeOne(source, 'dbo', 'plain');
    const scope = await scopeOf(source, [table]);
    for (const statement of ddl) ground.run(statement);
    ground.run("insert into plain (id, b) values (9, 'after')");
    const [first, ...rest] = await drain(source, scope.request());
    if (first?.kind !== 'structure') throw new Error('no structure was told');
    expect(first.now !== null).toBe(expected.now);
    if (expected.now) {
      expect([...(first.carry?.renames ?? [])]).toEqual(expected.renames);
      const again = await drain(source, scope.request({ tables: [{ table: first.now as Table, skip: [] }] }));
      expect(changesOf(again)).toHaveLength(1);
    }
    expect(changesOf(rest)).toEqual([]);
  });

  it('is refused when it is off, or its version goes back', async () => {
    const table = await describeOne(source, 'dbo', 'plain');
    const scope = await scopeOf(source, [table]);
    const ahead = '{"version":"4711000"}' as Position;
    await expect(drain(source, scope.request({ from: ahead }))).rejects.toMatchObject({ name: 'PositionLost' });
    ground.fake.engine.settings.tracking = false;
    await expect(drain(source, scope.request())).rejects.toMatchObject({
      name: 'Misconfigured',
      action: expect.stringMatching(/SET CHANGE_TRACKING = ON/),
    });
    await expect(source.begin('p', 'p_1', [table.ref], () => {}, new AbortController().signal)).rejects.toThrow(/off/);
  });
});

describe('a cursor', () => {
  beforeEach(async () => {
    ground = await mssqlGround('rds.msts');
    source = await ground.open();
  });
  const at = (ms: number): string => `'${new Date(Date.now() + ms).toISOString().slice(0, 23).replace('T', ' ')}'`;

  it('of a row version finds every write since, once', async () => {
    ground.run('create table counted (id int primary key, a int, rv rowversion)');
    ground.run('insert into counted (id, a) values (1, 1), (2, 2)');
    const table = await describeOne(source, 'dbo', 'counted');
    expect(table).toMatchObject({ cursor: ['rv'], warnings: [expect.stringMatching(/Deleted rows/)] });
    const scope = await scopeOf(source, [table]);
    expect(changesOf(await drain(source, scope.request()))).toEqual([]);
    ground.run('update counted set a = 20 where id = 2');
    ground.run('insert into counted (id, a) values (3, 3)');
    const events = await drain(source, scope.request());
    expect(changesOf(events).map((event) => ('key' in event ? event.key : ''))).toEqual(['2', '3']);
    expect(changesOf(await drain(source, scope.request({ from: lastPosition(events) })))).toEqual([]);
  });

  it('of times finds rows that were committed late, as far as the overlap reaches; deletes leave no trace', async () => {
    ground.run('create table timed (id int primary key, made datetime2(3), changed datetime2(3))');
    ground.run(`insert into timed values (1, ${at(-900_000)}, null)`);
    const table = await describeOne(source, 'dbo', 'timed', { cursor: ['made', 'changed'] });
    const scope = await scopeOf(source, [table]);
    const options = { cursor: ['made', 'changed'] };
    ground.run([
      `insert into timed values (2, ${at(-500_000)}, null)`,
      `insert into timed values (3, ${at(-5_000_000)}, null)`,
      `insert into timed values (4, ${at(-5_000_000)}, ${at(-1_000)})`,
      'delete from timed where id = 1',
    ]);
    const events = await drain(source, scope.request({ tables: [{ table, skip: [], options }] }));
    expect(changesOf(events).map((event) => ('key' in event ? event.key : ''))).toEqual(['2', '4']);
    expect(source.reached(lastPosition(events), await source.written())).toBe(false);
  });

  it('passes each state of a row on once, as long as its reader goes on', async () => {
    ground.run('create table timed (id int primary key, a int, changed datetime not null)');
    const options = { cursor: ['changed'] };
    const table = await describeOne(source, 'dbo', 'timed', options);
    const scope = await scopeOf(source, [table]);
    ground.run(`insert into timed values (1, 1, ${at(0)})`);
    const stop = new AbortController();
    const tables = [{ table, skip: [], options }];
    await using reader = await capture(source, scope.request({ tables, until: 'forever' }), stop.signal);
    const pieces = reader.events();
    const found: string[] = [];
    for (let looks = 0; looks < 1; ) {
      const { value } = await pieces.next();
      for (const event of value ?? [])
        if ('key' in event) found.push(event.key);
        else if (event.kind === 'progress') looks++;
    }
    expect(found).toEqual(['1']);
    stop.abort(new Error('enough'));
    await expect(pieces.next()).rejects.toThrow('enough');
  });

  it('must be named where no column is one by itself', async () => {
    ground.run('create table silent (id int primary key, a int, d date, t datetime2(0))');
    const answers = await source.describe(
      [{}, { cursor: ['a'] }, { cursor: ['gone'] }, { cursor: ['t'] }].map((options) => ({
        ref: { schema: 'dbo', name: 'silent' },
        options,
      })),
    );
    expect(answers.map((answer) => ('error' in answer ? answer.error.action : answer.table.cursor))).toEqual([
      expect.stringMatching(/Set `cursor`/),
      'Correct `cursor`.',
      'Correct `cursor`.',
      ['t'],
    ]);
    expect(answers[3]).toMatchObject({ table: { warnings: [expect.anything(), expect.stringMatching(/NULL/)] } });
  });
});
