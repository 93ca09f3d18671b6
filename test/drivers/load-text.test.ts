import fc from 'fast-check';
import { expect, test } from 'vitest';
import { appendHex, appendNull, appendText, escapeText, findEscape, GROWTH } from '../../src/drivers/load-text.ts';

/** LOAD DATA's own reading of one field, written from the server's documentation and not from the code under test. */
function readField(field: Buffer): Buffer | null {
  if (field.toString('latin1') === '\\N') return null;
  const letters: Record<string, number> = { 0: 0, b: 8, n: 10, r: 13, t: 9, Z: 26 };
  const bytes: number[] = [];
  for (let i = 0; i < field.length; i++) {
    let byte = field[i] as number;
    if (byte === 92) {
      i++;
      byte = field[i] as number;
      byte = letters[String.fromCharCode(byte)] ?? byte;
    }
    bytes.push(byte);
  }
  return Buffer.from(bytes);
}

function written(source: Buffer): Buffer {
  const out = Buffer.alloc(source.length * GROWTH);
  return out.subarray(0, appendText(out, 0, source, 0, source.length));
}

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.array(fc.constantFrom(0, 8, 9, 10, 11, 12, 13, 26, 34, 39, 78, 92, 110, 255), { maxLength: 60 }),
);

test('any bytes come back through LOAD DATA as they were, and stay one field of one row', () => {
  fc.assert(
    fc.property(bytes, (value) => {
      const source = Buffer.from(value);
      const text = written(source);
      expect(readField(text)).toEqual(source);
      for (const separator of [0, 9, 10, 13]) expect(text.includes(separator)).toBe(false);
      expect(findEscape(text, 0, text.length) === text.length).toBe(!text.includes(92));
    }),
    { numRuns: 2_000 },
  );
});

test('appending keeps what stands before and writes no further than it says', () => {
  fc.assert(
    fc.property(bytes, fc.nat(20), fc.nat(20), (value, from, shift) => {
      const source = Buffer.from(value);
      const start = Math.min(from, source.length);
      const out = Buffer.alloc(shift + source.length * GROWTH + 8, 0xee);
      const end = appendText(out, shift, source, start, source.length);
      expect(readField(out.subarray(shift, end))).toEqual(source.subarray(start));
      expect(out.subarray(0, shift).every((byte) => byte === 0xee)).toBe(true);
      expect(out.subarray(end).every((byte) => byte === 0xee)).toBe(true);
    }),
  );
});

test.each([
  ['', ''],
  ['\\N', '\\\\N'],
  ['a\tb', 'a\\tb'],
  ['a\nb', 'a\\nb'],
  ['a\rb', 'a\\rb'],
  ['a\0b', 'a\\0b'],
  ['\x08\x0b\x0c\x1a', '\x08\x0b\x0c\x1a'],
  ['ü€𝄞', 'ü€𝄞'],
])('%j is written as %j', (value, text) => {
  expect(written(Buffer.from(value)).toString()).toBe(text);
  expect(escapeText(value)).toBe(text);
});

test('NULL is \\N and differs from every text', () => {
  const out = Buffer.alloc(2);
  expect(appendNull(out, 0)).toBe(2);
  expect(readField(out)).toBeNull();
  fc.assert(fc.property(bytes, (value) => readField(written(Buffer.from(value))) !== null));
});

test('hex is upper case, two digits a byte', () => {
  fc.assert(
    fc.property(bytes, (value) => {
      const source = Buffer.from(value);
      const out = Buffer.alloc(source.length * GROWTH);
      expect(appendHex(out, 0, source, 0, source.length)).toBe(out.length);
      expect(out.toString('latin1')).toBe(source.toString('hex').toUpperCase());
    }),
  );
});
