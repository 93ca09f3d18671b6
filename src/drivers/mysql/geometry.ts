/**
 * Geometries as MySQL and MariaDB keep them (4 bytes SRID, then WKB), in rows and in the binlog alike, turned into text here because the
 * servers' own functions differ in spelling, axis order and precision. The text is WKT with x (longitude) first, whatever the reference
 * system says; `SRID=n;` goes in front where n is not 0.
 */

const NAMES = [
  '',
  'POINT',
  'LINESTRING',
  'POLYGON',
  'MULTIPOINT',
  'MULTILINESTRING',
  'MULTIPOLYGON',
  'GEOMETRYCOLLECTION',
] as const;

/** The text of one stored geometry. Throws a RangeError for bytes that are none. */
export function geometryText(value: Buffer): string {
  const srid = value.readUInt32LE(0);
  const cursor = { value, at: 4, little: true };
  const text = geometry(cursor);
  if (cursor.at !== value.length) throw new RangeError('trailing bytes after a geometry');
  return srid === 0 ? text : `SRID=${srid};${text}`;
}

type Cursor = { readonly value: Buffer; at: number; little: boolean };

function geometry(cursor: Cursor): string {
  const type = header(cursor);
  const name = NAMES[type];
  if (!name) throw new RangeError(`unknown geometry type ${type}`);
  return `${name}${body(cursor, type)}`;
}

/** Byte order and type of a geometry or of a part of one. */
function header(cursor: Cursor): number {
  cursor.little = cursor.value.readUInt8(cursor.at) === 1;
  cursor.at += 1;
  return count(cursor);
}

function body(cursor: Cursor, type: number): string {
  switch (type) {
    case 1:
      return `(${point(cursor)})`;
    case 2:
      return list(cursor, () => point(cursor));
    case 3:
      return list(cursor, () => list(cursor, () => point(cursor)));
    case 7:
      return list(cursor, () => geometry(cursor));
    default:
      // Parts of a multi-geometry repeat byte order and type, but are written without their names.
      return list(cursor, () => body(cursor, header(cursor)));
  }
}

function list(cursor: Cursor, item: () => string): string {
  const length = count(cursor);
  if (length === 0) return ' EMPTY';
  const items: string[] = [];
  for (let i = 0; i < length; i++) items.push(item());
  return `(${items.join(',')})`;
}

function point(cursor: Cursor): string {
  return `${double(cursor)} ${double(cursor)}`;
}

function count(cursor: Cursor): number {
  const { value, at, little } = cursor;
  cursor.at += 4;
  return little ? value.readUInt32LE(at) : value.readUInt32BE(at);
}

function double(cursor: Cursor): string {
  const { value, at, little } = cursor;
  cursor.at += 8;
  const number = little ? value.readDoubleLE(at) : value.readDoubleBE(at);
  return Object.is(number, -0) ? '-0' : String(number);
}
