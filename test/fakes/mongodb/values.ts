import { BSON } from 'mongodb';

/** Values in the order of MongoDB (https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/), and filters over them. */

/** The place of a value's type among the types. */
export function bracket(value: unknown): number {
  if (value instanceof BSON.MinKey) return 0;
  if (value === null || value === undefined) return 1;
  if (value instanceof BSON.Timestamp) return 10;
  if (
    typeof value === 'number' ||
    value instanceof BSON.Int32 ||
    value instanceof BSON.Double ||
    BSON.Long.isLong(value) ||
    value instanceof BSON.Decimal128
  )
    return 2;
  if (typeof value === 'string' || value instanceof BSON.BSONSymbol) return 3;
  if (value instanceof BSON.Binary) return 6;
  if (value instanceof BSON.ObjectId) return 7;
  if (typeof value === 'boolean') return 8;
  if (value instanceof Date) return 9;
  if (value instanceof BSON.MaxKey) return 15;
  if (Array.isArray(value)) return 5;
  return 4;
}

const NAMES: Readonly<Record<number, readonly string[]>> = {
  0: ['minKey'],
  1: ['null', 'undefined'],
  2: ['int', 'long', 'double', 'decimal', 'number'],
  3: ['string', 'symbol'],
  4: ['object'],
  5: ['array'],
  6: ['binData'],
  7: ['objectId'],
  8: ['bool'],
  9: ['date'],
  10: ['timestamp'],
  15: ['maxKey'],
};

function number(value: unknown): number {
  if (value instanceof BSON.Int32 || value instanceof BSON.Double) return value.value;
  return Number(String(value));
}

export function compare(a: unknown, b: unknown): number {
  const [x, y] = [bracket(a), bracket(b)];
  if (x !== y) return x - y;
  switch (x) {
    case 2: {
      const [m, n] = [number(a), number(b)];
      if (Number.isNaN(m) || Number.isNaN(n)) return (Number.isNaN(n) ? 1 : 0) - (Number.isNaN(m) ? 1 : 0);
      return m - n;
    }
    case 3:
      return Buffer.compare(Buffer.from(String(a)), Buffer.from(String(b)));
    case 4: {
      const [left, right] = [Object.entries(a as object), Object.entries(b as object)];
      for (let i = 0; i < Math.min(left.length, right.length); i++) {
        const [m, n] = [left[i] as [string, unknown], right[i] as [string, unknown]];
        const order =
          bracket(m[1]) - bracket(n[1]) || Buffer.compare(Buffer.from(m[0]), Buffer.from(n[0])) || compare(m[1], n[1]);
        if (order !== 0) return order;
      }
      return left.length - right.length;
    }
    case 6: {
      const [m, n] = [a as BSON.Binary, b as BSON.Binary];
      return (
        m.length() - n.length() ||
        m.sub_type - n.sub_type ||
        Buffer.compare(Buffer.from(m.value()), Buffer.from(n.value()))
      );
    }
    case 7:
      return Buffer.compare(Buffer.from((a as BSON.ObjectId).id), Buffer.from((b as BSON.ObjectId).id));
    case 8:
      return Number(a) - Number(b);
    case 9:
      return (a as Date).getTime() - (b as Date).getTime();
    case 10:
      return (a as BSON.Timestamp).comp(b as BSON.Timestamp);
    default:
      return 0;
  }
}

/** Whether a document matches a filter; operators compare within one bracket only, and nothing but NaN is like NaN. */
export function matches(document: BSON.Document, filter: BSON.Document): boolean {
  return Object.entries(filter).every(([name, wanted]) => {
    if (name === '$or') return (wanted as BSON.Document[]).some((one) => matches(document, one));
    if (name === '$and') return (wanted as BSON.Document[]).every((one) => matches(document, one));
    if (name.startsWith('$')) throw new Error(`unknown operator ${name}`);
    const value = name
      .split('.')
      .reduce<unknown>((inside, part) => (inside as BSON.Document | undefined | null)?.[part], document);
    if (isOperators(wanted))
      return Object.entries(wanted).every(([operator, operand]) => test(value, operator, operand));
    return compare(value, wanted) === 0;
  });
}

function isOperators(value: unknown): value is BSON.Document {
  return value !== null && typeof value === 'object' && Object.keys(value).some((name) => name.startsWith('$'));
}

function test(value: unknown, operator: string, operand: unknown): boolean {
  const same = bracket(value) === bracket(operand);
  const nan =
    bracket(value) === 2 && Number.isNaN(number(value)) !== (bracket(operand) === 2 && Number.isNaN(number(operand)));
  switch (operator) {
    case '$eq':
      return compare(value, operand) === 0;
    case '$ne':
      return compare(value, operand) !== 0;
    case '$in':
      return (operand as unknown[]).some((one) => compare(value, one) === 0);
    case '$gte':
      return same && !nan && compare(value, operand) >= 0;
    case '$gt':
      return same && !nan && compare(value, operand) > 0;
    case '$lt':
      return same && !nan && compare(value, operand) < 0;
    case '$lte':
      return same && !nan && compare(value, operand) <= 0;
    case '$exists':
      return (value !== undefined) === Boolean(operand);
    case '$type':
      return [operand].flat().some((name) => NAMES[bracket(value)]?.includes(String(name)));
    default:
      throw new Error(`unknown operator ${operator}`);
  }
}
