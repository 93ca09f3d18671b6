import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UnsupportedValue } from '../../src/drivers/errors.ts';
import { createFeed } from '../../src/drivers/mysql/raw-rows.ts';
import { createRowWriter } from '../../src/drivers/mysql/row-text.ts';
import type { Encoding, RowField } from '../../src/drivers/mysql/types.ts';

/** Packets as a server sends them, independent of the reader: lengths, sequence numbers, rows cut at 16 MB - 1. */
function packets(
  columns: number,
  rows: readonly (readonly (Buffer | null)[])[],
  end = Buffer.from([0xfe, 0, 0, 2, 0]),
): Buffer {
  const parts: Buffer[] = [];
  let sequence = 1;
  const packet = (body: Buffer) => {
    let at = 0;
    for (;;) {
      const part = body.subarray(at, at + 0xffffff);
      parts.push(Buffer.from([part.length & 255, (part.length >> 8) & 255, part.length >> 16, sequence++ & 255]), part);
      at += part.length;
      if (part.length < 0xffffff) return;
    }
  };
  packet(columns < 251 ? Buffer.from([columns]) : Buffer.from([252, columns & 255, columns >> 8]));
  for (let i = 0; i < columns; i++) packet(Buffer.from(`def column ${i}`));
  packet(Buffer.from([0xfe, 0, 0, 2, 0]));
  for (const row of rows) packet(Buffer.concat(row.map(field)));
  packet(end);
  return Buffer.concat(parts);
}

function field(value: Buffer | null): Buffer {
  if (value === null) return Buffer.from([251]);
  const { length } = value;
  if (length < 251) return Buffer.concat([Buffer.from([length]), value]);
  const head = Buffer.alloc(length < 65_536 ? 3 : length < 16_777_216 ? 4 : 9);
  head[0] = head.length === 3 ? 252 : head.length === 4 ? 253 : 254;
  head.writeUIntLE(length, 1, Math.min(head.length - 1, 6));
  return Buffer.concat([head, value]);
}

/** What the rows must become; written down a second time, plainly. */
function expected(rows: readonly (readonly (Buffer | null)[])[], encodings: readonly Encoding[]): string {
  const letters: Record<string, string> = { '\0': '0', '\t': 't', '\n': 'n', '\r': 'r', '\\': '\\' };
  const text = (value: Buffer | null, encoding: Encoding | undefined): string => {
    if (value === null) return '\\N';
    if (encoding === 'hex') return value.toString('hex').toUpperCase();
    const plain = value.toString('latin1');
    return encoding === 'text' ? plain.replace(/[\0\t\n\r\\]/g, (char) => `\\${letters[char]}`) : plain;
  };
  return rows.map((row) => `${row.map((value, i) => text(value, encodings[i])).join('\t')}\n`).join('');
}

function read(stream: Buffer, encodings: readonly Encoding[], cuts: (at: number) => number, refuse = false) {
  const batches: Buffer[] = [];
  let counted = 0;
  let final: Buffer | undefined;
  const keep = (batch: { data: Uint8Array; rows: number }) => {
    batches.push(Buffer.from(batch.data));
    counted += batch.rows;
  };
  const fields = encodings.map((encoding, i): RowField => ({ name: `c${i}`, encoding, key: i === 0 }));
  const writer = createRowWriter('s.t', fields, refuse, keep);
  const feed = createFeed(encodings.length, writer, (packet) => {
    final = packet;
  });
  for (let at = 0; at < stream.length; ) {
    const end = Math.min(stream.length, at + Math.max(1, cuts(at)));
    feed(Buffer.from(stream.subarray(at, end)));
    at = end;
  }
  const rest = writer.flush();
  if (rest) keep(rest);
  return {
    text: Buffer.concat(batches).toString('latin1'),
    counted,
    rows: writer.rows,
    final,
    uses: writer.uses(),
    batches,
  };
}

const value = fc.oneof(
  { weight: 6, arbitrary: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 2, arbitrary: fc.constant(null) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(249, 250, 251, 252, 255, 256, 4_000, 65_535, 65_536, 70_000)
      .map((n) => Buffer.alloc(n, 'a\t\\')),
  },
);

