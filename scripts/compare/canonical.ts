// One text per value, so that two databases can be compared cell by cell. `expectedText` applies the documented rules
// for values that the destination cannot represent and is for the source's side; `storedText` only normalises spelling.

/** How values of a column are compared. Decided by the source's type alone. */
export type Family =
  | 'int'
  | 'decimal'
  | 'float'
  | 'bool'
  | 'bits'
  | 'text'
  | 'padded'
  | 'bytes'
  | 'date'
  | 'datetime'
  | 'time'
  | 'json';

/** What the destination must hold for a value that the source prints like this. */
export function expectedText(family: Family, text: string | null): string | null {
  if (text === null) return null;
  if (family === 'date' || family === 'datetime') return storedText(family, representableDate(text, family));
  if (family === 'float' || family === 'decimal') return isNotFinite(text) ? null : storedText(family, text);
  if (family === 'bool') return text.startsWith('t') || text === '1' ? '1' : '0';
  if (family === 'bits') return BigInt(text === '' ? 0 : `0b${text}`).toString();
  return storedText(family, text);
}

/** A value as the destination prints it, freed of differences that mean nothing. */
export function storedText(family: Family, text: string | null): string | null {
  if (text === null) return null;
  switch (family) {
    case 'int':
    case 'bool':
    case 'bits':
    case 'decimal':
      return plainNumber(text);
    case 'float':
      return String(Number(text));
    case 'padded':
      return text.replace(/ +$/, '');
    case 'bytes':
      return text.toLowerCase();
    case 'datetime':
      return withFraction(text.length === 10 ? `${text} 00:00:00` : text);
    case 'time':
      return withFraction(text);
    case 'json':
      return plainJson(text);
    default:
      return text;
  }
}

/** Orders two canonical key texts of one family as `orderExpression` of either side sorts them. */
export function compareKeys(family: Family, one: string, other: string): number {
  if (one === other) return 0;
  if (family === 'int' || family === 'bool' || family === 'bits') return BigInt(one) < BigInt(other) ? -1 : 1;
  if (family === 'decimal') return compareDecimals(one, other);
  if (family === 'float') return Number(one) < Number(other) ? -1 : 1;
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

function isNotFinite(text: string): boolean {
  return /^[+-]?(nan|inf(inity)?)$/i.test(text);
}

function plainNumber(text: string): string {
  const match = /^([+-]?)0*(\d*)(?:\.(\d*?)0*)?(?:e([+-]?\d+))?$/i.exec(text);
  if (match === null) return text;
  if (match[4] !== undefined)
    return plainNumber(shiftPoint(match[1] ?? '', match[2] ?? '', match[3] ?? '', Number(match[4])));
  const whole = match[2] === '' || match[2] === undefined ? '0' : match[2];
  const fraction = match[3] === undefined || match[3] === '' ? '' : `.${match[3]}`;
  const number = `${whole}${fraction}`;
  return match[1] === '-' && number !== '0' ? `-${number}` : number;
}

function shiftPoint(sign: string, whole: string, fraction: string, exponent: number): string {
  const digits = whole + fraction;
  const point = whole.length + exponent;
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  return `${sign}${digits.slice(0, point).padEnd(point, '0')}.${digits.slice(point)}`;
}

function compareDecimals(one: string, other: string): number {
  const places = Math.max(...[one, other].map((text) => (text.split('.')[1] ?? '').length));
  const scaled = [one, other].map((text) => {
    const [whole, fraction = ''] = text.split('.');
    return BigInt(`${whole}${fraction.padEnd(places, '0')}`);
  }) as [bigint, bigint];
  return scaled[0] < scaled[1] ? -1 : 1;
}

function withFraction(text: string): string {
  const [seconds, fraction = ''] = text.split('.') as [string, string?];
  return `${seconds}.${fraction.padEnd(6, '0')}`;
}

/** The documented repairs, in their order: infinite and far dates, the zero date, years below 1000, month or day 00. */
function representableDate(text: string, family: 'date' | 'datetime'): string {
  const clock = family === 'date' ? ['', ''] : [' 00:00:00', ' 23:59:59.999999'];
  if (text === 'infinity' || /^\d{5,}-/.test(text)) return `9999-12-31${clock[1]}`;
  if (text === '-infinity' || text.endsWith(' BC')) return `1000-01-01${clock[0]}`;
  if (/^0000-00-00( 00:00:00(\.0+)?)?$/.test(text)) return `1000-01-01${clock[0]}`;
  const match = /^(\d{4})-(\d\d)-(\d\d)(.*)$/s.exec(text);
  if (match === null) return text;
  const [, year = '', month = '', day = '', rest = ''] = match;
  const repaired = Number(year) < 1000 ? String(Number(year) + 1000) : year;
  return `${repaired}-${month === '00' ? '01' : month}-${day === '00' ? '01' : day}${rest}`;
}

type Json = string | boolean | null | Json[] | { [key: string]: Json };

/** Same members, same order of array items, same numbers however they are written. */
function plainJson(text: string): string {
  const reviver = (_key: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' ? `\u0000${plainNumber(context?.source ?? String(value))}` : value;
  let parsed: Json;
  try {
    parsed = JSON.parse(text, reviver as (key: string, value: unknown) => unknown) as Json;
  } catch {
    return text;
  }
  return JSON.stringify(sorted(parsed));
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
