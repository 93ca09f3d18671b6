/** Values as the engine holds them (dates, decimals and the like as text), and what CONVERT makes of them. */

export type Stored = string | number | bigint | Uint8Array | null;
type Variant = { readonly t: string; readonly v: string | number };

/** A `sql_variant` as it is stored. */
export function variant(t: string, v: string | number): string {
  return JSON.stringify({ t, v } satisfies Variant);
}

export function variantOf(value: Stored): Variant {
  return JSON.parse(String(value)) as Variant;
}

export function convert(target: string, source: string, value: Stored, style: number | null): Stored {
  if (value === null) return null;
  const [, word = '', size = ''] = /^(\w+)(?:\((\w+))?/.exec(target) ?? [null, target];
  if (source === 'sql_variant') {
    const { t, v } = variantOf(value);
    return convert(target, t, v, style);
  }
  switch (word) {
    case 'nvarchar':
    case 'varchar':
    case 'nchar':
    case 'char': {
      const text = textOf(source, value);
      return size === '' || size === 'max' ? text : text.slice(0, Number(size));
    }
    case 'binary':
    case 'varbinary':
      return bytesOf(source, value);
    case 'int':
    case 'bigint':
    case 'smallint':
    case 'tinyint':
      return BigInt(value instanceof Uint8Array ? 0 : value);
    case 'float':
    case 'real':
      return Number(value);
    case 'datetime2':
    case 'datetimeoffset':
    case 'time':
      return typeof value === 'string' && size !== '' && source !== ''
        ? textOf(`${word}(${size})`, value)
        : String(value);
    default:
      return value;
  }
}

/** Any value as text, as styles 2, 23, 120 and 121 print it. */
export function textOf(source: string, value: Stored): string {
  const [, word = '', first = '', second = ''] = /^(\w+)(?:\((\w+)(?:,(\d+))?)?/.exec(source) ?? [];
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex').toUpperCase();
  const text = String(value);
  switch (word) {
    case 'decimal':
    case 'numeric':
      return scaled(text, Number(second || 0));
    case 'money':
    case 'smallmoney':
      return scaled(text, 4);
    case 'char':
    case 'nchar':
      return text.padEnd(Number(first || 1));
    case 'datetime':
      return fraction(text, 3);
    case 'datetime2':
    case 'time':
      return fraction(text, Number(first || 7));
    case 'datetimeoffset': {
      const [, moment = '', offset = '+00:00'] = /^(.*?)(?: ([+-]\d\d:\d\d))?$/.exec(text) ?? [];
      return `${fraction(moment, Number(first || 7))} ${offset}`;
    }
    default:
      return text;
  }
}

function scaled(text: string, scale: number): string {
  const [whole = '0', part = ''] = text.split('.');
  return scale === 0 ? whole : `${whole}.${part.padEnd(scale, '0').slice(0, scale)}`;
}

function fraction(text: string, digits: number): string {
  const full = text.includes(':') ? text : `${text} 00:00:00`;
  const [whole = '', part = ''] = full.split('.');
  return digits === 0 ? whole : `${whole}.${part.padEnd(digits, '0').slice(0, digits)}`;
}

function bytesOf(source: string, value: Stored): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const made = Buffer.alloc(source === 'real' ? 4 : 8);
  if (source === 'real') made.writeFloatBE(Number(value));
  else if (source === 'float') made.writeDoubleBE(Number(value));
  else if (typeof value === 'string') return Buffer.from(value.replace(/^0x/, ''), 'hex');
  else made.writeBigInt64BE(BigInt(value ?? 0));
  return made;
}

/** A `datetimeoffset` in UTC, without its offset. */
export function toUtc(value: Stored): Stored {
  if (value === null) return null;
  const [, date = '', time = '', digits = '', sign = '+', h = '00', m = '00'] =
    /^(\S+) (\d\d:\d\d:\d\d)(\.\d+)?(?: ([+-])(\d\d):(\d\d))?$/.exec(String(value)) ?? [];
  const shift = (Number(h) * 60 + Number(m)) * 60_000 * (sign === '-' ? -1 : 1);
  return new Date(Date.parse(`${date}T${time}Z`) - shift).toISOString().slice(0, 19).replace('T', ' ') + digits;
}