describe('rows of the text protocol', () => {
  test('become load text, however the network cuts them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom<Encoding>('text', 'text', 'hex'), { minLength: 1, maxLength: 6 }).chain((encodings) =>
          fc.record({
            encodings: fc.constant(encodings),
            rows: fc.array(fc.array(value, { minLength: encodings.length, maxLength: encodings.length }), {
              maxLength: 12,
            }),
            cut: fc.constantFrom(1, 2, 3, 5, 7, 64, 1_000, 65_536, 1_000_000),
          }),
        ),
        ({ encodings, rows, cut }) => {
          const stream = packets(encodings.length, rows);
          if (cut < 64 && stream.length > 50_000) return;
          const got = read(stream, encodings, () => cut);
          expect(got.text === expected(rows, encodings)).toBe(true);
          expect(got.counted).toBe(rows.length);
          expect(got.rows).toBe(rows.length);
          expect(got.final?.subarray(4)).toEqual(Buffer.from([0xfe, 0, 0, 2, 0]));
        },
      ),
      { numRuns: 400 },
    );
  });

  test('sequence numbers wrap, and a missing packet is noticed', () => {
    const rows = Array.from({ length: 700 }, (_, i) => [Buffer.from(`${i}`)]);
    const stream = packets(1, rows);
    expect(read(stream, ['plain'], () => 333).text).toBe(expected(rows, ['plain']));
    const gap = stream.indexOf('\n100'.slice(1), 1_000);
    expect(() =>
      read(Buffer.concat([stream.subarray(0, gap - 5), stream.subarray(gap + 3)]), ['plain'], () => 333),
    ).toThrow(/out of order/);
  });

  test('a cell over 16 MB goes through in pieces, also when it ends on a packet border', () => {
    const head = Buffer.from('head');
    for (const length of [0xffffff - 14, 0xffffff - 13, 2 * 0xffffff]) {
      const rows = [
        [head, Buffer.alloc(length, 'some words on a line\n')],
        [head, null],
      ];
      const got = read(packets(2, rows), ['text', 'text'], () => 65_536);
      expect(got.text === expected(rows, ['text', 'text'])).toBe(true);
      expect(Math.max(...got.batches.map((batch) => batch.length))).toBeLessThanOrEqual(262_144);
      expect(got.counted).toBe(2);
    }
  });

  test('an error packet ends the result and is handed on whole', () => {
    const error = Buffer.concat([Buffer.from([0xff, 0x15, 0x04]), Buffer.from('#28000denied')]);
    const got = read(packets(1, [[Buffer.from('1')]], error), ['plain'], () => 3);
    expect(got.final?.subarray(4)).toEqual(error);
    expect(got.text).toBe('1\n');
  });

  test('a result of another shape is refused', () => {
    expect(() => read(packets(2, []), ['plain'], () => 100)).toThrow(/columns/);
    expect(() => read(packets(1, [[Buffer.from('1'), Buffer.from('2')]]), ['plain'], () => 100)).toThrow(/match/);
    const wide = Buffer.alloc(70_000, 'w');
    expect(() => read(packets(1, [[wide, wide]]), ['text'], () => 100)).toThrow(/match/);
    expect(() => read(packets(2, [[wide]]), ['text', 'text'], () => 100)).toThrow();
  });

  test('an empty JSON text, which MySQL sends for one that is too large, is refused', () => {
    const [id, empty, wide] = [Buffer.from('1'), Buffer.alloc(0), Buffer.alloc(70_000, 'w')];
    expect(read(packets(2, [[id, null]]), ['text', 'json'], () => 9).text).toBe('1\t\\N\n');
    expect(() => read(packets(2, [[id, empty]]), ['text', 'json'], () => 99)).toThrow(/max_allowed_packet/);
    expect(() => read(packets(2, [[wide, empty]]), ['text', 'json'], () => 99)).toThrow(/max_allowed_packet/);
  });

  test('300 columns', () => {
    const rows = [Array.from({ length: 300 }, (_, i) => (i % 3 ? Buffer.from(`${i}`) : null))];
    const encodings = rows[0]?.map((): Encoding => 'text') ?? [];
    expect(read(packets(300, rows), encodings, () => 77).text).toBe(expected(rows, encodings));
  });
});

describe('date repair', () => {
  const rows = (...dates: string[]) => dates.map((date, i) => [Buffer.from(`${i + 1}`), Buffer.from(date)]);
  test.each([1, 9, 65_536])('is counted with examples that name the key, cut at %i', (cut) => {
    const input = rows('2020-01-01', '0000-00-00', '2021-05-00', '0999-12-31', '2021-00-10', '1999-12-31');
    const got = read(packets(2, input), ['plain', 'date'], () => cut);
    expect(got.text).toBe('1\t2020-01-01\n2\t1000-01-01\n3\t2021-05-01\n4\t1999-12-31\n5\t2021-01-10\n6\t1999-12-31\n');
    expect(got.uses).toEqual([
      {
        rule: 'date_repair',
        column: 'c1',
        count: 4,
        examples: ['c1: 0000-00-00 (c0=2)', 'c1: 2021-05-00 (c0=3)', 'c1: 0999-12-31 (c0=4)'],
      },
    ]);
  });

  test('is refused for a key, and where the user wants an error', () => {
    expect(() => read(packets(2, [[Buffer.from('0000-00-00'), null]]), ['date', 'plain'], () => 99)).toThrow(
      UnsupportedValue,
    );
    expect(() => read(packets(2, rows('0000-00-00')), ['plain', 'date'], () => 99, true)).toThrow(
      /s\.t\.c1 holds the date 0000-00-00/,
    );
  });

  test('works in a row that comes in pieces', () => {
    const wide = Buffer.alloc(80_000, 'w');
    const got = read(
      packets(3, [[Buffer.from('1'), Buffer.from('0001-02-00'), wide]]),
      ['plain', 'date', 'text'],
      () => 4_096,
    );
    expect(got.text).toBe(`1\t1001-02-01\t${wide}\n`);
    expect(got.uses[0]?.count).toBe(1);
  });
});
