import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Session } from '../../src/drivers/postgres/connection.ts';
import { copyOut } from '../../src/drivers/postgres/copy-out.ts';
import { fixEscapes } from '../../src/drivers/postgres/copy-text.ts';
import { specialOf, type Watched, watchSpecials } from '../../src/drivers/postgres/special-values.ts';
import { parseLoadText } from './source-suite.ts';

/** PostgreSQL's COPY text escapes, from its manual. */
const ESCAPES: Readonly<Record<string, string>> = {
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
};
const asCopy = (rows: readonly (readonly (string | null)[])[]): Buffer =>
  Buffer.from(
    rows
      .map(
        (row) =>
          `${row.map((field) => (field === null ? '\\N' : field.replace(/[\b\f\n\r\t\v\\]/g, (one) => ESCAPES[one] ?? one))).join('\t')}\n`,
      )
      .join(''),
  );
const field = fc.option(
  fc.string({
    unit: fc.constantFrom(
      '\\',
      '\f',
      '\v',
      'f',
      'v',
      'N',
      '\t',
      '\n',
      '\r',
      '\b',
      'a',
      '😀',
      '\x02',
      'NaN',
      'Infinity',
    ),
  }),
);
const rowsOf = (columns: number) =>
  fc.array(fc.array(field, { minLength: columns, maxLength: columns }), { minLength: 1, maxLength: 20 });

describe('escapes', () => {
  test('COPY text becomes load text of the same values', () => {
    fc.assert(
      fc.property(rowsOf(3), (rows) => {
        expect(parseLoadText(fixEscapes(asCopy(rows)))).toEqual(rows);
      }),
      { numRuns: 1000 },
    );
  });
  test('text without the two escapes is not copied', () => {
    const data = asCopy([['plain', null, 'back\\slash f v']]);
    expect(fixEscapes(data)).toBe(data);
  });
});

describe('special values', () => {
  const watched: readonly Watched[] = [
    { index: 1, name: 'n', special: 'infinite', key: false },
    { index: 2, name: 'd', special: 'date', key: false },
  ];
  const watcher = (refuse = false) => watchSpecials('s.t', watched, [{ index: 0, name: 'id' }], refuse);

  test('only watched fields change, wherever else the same bytes stand', () => {
    const value = fc.option(fc.constantFrom('NaN', 'Infinity', '-Infinity', '1', '-0.5'));
    const date = fc.option(
      fc.constantFrom(
        '2020-01-01',
        '\x02infinity',
        '\x02-infinity',
        '\x0212345-01-01',
        '\x020044-01-01 BC',
        '\x020099-02-03',
      ),
    );
    const becomes: Readonly<Record<string, string | null>> = {
      NaN: null,
      Infinity: null,
      '-Infinity': null,
      '\x02infinity': '9999-12-31',
      '\x02-infinity': '1000-01-01',
      '\x0212345-01-01': '9999-12-31',
      '\x020044-01-01 BC': '1000-01-01',
      '\x020099-02-03': '1099-02-03',
    };
    const row = fc.tuple(fc.nat().map(String), value, date, field);
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 50 }), (rows) => {
        const one = watcher();
        const expected = rows.map((fields) =>
          fields.map((text, index) =>
            index === 0 || index === 3 || text === null || !(text in becomes) ? text : becomes[text],
          ),
        );
        expect(parseLoadText(fixEscapes(one.apply(asCopy(rows))))).toEqual(expected);
        const count = rows
          .flatMap((fields) => fields.slice(1, 3))
          .filter((text) => text !== null && text in becomes).length;
        expect(one.uses().reduce((sum, use) => sum + use.count, 0)).toBe(count);
      }),
      { numRuns: 500 },
    );
  });

  test('rows without such values are not copied', () => {
    const data = asCopy([['1', '2', '2020-01-01', 'NaN']]);
    expect(watcher().apply(data)).toBe(data);
  });

  test('refused: the message names table, column and key', () => {
    expect(() =>
      watcher(true).apply(
        asCopy([
          ['1', '2', '2020-01-01', ''],
          ['7', 'NaN', null, ''],
        ]),
      ),
    ).toThrow(/s\.t .*NaN.*"n" \(id=7\)/);
  });

  test.each([
    ['date', '\x020400-02-29', '1400-02-28'],
    ['date', '\x020004-02-29', '1004-02-29'],
    ['date', '\x020001-01-01', '1001-01-01'],
    ['datetime', '\x020999-12-31 23:59:59.999999', '1999-12-31 23:59:59.999999'],
    ['datetime', '\x02294276-12-31 23:59:59', '9999-12-31 23:59:59.999999'],
    ['datetime', '\x024713-01-01 00:00:00 BC', '1000-01-01 00:00:00'],
  ] as const)('%s %s becomes %s', (kind, value, expected) => {
    expect(specialOf(kind, value)?.text).toBe(expected);
  });
});

