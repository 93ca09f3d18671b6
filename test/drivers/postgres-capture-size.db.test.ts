import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CaptureRequest } from '../../src/drivers/changes.ts';
import type { Source } from '../../src/drivers/source.ts';
import { scopeOf } from './postgres-capture-fixture.ts';
import { type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne } from './source-suite.ts';

const run = promisify(execFile);
const MEGABYTE = 1024 * 1024;

/**
 * Reads the log in a process of its own, every piece held for `pause` ms; prints rows, bytes, commits, the largest piece and the peak memory.
 * The sum over the keys proves that every row came once.
 */
const READER = `
  const [url, params, request, pause] = process.argv.slice(1);
  const { open } = await import(url);
  const signal = new AbortController().signal;
  const source = await open(JSON.parse(params), signal);
  const reader = await source.capture(JSON.parse(request), signal);
  let rows = 0, bytes = 0, commits = 0, largest = 0, sum = 0;
  for await (const piece of reader.events()) {
    let size = 0;
    for (const event of piece) {
      if (event.kind === 'commit') commits++;
      if (!('key' in event)) continue;
      rows++;
      sum += Number(event.key);
      size += event.to - event.from;
    }
    bytes += size;
    largest = Math.max(largest, size);
    await new Promise((resolve) => setTimeout(resolve, Number(pause)));
  }
  await reader[Symbol.asyncDispose]();
  await source[Symbol.asyncDispose]();
  console.log(JSON.stringify({ rows, bytes, commits, largest, sum, peak: process.resourceUsage().maxRSS * 1024 }));
`;
type Read = { rows: number; bytes: number; commits: number; largest: number; sum: number; peak: number };

/** Long, and read by the same messages from every version: on one of them, on all in `npm run test:matrix`. */
const servers = postgresServers().filter((name) => process.env['FLOW_MATRIX'] !== undefined || name === 'postgres18');

describe.each(servers)('large changes of %s', (server) => {
  let ground: Playground;
  let source: Source;
  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  async function readApart(request: CaptureRequest, pause = 0): Promise<Read> {
    const url = new URL('../../src/drivers/postgres/source.ts', import.meta.url).href;
    const { stdout } = await run(process.execPath, [
      '--input-type=module',
      '-e',
      READER,
      url,
      JSON.stringify(ground.params()),
      JSON.stringify(request),
      String(pause),
    ]);
    return JSON.parse(stdout) as Read;
  }

  async function written(name: string, columns: string, rows: string): Promise<CaptureRequest> {
    await ground.sql(`create table ${name} (id int primary key, ${columns})`);
    const scope = await scopeOf(source, [await describeOne(source, 'public', name)]);
    await ground.sql(`insert into ${name} ${rows}`);
    return scope.request();
  }

  test('a transaction of a million rows costs no memory, even if the consumer is slow', {
    timeout: 240_000,
  }, async () => {
    const idle = await readApart(await written('one', 'v text', "values (1, 'x')"));
    const many = await readApart(
      await written('many', 'v text', 'select i, repeat(md5(i::text), 3) from generate_series(1, 1000000) i'),
      20,
    );
    expect(many).toMatchObject({ rows: 1_000_000, commits: 1, sum: 500_000_500_000 });
    expect(many.bytes).toBe(1_000_000 * (96 + 2) + 5_888_896);
    expect(many.largest).toBeLessThan(1.1 * MEGABYTE);
    expect(many.peak - idle.peak).toBeLessThan(120 * MEGABYTE);
  });

  test('a cell of 64 MB costs at most four times its size', { timeout: 240_000 }, async () => {
    const idle = await readApart(await written('small', 'body text', "values (1, 'x')"));
    const text = await readApart(
      await written(
        'large',
        'body text, price numeric',
        "values (1, repeat(E'0123456789\\t\\\\abcd', 4 * 1024 * 1024), 'NaN')",
      ),
    );
    expect(text).toMatchObject({ rows: 1, bytes: 64 * MEGABYTE + 2 * 4 * MEGABYTE + 2 + 2 + 2 });
    expect(text.peak - idle.peak).toBeLessThan(4 * 64 * MEGABYTE);
    const bytes = await readApart(
      await written('binary_large', 'body bytea', "values (1, decode(repeat('00ff5c0a', 16 * 1024 * 1024), 'hex'))"),
    );
    expect(bytes).toMatchObject({ rows: 1, bytes: 128 * MEGABYTE + 3 });
    // Twice the size by its digits.
    expect(bytes.peak - idle.peak).toBeLessThan(5 * 64 * MEGABYTE);
  });
});
