import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ChunkRead, Params, Position, Table, TableOptions } from '../../src/drivers/model.ts';
import type { Source } from '../../src/drivers/source.ts';

/** A schema of its own on a real server, and what the suite needs to know of the server's SQL. */
export type SourcePlace = {
  /** Opens the driver; `more` replaces parameters. */
  open(more?: Params): Promise<Source>;
  readonly schema: string;
  /** The password among the parameters, which no message may hold. */
  readonly password: string;
  /** Runs one statement with the schema as default; rows as text. */
  sql(statement: string): Promise<(string | null)[][]>;
  /** Quotes an identifier. */
  quote(name: string): string;
  /** A text literal of any characters. */
  literal(text: string): string;
  /** A text type without practical limit, that can't be a key. */
  readonly longText: string;
  /** Sessions of the driver on the server now, the tests' own not counted. */
  sessions(): Promise<number>;
  stop(): Promise<void>;
};

/** Texts that some layer on the way might take for something else. */
export const hostileTexts: readonly string[] = [
  '',
  ' ',
  'a\tb',
  'a\nb',
  'a\r\nb',
  'a\\b',
  '\\N',
  'NULL',
  '\\.',
  "it's",
  'a\bb\fc\vd',
  '\\f \\v \\\\f',
  '😀𝄞漢ü',
];

