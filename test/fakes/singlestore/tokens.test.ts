import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { splitStatements, tokenize } from './tokens.ts';

const kinds = (sql: string) => tokenize(sql).map(({ kind, value }) => `${kind}:${value}`);

describe('tokenize', () => {
  test.each<[string, string[]]>([
    ["'it''s' \"a\\\"b\" 'tab\\t'", ["string:it's", 'string:a"b', 'string:tab\t']],
    ['`a``b`.c', ['identifier:a`b', 'operator:.', 'word:c']],
    [
      "1 1.5e-3 .5 0xFF x'AB' 2fa 2",
      ['number:1', 'number:1.5e-3', 'number:.5', 'number:0xFF', "number:x'AB'", 'word:2fa', 'number:2'],
    ],
    ['@@global.x @y @`a b`', ['variable:@@global.x', 'variable:@y', 'variable:@`a b`']],
    ['a :> INT !:> b <=> c', ['word:a', 'operator::>', 'word:INT', 'operator:!:>', 'word:b', 'operator:<=>', 'word:c']],
    ['a -- b\n, c # d\n /* e */ f', ['word:a', 'operator:,', 'word:c', 'word:f']],
    ['a--1', ['word:a', 'operator:-', 'operator:-', 'number:1']],
    ['SELECT /*!40101 x */ /*M!100100 y */ z', ['word:SELECT', 'word:x', 'word:z']],
    ['Straße x̂', ['word:Straße', 'word:x̂']],
  ])('%s', (sql, expected) => expect(kinds(sql)).toEqual(expected));

  test('a quoted word is no keyword', () => {
    expect(tokenize("`SELECT` 'SELECT' select").map((token) => token.word)).toEqual(['', '', 'SELECT']);
  });

  test('depth counts open parentheses', () => {
    expect(tokenize('a(b(c))d').map((token) => token.depth)).toEqual([0, 0, 1, 1, 2, 1, 0, 0]);
  });

  test('statements end at semicolons outside strings', () => {
    expect(splitStatements(tokenize("a; ';' ;; b")).map((tokens) => tokens.length)).toEqual([1, 1, 1]);
  });

  test('any text ends, in order and without overlap', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc
            .array(
              fc.constantFrom(
                "'",
                '"',
                '`',
                '\\',
                '/*',
                '*/',
                '--',
                '#',
                '@',
                '(',
                ')',
                'a',
                ' ',
                '\n',
                '1',
                '.',
                '/*!',
              ),
            )
            .map((parts) => parts.join('')),
        ),
        (text) => {
          let at = 0;
          for (const token of tokenize(text)) {
            expect(token.start).toBeGreaterThanOrEqual(at);
            expect(token.end).toBeGreaterThan(token.start);
            at = token.end;
          }
          expect(at).toBeLessThanOrEqual(text.length);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('any value survives quoting', () => {
    const quoted = (value: string) => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
    const named = (value: string) => `\`${value.replaceAll('`', '``')}\``;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.string({ unit: 'grapheme' }))), (values) => {
        const sql = values.map(([text, value]) => (text ? quoted(value) : named(value))).join(' , ');
        const found = tokenize(sql).filter((token) => token.kind !== 'operator');
        expect(found.map((token) => token.value)).toEqual(values.map(([, value]) => value));
      }),
      { numRuns: 1000 },
    );
  });

  test('white space and comments between tokens change nothing', () => {
    const token = fc.constantFrom('SELECT', '`a b`', "'x''y'", '12', '@@v', '(', ')', ',', '<=', ':>', 'ü');
    const gap = fc.constantFrom(' ', '\n', '\t', ' /* ; */ ', ' -- x\n', ' # y\n');
    fc.assert(
      fc.property(fc.array(fc.tuple(token, gap)), (parts) => {
        const spaced = parts.map(([text, between]) => text + between).join('');
        const plain = parts.map(([text]) => text).join(' ');
        expect(kinds(spaced)).toEqual(kinds(plain));
      }),
    );
  });

  test('a large INSERT is not held whole', () => {
    const sql = `INSERT INTO t VALUES ${"(1,'x'),".repeat(200_000)}(1,'0001-01-01') ON DUPLICATE KEY UPDATE a = 1`;
    const tokens = tokenize(sql);
    expect(tokens.length).toBeLessThan(900_000);
    expect(tokens.some((token) => token.value === '0001-01-01')).toBe(true);
    expect(tokens.at(-1)?.value).toBe('1');
  });
});
