import { expect, test } from 'vitest';
import { compareKeys, expectedText, type Family, storedText } from '../../scripts/compare/canonical.ts';

test.each<[Family, string | null, string | null, string | null]>([
  ['int', '42', '42', '42'],
  ['int', '00042', '42', '42'],
  ['decimal', '1.500', '1.5', '1.5'],
  ['decimal', '-0.00', '0', '0'],
  [
    'decimal',
    '123456789012345678901234567890.000000000000000001',
    '123456789012345678901234567890.000000000000000001',
    null,
  ],
  ['decimal', 'NaN', null, null],
  ['float', '0.1', '0.1', null],
  ['float', '1e-7', '1e-7', null],
  ['float', 'Infinity', null, null],
  ['bool', 'true', '1', null],
  ['bits', '1010', '10', null],
  ['padded', 'ab  ', 'ab', 'ab'],
  ['text', 'ab  ', 'ab  ', 'ab  '],
  ['bytes', '00FF', '00ff', '00ff'],
  ['datetime', '2020-01-02 03:04:05', '2020-01-02 03:04:05.000000', '2020-01-02 03:04:05.000000'],
  ['datetime', '2020-01-02 03:04:05.12', '2020-01-02 03:04:05.120000', '2020-01-02 03:04:05.120000'],
  ['datetime', 'infinity', '9999-12-31 23:59:59.999999', null],
  ['datetime', '10000-01-01 00:00:00', '9999-12-31 23:59:59.999999', null],
  ['datetime', '0044-03-15 12:00:00 BC', '1000-01-01 00:00:00.000000', null],
  ['datetime', '0000-00-00 00:00:00', '1000-01-01 00:00:00.000000', null],
  ['datetime', '0001-00-00 00:00:00', '1001-01-01 00:00:00.000000', null],
  ['date', '0999-12-31', '1999-12-31', null],
  ['date', '2020-00-00', '2020-01-01', null],
  ['json', '{"b": 1.0, "a": [1, null, "x"]}', '{"a":["\\u00001",null,"x"],"b":"\\u00001"}', null],
  ['json', '9007199254740993', '"\\u00009007199254740993"', null],
  ['json', '1e2', '"\\u0000100"', null],
  ['text', null, null, null],
])('%s %j', (family, text, expected, stored) => {
  expect(expectedText(family, text)).toBe(expected);
  if (stored !== null) expect(storedText(family, text)).toBe(stored);
});

test('the destination gets no repair: a zero date there is shown as it is', () => {
  expect(storedText('datetime', '0000-00-00 00:00:00')).toBe('0000-00-00 00:00:00.000000');
});

test('keys sort as servers sort them', () => {
  expect(['10', '9', '-1'].sort((a, b) => compareKeys('int', a, b))).toEqual(['-1', '9', '10']);
  expect(['10.5', '-2.25', '10.45'].sort((a, b) => compareKeys('decimal', a, b))).toEqual(['-2.25', '10.45', '10.5']);
  expect(['ä', 'Z', 'a', '𝄞', '￿'].sort((a, b) => compareKeys('text', a, b))).toEqual(['Z', 'a', 'ä', '￿', '𝄞']);
});