/** What every source promises, whatever server it is (contract: `Source`). */
export function testSource(
  name: string,
  start: () => Promise<SourcePlace>,
  /** `captures` false: there is no change log, so that positions are '' and nothing tells commit times. `scale`: of the rows. */
  { captures = true, scale = 1 }: { captures?: boolean; scale?: number } = {},
): void {
  describe(`a source on ${name}`, () => {
    let place: SourcePlace;
    let source: Source;
    const q = (word: string) => place.quote(word);
    const described = (table: string, options: TableOptions = {}) => describeOne(source, place.schema, table, options);

    beforeAll(async () => {
      place = await start();
      source = await place.open();
    });
    afterAll(async () => {
      await source[Symbol.asyncDispose]();
      for (let tries = 0; (await place.sessions()) > 0; tries++) {
        if (tries > 100) throw new Error('the closed source left sessions behind');
        await delay(50);
      }
      await place.stop();
    });

    test.runIf(captures)(
      'tells the time of commits, whatever the time zones; this machine is the server’s',
      async () => {
        const before = Date.now();
        const there = (await source.clock?.()) ?? Number.NaN;
        expect(there).toBeGreaterThanOrEqual(before - 5);
        expect(there).toBeLessThanOrEqual(Date.now() + 5);
      },
    );

    describe('catalog', () => {
      test('lists schemas and tables in order; null for a schema that does not exist', async () => {
        for (const table of ['b_listed', 'A_listed', 'a_listed'])
          await place.sql(`create table ${q(table)} (id int primary key)`);
        const schemas = await source.schemas();
        expect(schemas).toContain(place.schema);
        expect(schemas).toEqual([...schemas].sort());
        const names = (await source.tables(place.schema))?.map((table) => table.name) ?? [];
        expect(names).toEqual(expect.arrayContaining(['A_listed', 'a_listed', 'b_listed']));
        expect(names).toEqual([...names].sort());
        expect(await source.tables('no such schema')).toBeNull();
      });

      test('describes in the order asked; what is missing or refused is an error entry, the others stand', async () => {
        await place.sql('create table known (id int primary key, note varchar(20))');
        const answers = await source.describe([
          { ref: { schema: place.schema, name: 'gone' }, options: {} },
          { ref: { schema: place.schema, name: 'known' }, options: {} },
          { ref: { schema: 'no such schema', name: 'known' }, options: {} },
          { ref: { schema: place.schema, name: 'known' }, options: { key: ['note'] } },
          { ref: { schema: place.schema, name: 'known' }, options: { mask: ['id'] } },
          { ref: { schema: place.schema, name: 'known' }, options: { types: { note: 'NONSENSE' } } },
        ]);
        expect(answers.map((answer) => ('table' in answer ? answer.table.ref.name : 'error'))).toEqual([
          'error',
          'known',
          'error',
          'error',
          'error',
          'error',
        ]);
        for (const answer of answers)
          if ('error' in answer)
            expect(answer.error).toMatchObject({
              message: expect.stringMatching(/.{10}/),
              action: expect.stringMatching(/.{5}/),
            });
      });

      test('the structure changes with DDL, and not with rows', async () => {
        await place.sql('create table shaped (id int primary key, a int, b int)');
        const first = (await described('shaped')).structure;
        await place.sql('insert into shaped values (1, 2, 3)');
        expect((await described('shaped')).structure).toBe(first);
        await place.sql('alter table shaped add c int');
        const second = (await described('shaped')).structure;
        expect(second).not.toBe(first);
        await place.sql('alter table shaped drop column c');
        expect((await described('shaped')).columns.map((column) => column.name)).toEqual(['id', 'a', 'b']);
      });
    });

    describe('rows', () => {
      test('an empty table has a range and no rows', async () => {
        await place.sql('create table empty_one (id int primary key)');
        const table = await described('empty_one');
        const split = await source.split(table, undefined, 1000);
        expect(split.ranges.length).toBeGreaterThan(0);
        expect(await readAll(source, table)).toEqual([]);
      });

      test('every hostile text arrives as it is; an empty text is not NULL', async () => {
        const values = hostileTexts;
        await place.sql(`create table hostile (id int primary key, body ${place.longText})`);
        const rows = values.map((value, index) => `(${index}, ${place.literal(value)})`);
        await place.sql(`insert into hostile values ${rows.join(', ')}, (99, null)`);
        const read = await readAll(source, await described('hostile'));
        const found = new Map(read.map(([id, body]) => [Number(id), body]));
        for (const [index, value] of values.entries()) expect(found.get(index)).toBe(value);
        expect(found.get(99)).toBeNull();
      });

      test.each([
        [
          'composite key',
          'create table %t (a int, b int, c int, primary key (a, b))',
          (i: number) => `${i % 7}, ${i}, ${i * 3}`,
        ],
        [
          'text key',
          'create table %t (a varchar(40) primary key, b int, c int)',
          (i: number) => `'k${(i * 7919) % 10007}', ${i}, ${i * 3}`,
        ],
        ['no key', 'create table %t (a int, b int, c int)', (i: number) => `${i % 7}, ${i}, ${i * 3}`],
      ])('ranges hold every row exactly once: %s', async (kind, ddl, values) => {
        const table = `ranged_${kind.replace(' ', '_')}`;
        await place.sql(ddl.replace('%t', table));
        for (let from = 0; from < 6000 * scale; from += 1000)
          await place.sql(
            `insert into ${table} values ${Array.from({ length: 1000 }, (_, i) => `(${values(from + i)})`).join(', ')}`,
          );
        const read = await readAll(source, await described(table), { chunkBytes: 40_000 * scale });
        const expected = await place.sql(`select a, b, c from ${table}`);
        expect(sorted(read)).toEqual(sorted(expected));
      });

      test('concurrent updates and inserts lose no key that was there all the time', async () => {
        await place.sql(`create table busy (id int primary key, pad ${place.longText})`);
        const pad = 'x'.repeat(200);
        for (let from = 0; from < 4000 * scale; from += 1000)
          await place.sql(
            `insert into busy values ${Array.from({ length: 1000 }, (_, i) => `(${from + i}, '${pad}')`).join(', ')}`,
          );
        const table = await described('busy');
        const split = await source.split(table, undefined, 100_000 * scale);
        expect(split.ranges.length).toBeGreaterThan(3);
        const seen = new Set<number>();
        for (const [index, range] of split.ranges.entries()) {
          await place.sql(`update busy set pad = '${index}${pad}' where id % 3 = ${index % 3}`);
          await place.sql(`insert into busy values (${100_000 + index}, 'late')`);
          const ids = (await readRange(source, table, range)).rows.map((row) => Number(row[0]));
          if (!split.replace) for (const id of ids) expect(seen.has(id)).toBe(false);
          for (const id of ids) seen.add(id);
        }
        for (let id = 0; id < 4000 * scale; id++) expect(seen.has(id)).toBe(true);
      });

      test('where selects, in every range, even with a comment at its end', async () => {
        await place.sql('create table picked (id int primary key, kind int)');
        await place.sql(
          `insert into picked values ${Array.from({ length: 500 }, (_, i) => `(${i}, ${i % 5})`).join(', ')}`,
        );
        const where = 'kind = 1 or kind = 2 -- both';
        const read = await readAll(source, await described('picked', { where }), { where, chunkBytes: 4000 });
        expect(read).toHaveLength(200);
      });

      test('a masked column leaves no value', async () => {
        await place.sql('create table masked (id int primary key, secret varchar(20) not null)');
        await place.sql("insert into masked values (1, 'hidden'), (2, 'hidden')");
        const table = await described('masked', { mask: ['secret'] });
        expect(table.columns[1]).toMatchObject({ masked: true, nullable: true, type: { kind: 'varchar', length: 1 } });
        const [range] = (await source.split(table, undefined, 1_000_000)).ranges;
        const { rows } = await readRange(source, table, range as string);
        expect(rows.map((row) => row[1])).toEqual([null, null]);
      });

      test('names that only quoting makes possible', async () => {
        const odd = [
          'select',
          'Two Words',
          'dot.ted',
          'quo"te',
          "apo'strophe",
          'back`tick',
          'Ünïcödé',
          'hy-phen',
          'count(*)',
        ];
        for (const [index, word] of odd.entries()) {
          await place.sql(`create table ${q(word)} (${q(word)} int primary key, ${q(`${word}2`)} int)`);
          await place.sql(`insert into ${q(word)} values (${index}, 7)`);
          const table = await described(word);
          expect(table.key).toEqual([word]);
          expect(await readAll(source, table)).toEqual([[String(index), '7']]);
        }
      });
    });

    describe('ends', () => {
      async function bigTable(): Promise<Table> {
        await place.sql(`create table if not exists big (id int primary key, pad ${place.longText})`);
        if ((await place.sql('select 1 from big where id = 1')).length === 0)
          for (let from = 0; from < 40_000 * scale; from += 1000)
            await place.sql(
              `insert into big values ${Array.from({ length: 1000 }, (_, i) => `(${from + i}, '${'y'.repeat(500)}')`).join(', ')}`,
            );
        return described('big');
      }

      test('an abort in the middle throws, and leaves no session at work', async () => {
        const table = await bigTable();
        await using other = await place.open();
        const before = await place.sessions();
        const stopping = new AbortController();
        const [range] = (await other.split(table, undefined, 1e12)).ranges;
        const batches = other.read(table, undefined, range as string, stopping.signal);
        expect((await batches.next()).done).toBe(false);
        stopping.abort(new Error('stop it'));
        await expect(
          (async () => {
            for await (const _ of batches);
          })(),
        ).rejects.toThrow('stop it');
        await expect.poll(() => place.sessions(), { timeout: 5000 }).toBeLessThanOrEqual(before + 1);
        // The source is fit for use afterwards.
        expect(await readAll(other, await describeOne(other, place.schema, 'big'), { where: 'id < 3' })).toHaveLength(
          3,
        );
      });

      test('leaving the loop early ends the query', async () => {
        const table = await bigTable();
        const [range] = (await source.split(table, undefined, 1e12)).ranges;
        for await (const batch of source.read(table, undefined, range as string, new AbortController().signal)) {
          expect(batch.data.length).toBeGreaterThan(0);
          break;
        }
        expect(await readAll(source, table, { where: 'id = 5' })).toHaveLength(1);
      });

      test('a slow consumer holds the server back', async () => {
        const table = await bigTable();
        const [range] = (await source.split(table, undefined, 1e12)).ranges;
        const batches = source.read(table, undefined, range as string, new AbortController().signal);
        let rows = 0;
        let largest = 0;
        for (;;) {
          const next = await batches.next();
          if (next.done) break;
          rows += next.value.rows;
          largest = Math.max(largest, next.value.data.length);
          await delay(5);
        }
        expect(rows).toBe(40_000 * scale);
        expect(largest).toBeLessThan(4_000_000);
      });
    });

    describe('position', () => {
      test('begin can be repeated, end and remove too', async () => {
        await place.sql('create table followed (id int primary key, v int)');
        const tables = [{ schema: place.schema, name: 'followed' }];
        const signal = new AbortController().signal;
        const pipeline = `s${Date.now().toString(36)}`;
        try {
          const first = await source.begin(pipeline, `${pipeline}_1`, tables, () => {}, signal);
          const again = await source.begin(pipeline, `${pipeline}_1`, tables, () => {}, signal);
          expect(again.identity).toBe(first.identity);
          expect(again.slot).toBe(first.slot);
          expect(again.position).toMatch(captures ? /./ : /^$/);
          await source.end(`${pipeline}_1`);
          await source.end(`${pipeline}_1`);
        } finally {
          await source.remove(pipeline);
          await source.remove(pipeline);
        }
      });

      test.runIf(captures)('the written end moves with what is written', async () => {
        await place.sql('create table moving (id int primary key)');
        const before: Position = await source.written();
        await place.sql('insert into moving values (1)');
        expect(await source.written()).not.toBe(before);
      });
    });

    test('a wrong password is AccessDenied, and no message holds it', async () => {
      const wrong = `${place.password}-wrong`;
      const error = await place.open({ pwd: wrong }).then(
        () => undefined,
        (thrown: unknown) => thrown as Error & { action: string },
      );
      expect(error?.name).toBe('AccessDenied');
      expect(JSON.stringify([error?.message, error?.action, error?.stack, error?.cause])).not.toContain(place.password);
    });

    test('preflight finds nothing to refuse on a server that is set up', async () => {
      await place.sql('create table checked (id int primary key)');
      for (const tables of [[], [{ schema: place.schema, name: 'checked' }]])
        expect((await source.preflight(tables)).filter((finding) => finding.severity === 'error')).toEqual([]);
    });
  });
}