describe('the wire', () => {
  type Query = { submit(connection: unknown): void; handleReadyForQuery(): void; handleError(error: Error): void };
  const message = (type: string, body: Buffer = Buffer.alloc(0)): Buffer => {
    const head = Buffer.alloc(5);
    head.write(type, 0, 'latin1');
    head.writeUInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
  };

  /** Plays a server that sends `bytes` in chunks of the given sizes; the fake parser ends the query at its Z or E message. */
  function play(bytes: Buffer, sizes: readonly number[]) {
    const forwarded: Buffer[] = [];
    let paused = false;
    let pauses = 0;
    const stream = Object.assign(new EventEmitter(), {
      pause: () => {
        paused = true;
        pauses++;
      },
      resume: () => {
        paused = false;
      },
    });
    let current: Query | undefined;
    stream.on('data', (chunk: Buffer) => {
      forwarded.push(chunk);
      const seen = Buffer.concat(forwarded);
      if (seen.includes('Z')) current?.handleReadyForQuery();
      else if (seen.includes('E')) current?.handleError(new Error('from the server'));
    });
    const session = {
      query(query: Query) {
        current = query;
        query.submit({
          stream,
          query: () => {
            let at = 0;
            let turn = 0;
            const next = (): void => {
              while (at < bytes.length && !paused) {
                const size = sizes.length === 0 ? bytes.length : (sizes[turn++ % sizes.length] as number);
                stream.emit('data', bytes.subarray(at, at + size));
                at += size;
              }
              if (at < bytes.length) setImmediate(next);
            };
            setImmediate(next);
          },
        });
      },
    } as unknown as Session;
    return { session, forwarded: () => Buffer.concat(forwarded), pauses: () => pauses };
  }

  test('rows come whole and in order, however the socket cuts them; the rest goes to the parser', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 10 }),
        async (rows, sizes) => {
          const bodies = rows.map((row) => Buffer.concat([row, Buffer.from('\n')]));
          const notice = message('N', Buffer.from('note'));
          const bytes = Buffer.concat([
            message('H', Buffer.from([0, 0, 0])),
            ...bodies.flatMap((row, index) => (index === 3 ? [notice, message('d', row)] : [message('d', row)])),
            message('c'),
            message('C', Buffer.from('COPY')),
            message('Z', Buffer.from('T')),
          ]);
          const { session, forwarded } = play(bytes, sizes);
          const found: Buffer[] = [];
          let count = 0;
          for await (const batch of copyOut(session, 'copy')) {
            found.push(Buffer.from(batch.data));
            count += batch.rows;
          }
          expect(Buffer.concat(found)).toEqual(Buffer.concat(bodies));
          expect(count).toBe(rows.length);
          expect(forwarded()).toEqual(
            Buffer.concat([
              ...(rows.length > 3 ? [notice] : []),
              message('C', Buffer.from('COPY')),
              message('Z', Buffer.from('T')),
            ]),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a row that is longer than a batch is a batch of its own; the socket is paused while batches wait', async () => {
    const long = Buffer.alloc(3_000_000, 'x');
    const short = Buffer.from('short\n');
    const bytes = Buffer.concat(
      [short, long, short, long, long].map((row) => message('d', row)).concat(message('Z', Buffer.from('I'))),
    );
    const { session, pauses } = play(bytes, [65_536]);
    const batches: [number, number][] = [];
    for await (const batch of copyOut(session, 'copy')) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      batches.push([batch.data.length, batch.rows]);
    }
    expect(batches).toEqual([
      [6, 1],
      [3_000_000, 1],
      [6, 1],
      [3_000_000, 1],
      [3_000_000, 1],
    ]);
    expect(pauses()).toBeGreaterThan(0);
  });

  test("the server's error in the middle is thrown after the rows before it", async () => {
    const { session } = play(Buffer.concat([message('d', Buffer.from('1\n')), message('E', Buffer.from('oops'))]), []);
    await expect(
      (async () => {
        for await (const _ of copyOut(session, 'copy'));
      })(),
    ).rejects.toThrow('from the server');
  });
});
