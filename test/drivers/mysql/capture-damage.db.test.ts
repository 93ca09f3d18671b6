import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import type { LogEvent } from '../../../src/drivers/changes.ts';
import type { Table } from '../../../src/drivers/model.ts';
import { type Charsets, readCharsets } from '../../../src/drivers/mysql/charsets.ts';
import { type Connection, connect } from '../../../src/drivers/mysql/connection.ts';
import { createFollowers } from '../../../src/drivers/mysql/followed-tables.ts';
import { createLogDecoder } from '../../../src/drivers/mysql/log-decoder.ts';
import { createGroups } from '../../../src/drivers/mysql/log-groups.ts';
import { createProgress } from '../../../src/drivers/mysql/log-progress.ts';
import { createStatements } from '../../../src/drivers/mysql/log-statements.ts';
import { openLogStream } from '../../../src/drivers/mysql/log-stream.ts';
import { mysqlOptions } from '../../../src/drivers/mysql/options.ts';
import { decodePosition } from '../../../src/drivers/mysql/position.ts';
import { type CatalogView, viewCatalog } from '../../../src/drivers/mysql/structure-now.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { describeOne, type Playground, playground } from '../mysql-fixture.ts';
import { isRow, never, rowText } from './capture-fixture.ts';

/** The kind of event by which a server without news says that it is there. */
const HEARTBEAT = 27;
/** Kinds of events that begin and end files. */
const [ROTATE, FORMAT] = [4, 15];

/** What damage may end in: errors that say what is wrong, never a slip of the program. */
const NAMED = /can't be read|checksum|can't be used|out of order|Load the tables|partial JSON|is not known|zstd/;