/** One described table; throws what refused it. */
export async function describeOne(
  source: Source,
  schema: string,
  name: string,
  options: TableOptions = {},
): Promise<Table> {
  const [described] = await source.describe([{ ref: { schema, name }, options }]);
  if (!described || 'error' in described) throw new Error(described?.error.message ?? 'nothing was described');
  return described.table;
}

type Row = (string | null)[];

/** All rows of all ranges. */
export async function readAll(
  source: Source,
  table: Table,
  { where, chunkBytes = 1_000_000 }: { where?: string; chunkBytes?: number } = {},
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const range of (await source.split(table, where, chunkBytes)).ranges) {
    expect(Buffer.byteLength(range)).toBeLessThanOrEqual(4096);
    rows.push(...(await readRange(source, table, range, where)).rows);
  }
  return rows;
}

/** The rows of one range as LOAD DATA would store them, the counts checked. */
export async function readRange(
  source: Source,
  table: Table,
  range: string,
  where?: string,
): Promise<{ rows: Row[]; read: ChunkRead }> {
  const parts: Buffer[] = [];
  let counted = 0;
  const batches = source.read(table, where, range, new AbortController().signal);
  for (;;) {
    const next = await batches.next();
    if (next.done) {
      const rows = parseLoadText(Buffer.concat(parts));
      expect(rows.length).toBe(counted);
      expect(next.value.rows).toBe(counted);
      return { rows, read: next.value };
    }
    parts.push(Buffer.from(next.value.data));
    counted += next.value.rows;
  }
}

const LETTERS: Readonly<Record<string, string>> = { 0: '\0', b: '\b', n: '\n', r: '\r', t: '\t', Z: '\x1a' };

/** LOAD DATA's default format as the MySQL manual states it; UTF-8. */
export function parseLoadText(text: Buffer): Row[] {
  if (text.length === 0) return [];
  const lines = text.toString('utf8').split(/(?<=(?<!\\)(?:\\\\)*)\n/);
  expect(lines.pop()).toBe('');
  return lines.map((line) =>
    line
      .split(/(?<=(?<!\\)(?:\\\\)*)\t/)
      .map((field) =>
        field === '\\N' ? null : field.replace(/\\(.)/gs, (_, letter: string) => LETTERS[letter] ?? letter),
      ),
  );
}

function sorted(rows: readonly (readonly (string | null)[])[]): string[] {
  return rows.map((row) => JSON.stringify(row)).sort();
}
