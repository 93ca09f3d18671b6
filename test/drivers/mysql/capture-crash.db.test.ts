import { appendFile, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { carefreeMariadb, startMysql } from '../../../scripts/servers/mysql.ts';
import type { Server } from '../../../scripts/servers/server.ts';
import type { LogEvent } from '../../../src/drivers/changes.ts';
import { isPermanent } from '../../../src/drivers/errors.ts';
import { open } from '../../../src/drivers/mysql/source.ts';
import type { Source, Start } from '../../../src/drivers/source.ts';
import { describeOne } from '../source-suite.ts';
import { applied, changesSince, lastPosition, never, openAt, readLines, startAt } from './capture-fixture.ts';

/** A MariaDB of its own, which is killed and whose log is spoilt. */
let server: Server;
beforeAll(async () => {
  server = await startMysql({ flavour: 'mariadb10.11', settings: carefreeMariadb });
  await sql('create database shop');
  await sql('create table shop.t (id int primary key, v text)');
  await sql('create table shop.other (id int primary key)');
}, 120_000);
afterAll(() => server?.stop());

async function sql(text: string): Promise<string[][]> {
  const { host, port, user, password } = server;
  const client = await mysql.createConnection({ host, port, user, password, rowsAsArray: true });
  try {
    return (await client.query(text))[0] as unknown as string[][];
  } finally {
    client.destroy();
  }
}

const openSource = () =>
  open({ host: server.host, port: String(server.port), uid: server.user, pwd: server.password }, never());
const logFile = async () => join(server.dataDir, (await sql('show master status'))[0]?.[0] ?? '');

/** What comes before a reader fails, and its error. */
async function untilError(source: Source, start: Start): Promise<{ events: LogEvent[]; error: unknown }> {
  const events: LogEvent[] = [];
  try {
    await using capture = await openAt(source, [await describeOne(source, 'shop', 't')], start);
    for await (const piece of capture.events()) events.push(...piece);
  } catch (error) {
    return { events, error };
  }
  throw new Error('The reader came to the end.');
}

async function expectTable(source: Source, rows: Map<string, string>): Promise<void> {
  const lines = await readLines(source, await describeOne(source, 'shop', 't'));
  expect([...rows.values()].sort()).toEqual(lines.sort());
}

test.each([
  ['a followed table', "insert into shop.t values (3, 'c')"],
  ['another one', 'insert into shop.other values (1)'],
])('what is whole before the torn end of a killed server’s log counts, the last of it of %s', async (_name, last) => {
  await sql('delete from shop.t');
  await using source = await openSource();
  const table = await describeOne(source, 'shop', 't');
  const start = await startAt(source, [table]);
  await sql("insert into shop.t values (1, 'a'), (2, 'b')");
  await sql('delete from shop.t where id = 1');
  await sql(last);
  const file = await logFile();
  await server.kill9();
  // The beginning of an event that was being written: the header and some bytes of the file's first one, which is longer.
  await appendFile(file, (await readFile(file)).subarray(4, 4 + 40));
  await server.restart();
  await sql("update shop.t set v = 'later'");
  await using again = await openSource();
  const { events, error } = await untilError(again, start);
  expect([isPermanent(error), String(error)]).toEqual([false, expect.stringContaining('died while it wrote its log')]);
  const rows = applied(events, 0);
  expect([...rows.keys()]).toEqual(last.includes('shop.t') ? ['2', '3'] : ['2']);
  const more = await changesSince(again, [table], { ...start, position: lastPosition(events) });
  await expectTable(again, applied(more, 0, rows));
});

test('a log that is cut where more was written is lost', async () => {
  await using source = await openSource();
  const table = await describeOne(source, 'shop', 't');
  const file = await logFile();
  const start = await startAt(source, [table]);
  await sql("insert into shop.t values (101, 'lost')");
  await sql("insert into shop.t values (102, 'lost')");
  await server.restart();
  await truncate(file, (await stat(file)).size - 300);
  await using again = await openSource();
  for (let attempt = 0, from = start; ; attempt++) {
    const { events, error } = await untilError(again, from);
    if (isPermanent(error)) {
      expect(error).toMatchObject({ name: 'PositionLost', message: expect.stringContaining('truncated') });
      break;
    }
    expect(attempt).toBe(0);
    from = { ...start, position: lastPosition(events) };
  }
});
