import { describe, expect, it, test } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import {
  type CursorColumn,
  chooseCursor,
  cursorSettings,
  decodeMark,
  encodeMark,
  latestMark,
  sinceOf,
  withCursor,
} from '../../src/drivers/cursor.ts';
import { captureByLooks, type Look } from '../../src/drivers/cursor-capture.ts';
import { type CursorSource, openCursor } from '../../src/drivers/cursor-looks.ts';
import { wholeRows } from '../../src/drivers/cursor-rows.ts';
import { PositionLost } from '../../src/drivers/errors.ts';
import { momentOf } from '../../src/drivers/jdbc/clock.ts';
import type { Batch, ChunkRead, Position, Table } from '../../src/drivers/model.ts';
import { decodePosition as mongoPosition } from '../../src/drivers/mongodb/position.ts';
import { decodeLsn, decodeVersion } from '../../src/drivers/mssql/position.ts';
import { decodePosition as mysqlPosition } from '../../src/drivers/mysql/position.ts';
import { decodePosition as oraclePosition } from '../../src/drivers/oracle/position.ts';
import { parseLsn } from '../../src/drivers/postgres/lsn.ts';

const never = new AbortController().signal;
const utc = (text: string): number => Date.parse(`${text.replace(' ', 'T')}Z`);

const shop: Table = {
  ref: { schema: 's', name: 't' },
  kind: 'table',
  columns: [
    { name: 'id', type: { kind: 'int', bytes: 4, unsigned: false }, nullable: false, sourceType: 'int', masked: false },
    { name: 'v', type: { kind: 'text', size: 'long' }, nullable: true, sourceType: 'text', masked: false },
  ],
  leftOut: [],
  key: ['id'],
  cursor: ['at'],
  textKey: false,
  approxRows: 0,
  approxBytes: 0,
  structure: 'one',
  storage: '',
  warnings: [],
};

describe('from when on rows are read', () => {
  const settings = (zone?: string, overlapMs = 600_000) => ({ overlapMs, zone });
  const mark = (text: string) => ({ t: utc(text) });

  it('is the overlap before the last look, and half a day more where the zone of the writers is not known', () => {
    expect(sinceOf(mark('2024-03-01 12:00:00'), utc('2024-03-01 13:00:00'), settings())).toEqual({
      utc: '2024-03-01 11:50:00',
      local: '2024-02-29 23:50:00',
    });
    // No clock of the world shows less than UTC minus twelve hours: a row of any writer since the mark lies behind it.
    expect(sinceOf(mark('2024-03-01 12:00:00'), utc('2024-03-01 13:00:00'), settings('UTC')).local).toBe(
      '2024-03-01 11:50:00',
    );
  });

  it('misses no row of an hour that clocks show twice', () => {
    // New York goes from 01:59 EDT back to 01:00 EST at 06:00 UTC.
    const since = sinceOf(mark('2024-11-03 05:55:00'), utc('2024-11-03 06:20:00'), settings('America/New_York', 0));
    expect(since.local <= '2024-11-03 01:01:00').toBe(true);
    // And in spring, when a row is as old as before the step.
    const spring = sinceOf(mark('2024-03-10 06:55:00'), utc('2024-03-10 07:20:00'), settings('America/New_York', 0));
    expect(spring.local <= '2024-03-10 01:55:00').toBe(true);
    expect(sinceOf(mark('2024-07-01 00:00:00'), utc('2024-07-01 00:01:00'), settings('Asia/Kathmandu', 0)).local).toBe(
      '2024-07-01 05:45:00',
    );
  });

  it('is whole seconds, as columns may hold no more', () => {
    expect(sinceOf({ t: utc('2024-03-01 12:00:00.999') }, utc('2024-03-01 13:00:00'), settings('UTC', 0)).utc).toBe(
      '2024-03-01 12:00:00',
    );
  });

  it('follows a clock that was set back a little; by more than the overlap it is lost', () => {
    expect(sinceOf(mark('2024-03-01 12:00:00'), utc('2024-03-01 11:55:00'), settings()).utc).toBe(
      '2024-03-01 11:45:00',
    );
    expect(() => sinceOf(mark('2024-03-01 12:00:00'), utc('2024-03-01 11:40:00'), settings())).toThrow(/clock/);
  });

  it('goes back to the beginning of a transaction that was open at the last look', () => {
    const open = { t: utc('2024-03-01 12:00:00'), o: utc('2024-03-01 06:30:00') };
    expect(sinceOf(open, utc('2024-03-01 13:00:00'), settings('UTC')).utc).toBe('2024-03-01 06:20:00');
  });

  it('takes a position of another kind for lost, wherever it is read', () => {
    for (const position of ['0/16B3748', '{"gtid":"0-1-5"}', '{"lsn":"00"}'])
      expect(() => decodeMark(position)).toThrow(expect.objectContaining({ name: 'PositionLost' }));
    expect(latestMark([encodeMark({ t: 5, o: 4 }), encodeMark({ t: 6, o: 2 }), encodeMark({ t: 5, o: 1 })])).toEqual({
      t: 6,
      o: 2,
    });
    expect(latestMark([encodeMark({ t: 5 }), encodeMark({ t: 9, v: '3' })])).toEqual({ t: 9, v: '3' });
  });

  it('is set by options that are checked', () => {
    expect(cursorSettings({})).toEqual({ overlapMs: 600_000, zone: undefined });
    expect(cursorSettings({ cursor_overlap: '0', cursor_zone: 'Europe/Berlin' })).toEqual({
      overlapMs: 0,
      zone: 'Europe/Berlin',
    });
    for (const params of [{ cursor_overlap: 'x' }, { cursor_zone: 'Nowhere/Town' }] as Record<string, string>[])
      expect(() => cursorSettings(params)).toThrow(expect.objectContaining({ name: 'Misconfigured' }));
  });
});