describe.each(['mysql9', 'mariadb'] as const)('damage in the log of %s', (server) => {
  let ground: Playground;
  let source: Source;
  let table: Table;
  let connection: Connection;
  let charsets: Charsets;
  let views: CatalogView[];
  let recorded: Buffer[] = [];
  let truth: string[] = [];

  /** Takes events like a reader does; all that came of them. */
  async function decode(events: readonly Buffer[]): Promise<LogEvent[]> {
    const followers = createFollowers([{ table, skip: [] }], views, connection.facts, undefined, false);
    const progress = createProgress({ file: 'x.000001', offset: 4 }, connection.facts.product, undefined, false);
    const groups = createGroups(followers, progress);
    const decoder = createLogDecoder({
      followers,
      groups,
      progress,
      charsets,
      loadCharsets: async () => {},
      statement: createStatements(followers, groups, charsets, async () => undefined),
    });
    for (const event of events) {
      await decoder.take(event, 0, event.length, false);
      const payload = decoder.takePayload();
      while (payload && (await payload.next())) await decoder.take(payload.bytes, payload.start, payload.end, true);
    }
    return groups.take(Number.POSITIVE_INFINITY);
  }

  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
    await ground.sql(
      `create table t (id int primary key, a bigint, b varchar(300), c text character set latin1, d decimal(20,5), e datetime(6), f double, g set('a','b'), h varbinary(20)${server === 'mysql9' ? ', j json' : ''}, z time(3))`,
    );
    table = await describeOne(source, ground.database, 't');
    connection = await connect(mysqlOptions(ground.params()), never());
    charsets = await readCharsets(connection);
    for (const charset of ['latin1', 'utf8mb4']) await charsets.load(connection, charset);
    views = await viewCatalog(connection, [table]);
    const start = decodePosition(await source.written());
    if (server === 'mysql9') await ground.sql('set session binlog_transaction_compression = on');
    for (let i = 0; i < 4; i++) {
      const json = server === 'mysql9' ? `, '{"k": [1, 2.5, "x${i}", {"y": null}]}'` : '';
      await ground.sql(
        `insert into t values (${i}, ${i * 1e12}, 'text ${i}', 'é${i}', ${i}.12345, '2020-01-01 00:00:0${i}.5', ${i / 3}, 'a,b', x'00ff'${json}, '10:00:00.5')`,
      );
      if (i === 1 && server === 'mysql9') await ground.sql('set session binlog_transaction_compression = off');
    }
    await ground.sql('update t set id = id + 10, b = null where id > 1');
    await ground.sql('delete from t where id = 0');
    const stream = await openLogStream(
      await connect(mysqlOptions(ground.params()), never()),
      { place: { file: start?.file ?? '', offset: start?.offset ?? 4 } },
      true,
    );
    recorded = [];
    do
      while (stream.next()) {
        const event = Buffer.from(stream.packets.bytes.subarray(stream.packets.start + 1, stream.packets.end));
        // A slow machine's server says in between that it is there: no part of the log, and of no content.
        if (event[4] !== HEARTBEAT) recorded.push(event);
      }
    while (await stream.wait());
    truth = (await decode(recorded))
      .filter(isRow)
      .map((change) => `${change.kind} ${change.oldKey} ${change.key} ${rowText(change)}`);
  });
  afterAll(async () => {
    connection.destroy();
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  async function outcome(events: readonly Buffer[]): Promise<string[] | Error> {
    try {
      return (await decode(events))
        .filter(isRow)
        .map((change) => `${change.kind} ${change.oldKey} ${change.key} ${rowText(change)}`);
    } catch (error) {
      return error as Error;
    }
  }

  test('the recording is whole', () => {
    expect(truth.length).toBe(7);
    expect(inject(server).port).toBeGreaterThan(0);
  });

  test('every flipped bit and every cut is found by length or checksum', async () => {
    for (const [i, event] of recorded.entries()) {
      // The beginnings of files that the server makes up are part of no log, and have no checksum; other tests may have begun a file meanwhile.
      if (i < 2 || event[4] === ROTATE || event[4] === FORMAT) continue;
      for (let at = 0; at < event.length; at += 3) {
        const flipped = Buffer.from(event);
        flipped[at] = (flipped[at] as number) ^ (1 << (at & 7));
        const got = await outcome(recorded.with(i, flipped));
        expect(got, `event ${i} of kind ${event[4]}, byte ${at}`).toBeInstanceOf(Error);
        expect((got as Error).message).toMatch(NAMED);
      }
      for (const length of [0, 5, 18, 19, 23, event.length - 1]) {
        const got = await outcome(recorded.with(i, event.subarray(0, length)));
        expect((got as Error).message, `event ${i} cut to ${length}`).toMatch(NAMED);
      }
    }
  });

  test.each([
    [26, 'PositionLost', 'INCIDENT: the source says that changes are missing'],
    [39, 'UnsupportedValue', 'partial JSON'],
    [20, 'Error', 'rows as MySQL 5.1 wrote them before its release'],
    [172, 'Error', 'a kind that newer servers may bring'],
  ])('an event of number %i is %s: %s', async (number, name) => {
    const at = recorded.findLastIndex((event) => event[4] === 31 || event[4] === 24);
    expect(at).toBeGreaterThan(0);
    const event = Buffer.from(recorded[at] as Buffer);
    event[4] = number;
    event.writeUInt32LE(crc32(event.subarray(0, -4)), event.length - 4);
    const got = await outcome(recorded.with(at, event));
    expect(got).toMatchObject({ name, message: expect.stringMatching(/INCIDENT|partial JSON|unknown number/) });
  });

  test('a connection that says nothing for longer than any heartbeat takes counts as dead', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const silent = await connect(mysqlOptions(ground.params()), never());
    try {
      const end = decodePosition(await source.written());
      const place = { file: end?.file ?? '', offset: end?.offset ?? 4 };
      const stream = await openLogStream(silent, { place }, false);
      const waiting = (async () => {
        for (;;) {
          while (stream.next());
          await stream.wait();
          vi.advanceTimersByTime(10_000);
        }
      })();
      const ended = expect(waiting).rejects.toThrow('has said nothing for 20 s');
      // Heartbeats come once a second and each begins the wait anew: half of the time is no silence yet.
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      vi.advanceTimersByTime(26_000);
      await ended;
    } finally {
      vi.useRealTimers();
      silent.destroy();
    }
  });

  test('an event whose checksum was made over damaged bytes ends in a named error or in whole rows, never in a slip', async () => {
    let failed = 0;
    let passed = 0;
    for (let round = 0; round < 4_000; round++) {
      const i = 2 + Math.floor(Math.random() * (recorded.length - 2));
      let event = Buffer.from(recorded[i] as Buffer);
      const cut = Math.random() < 0.3 ? Math.floor(Math.random() * (event.length - 23)) : 0;
      if (cut > 0) event = Buffer.concat([event.subarray(0, event.length - 4 - cut), Buffer.alloc(4)]);
      for (let n = Math.floor(Math.random() * 4); n >= 0; n--) {
        const at = 19 + Math.floor(Math.random() * Math.max(1, event.length - 23));
        event[at] = Math.random() < 0.3 ? 255 : Math.floor(Math.random() * 256);
      }
      event.writeUInt32LE(event.length, 9);
      event.writeUInt32LE(crc32(event.subarray(0, -4)), event.length - 4);
      const got = await outcome(recorded.with(i, event));
      if (got instanceof Error) {
        failed++;
        expect(got.message, got.stack).toMatch(NAMED);
      } else {
        passed++;
        for (const line of got)
          if (!line.startsWith('delete')) expect(line.split('\t').length, line).toBe(table.columns.length);
      }
    }
    expect(failed).toBeGreaterThan(500);
    expect(passed).toBeGreaterThan(100);
  }, 120_000);
});