describe('the cursor of a table', () => {
  const columns: CursorColumn[] = [
    { name: 'id', nullable: false, clock: null, indexed: true },
    { name: 'made', nullable: false, clock: 'time', indexed: true },
    { name: 'changed', nullable: true, clock: 'time', indexed: false, local: true },
  ];

  it('must be named, and be a time: the error names the table and what could be one', () => {
    for (const wanted of [undefined, [], ['id'], ['gone']])
      expect(() => chooseCursor('s.t', columns, wanted, [])).toThrow(/s\.t.*These could be: made, changed\./);
    expect(() => chooseCursor('s.t', columns.slice(0, 1), undefined, [])).toThrow('No column of it could be one.');
  });

  it('comes with what it can not see', () => {
    const warnings: string[] = [];
    expect(chooseCursor('s.t', columns, ['changed'], warnings)).toEqual(['changed']);
    expect(warnings).toEqual([
      expect.stringContaining('Deleted rows'),
      expect.stringContaining('NULL'),
      expect.stringContaining('No index begins with changed'),
    ]);
    const both: string[] = [];
    chooseCursor('s.t', columns, ['made', 'changed'], both);
    expect(both.join()).not.toContain('NULL');
  });

  it('is part of the structure; tables that nothing follows need none', () => {
    const settings = cursorSettings({});
    const one = withCursor(shop, columns, ['made'], settings);
    const two = withCursor(shop, columns, ['changed'], settings);
    expect(new Set([shop.structure, one.structure, two.structure]).size).toBe(3);
    expect([one.warnings.join(), two.warnings.join()]).toEqual([
      expect.not.stringContaining('zone'),
      expect.stringContaining('cursor_zone'),
    ]);
    expect(withCursor({ ...shop, key: [] }, columns, undefined, settings)).toEqual({ ...shop, key: [] });
    expect(withCursor({ ...shop, kind: 'view' }, columns, undefined, settings)).toMatchObject({ structure: 'one' });
  });
});

async function* batches(...parts: string[]): AsyncGenerator<Batch, ChunkRead, undefined> {
  for (const part of parts) yield { data: Buffer.from(part), rows: 0 };
  return { rows: 0, rules: [] };
}

test('rows are put together wherever batches cut them', async () => {
  const found: string[] = [];
  for await (const { data } of wholeRows(batches('1\ta', 'b\n2\tc\n3', '\t', 'd', '\n', '4\te\n')))
    found.push(Buffer.from(data).toString());
  expect(found).toEqual(['1\tab\n2\tc\n', '3\td\n', '4\te\n']);
  await expect(wholeRows(batches('1\ta')).next()).rejects.toThrow('do not end at a row');
});

describe('a look', () => {
  let now = 1_000_000_000;
  let structure = 'one';
  let closed = 0;
  const source = (read: CursorSource['changed']): CursorSource => ({
    settings: { overlapMs: 1000, zone: 'UTC' },
    describe: async (requests) => requests.map(({ ref }) => ({ ref, table: { ...shop, structure } })),
    identity: async () => 'server',
    now: async () => ({ t: now }),
    changed: async function* (...given) {
      try {
        return yield* read(...given);
      } finally {
        closed++;
      }
    },
    reread: () => batches(),
  });
  const request = (more = {}) => ({
    pipeline: 'p',
    name: 'p_1',
    slot: '',
    identity: 'server',
    from: encodeMark({ t: now - 5000 }),
    tables: [{ table: shop, skip: [] as Position[] }],
    until: 'written' as const,
    ...more,
  });
  const drain = async (from: CursorSource, more = {}): Promise<LogEvent[]> => {
    await using reader = await openCursor(from, request(more), never);
    const all: LogEvent[] = [];
    for await (const piece of reader.events()) all.push(...piece);
    return all;
  };

  it('stands where the clock was before it began, so that rows written meanwhile come again', async () => {
    structure = 'one';
    const before = now;
    const events = await drain(
      source(async function* (_table, since) {
        now += 60_000;
        expect(since.utc).toBe(new Date(before - 6000).toISOString().slice(0, 19).replace('T', ' '));
        return yield* batches('1\ta\n');
      }),
    );
    expect(events.at(-1)).toMatchObject({ kind: 'progress', position: encodeMark({ t: before }), atEnd: true });
  });

  it('begins where a table joined, if that was later', async () => {
    const seen: string[] = [];
    const follow = source(async function* (_table, since) {
      seen.push(since.utc);
      return yield* batches();
    });
    await drain(follow, { tables: [{ table: shop, skip: [encodeMark({ t: now })] }] });
    expect(seen).toEqual([new Date(now - 1000).toISOString().slice(0, 19).replace('T', ' ')]);
  });

  it('commits nothing of a table that changed while it was read', async () => {
    structure = 'one';
    const events: LogEvent[] = [];
    const follow = source(async function* () {
      yield* batches('1\ta\n');
      structure = 'two';
      return { rows: 1, rules: [] };
    });
    await using reader = await openCursor(follow, request(), never);
    await expect(
      (async () => {
        for await (const piece of reader.events()) events.push(...piece);
      })(),
    ).rejects.toThrow('changed while its rows were read');
    expect(events.map(({ kind }) => kind)).toEqual(['update']);
    // The next attempt says so, and reads nothing of it.
    expect((await drain(follow)).map(({ kind }) => kind)).toEqual(['structure', 'progress']);
    structure = 'one';
  });

  it('lets its statement go when its reader leaves in the middle', async () => {
    const reader = await openCursor(
      source(async function* () {
        return yield* batches('1\ta\n', '2\tb\n');
      }),
      request(),
      never,
    );
    closed = 0;
    for await (const piece of reader.events()) {
      expect(piece[0]?.kind).toBe('update');
      break;
    }
    expect(closed).toBe(1);
    await reader[Symbol.asyncDispose]();
  });

  it('of another server, or from a position of another kind, is refused', async () => {
    const any = source(() => batches());
    for (const more of [{ identity: 'another' }, { from: '0/16B3748' }])
      await expect(openCursor(any, request(more), never)).rejects.toMatchObject({ name: 'PositionLost' });
  });

  it('passes rows on again only when they changed, for a reader that goes on', async () => {
    const stop = new AbortController();
    let looks = 0;
    const reader = captureByLooks(
      request({ until: 'forever' }),
      {
        look: async (): Promise<Look> => ({
          position: encodeMark({ t: now + looks }),
          at: now,
          news: async (tables) => tables.map(() => null),
          async *changed() {
            looks++;
            yield { kind: 'update', data: Buffer.from(looks < 3 ? '1\ta\n' : '1\tb\n') };
            return [];
          },
          [Symbol.asyncDispose]: async () => {},
        }),
        reread: () => batches(),
        pollMs: 1,
        repeats: true,
      },
      stop.signal,
    );
    const kinds: string[] = [];
    for await (const piece of reader.events()) {
      for (const event of piece) kinds.push(event.kind);
      if (looks === 4) break;
    }
    expect(kinds.filter((kind) => kind !== 'progress')).toEqual(['update', 'commit', 'update', 'commit']);
    stop.abort();
  });
});

test.each([
  ['2024-01-02 03:04:05.123456+00', '2024-01-02 03:04:05.123'],
  ['2024-01-02 03:04:05.1Z', '2024-01-02 03:04:05.100'],
  ['2024-01-02 03:04:05.123000+0:00', '2024-01-02 03:04:05.123'],
  ['2024-01-02 03:04:05-05:30', '2024-01-02 08:34:05.000'],
  ['2024-1-2 3.4.5.5 UTC', '2024-01-02 03:04:05.500'],
  // Without a zone it is of one near the worker's clock.
  ['2024-01-02 08:34:00.5', '2024-01-02 03:04:00.500'],
  ['2024-01-01 20:04:07', '2024-01-02 03:04:07.000'],
])('the time %s of a JDBC driver is understood', (text, expected) => {
  expect(momentOf(text, utc('2024-01-02 03:04:05'))).toBe(utc(expected));
});

test('what is no time is none', () => {
  expect(momentOf('Mon, 01 Jan 2024 00:00:00 -0800', 0)).toBeUndefined();
});

describe('a position that another kind of source wrote', () => {
  const kinds = {
    postgres: ['16/B374D848', parseLsn],
    mysql: ['{"gtid":"0-1-2"}', mysqlPosition],
    mongodb: ['{"seconds":1,"increment":1,"whole":true}', mongoPosition],
    'change tracking': ['{"version":"5"}', decodeVersion],
    CDC: ['{"lsn":"0000002A000000B80003"}', decodeLsn],
    oracle: ['{"scn":"7","from":"6"}', oraclePosition],
    cursor: ['{"t":1,"v":"5"}', decodeMark],
  } as const;
  const pairs = Object.entries(kinds).flatMap(([name, [, read]]) =>
    Object.entries(kinds).map(([other, [position]]) => [name, other, read as (text: Position) => unknown, position]),
  );
  it.each(pairs as [string, string, (text: Position) => unknown, Position][])(
    '%s reads %s',
    (name, other, read, position) => {
      if (name === other) expect(() => read(position)).not.toThrow();
      else expect(() => read(position)).toThrow(PositionLost);
    },
  );
});
