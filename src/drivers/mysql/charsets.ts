import type { Connection } from './connection.ts';

/**
 * Text of the log is in its column's charset. What the server would make of it in utf8mb4 differs between servers and from the standards
 * (its sjis, big5, gb18030 have tables of their own), so the server itself is asked for its tables, once for each charset that occurs.
 */
export type Charsets = {
  /** The charset of a collation id of the log; undefined for an unknown one. */
  ofCollation(id: number): string | undefined;
  /** Whether a charset's table is there. */
  loaded(charset: string): boolean;
  /** null: the bytes are UTF-8 as they are. Throws an error for a charset that was not loaded. */
  decoder(charset: string): TextDecode | null;
  /** Gets a charset's table, if it is not there yet. */
  load(connection: Connection, charset: string): Promise<void>;
};

/** Turns the bytes of a value into UTF-8. */
export type TextDecode = (bytes: Buffer, start: number, end: number) => Buffer;

const UTF8: ReadonlySet<string> = new Set(['utf8', 'utf8mb3', 'utf8mb4', 'binary', '']);
const WIDE: ReadonlySet<string> = new Set(['ucs2', 'utf16', 'utf16le', 'utf32']);
const QUESTION = 63;

export async function readCharsets(connection: Connection): Promise<Charsets> {
  const collations = new Map<number, string>();
  const full = await connection.query(
    'select ID, CHARACTER_SET_NAME from information_schema.COLLATIONS where ID is not null and CHARACTER_SET_NAME is not null',
  );
  for (const [id, charset] of full) collations.set(Number(id), charset ?? '');
  if (connection.facts.product === 'MariaDB' && connection.facts.number >= 101_000) {
    // Collations that serve several charsets have their ids elsewhere.
    const more = await connection
      .query('select ID, CHARACTER_SET_NAME from information_schema.COLLATION_CHARACTER_SET_APPLICABILITY')
      .catch(() => []);
    for (const [id, charset] of more) if (id !== null) collations.set(Number(id), charset ?? '');
  }
  const widths = new Map(
    (await connection.query('select CHARACTER_SET_NAME, MAXLEN from information_schema.CHARACTER_SETS')).map(
      ([name, length]) => [name ?? '', Number(length)],
    ),
  );
  const decoders = new Map<string, TextDecode>();
  return {
    loaded: (charset) => UTF8.has(charset) || decoders.has(charset),
    ofCollation: (id) => collations.get(id),
    decoder(charset) {
      if (UTF8.has(charset)) return null;
      const decoder = decoders.get(charset);
      if (!decoder) throw new Error(`The table of the charset ${charset} was not loaded.`);
      return decoder;
    },
    async load(connection, charset) {
      if (UTF8.has(charset) || decoders.has(charset)) return;
      if (WIDE.has(charset)) decoders.set(charset, decodeWide(charset));
      else if ((widths.get(charset) ?? 1) === 1)
        decoders.set(charset, decodeSingle(await singles(connection, charset)));
      else decoders.set(charset, await multi(connection, charset, widths.get(charset) ?? 2));
    },
  };
}

/** The UTF-8 of each byte as the server converts it; null for a byte that is no character by itself. */
async function singles(connection: Connection, charset: string): Promise<(Buffer | null)[]> {
  const rows = await converted(connection, charset, '', 1);
  // MariaDB makes a question mark of a byte that only begins a character.
  return Array.from({ length: 256 }, (_, byte) =>
    rows.get(byte) === '3F' && byte !== QUESTION ? null : character(rows.get(byte)),
  );
}

/** Pairs or single bytes after a prefix, as the server converts them: hex by number. */
async function converted(
  connection: Connection,
  charset: string,
  prefix: string,
  bytes: 1 | 2,
): Promise<Map<number, string>> {
  const digits =
    '(select 0 as n union all select 1 union all select 2 union all select 3 union all select 4 union all select 5 union all select 6 union all select 7 union all select 8 union all select 9 union all select 10 union all select 11 union all select 12 union all select 13 union all select 14 union all select 15)';
  const names = ['a', 'b', 'c', 'd'].slice(0, bytes * 2);
  const sum = names.map((name, i) => `${name}.n * ${16 ** i}`).join(' + ');
  const from = names.map((name) => `${digits} as ${name}`).join(' cross join ');
  const value = `concat(x'${prefix}', unhex(lpad(hex(${sum}), ${bytes * 2}, '0')))`;
  const rows = await connection.query(
    `select ${sum}, hex(convert(convert(${value} using ${charset}) using utf8mb4)) from ${from}`,
  );
  return new Map(rows.flatMap(([number, hex]) => (hex === null || hex === undefined ? [] : [[Number(number), hex]])));
}

/** One character of UTF-8; null for none, or for more than one. */
function character(hex: string | undefined): Buffer | null {
  if (hex === undefined || hex === '') return null;
  const bytes = Buffer.from(hex, 'hex');
  const lead = bytes[0] as number;
  const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  return bytes.length === length ? bytes : null;
}

function decodeSingle(table: readonly (Buffer | null)[]): TextDecode {
  return (bytes, start, end) => {
    const out = Buffer.allocUnsafe((end - start) * 4);
    let at = 0;
    for (let p = start; p < end; p++) at = append(out, at, table[bytes[p] as number]);
    return out.subarray(0, at);
  };
}

function append(out: Buffer, at: number, character: Buffer | null | undefined): number {
  if (!character) out[at++] = QUESTION;
  else for (const byte of character) out[at++] = byte;
  return at;
}

/** A charset of one to four bytes a character: pairs by table, longer ones by table of what follows their first bytes. */
async function multi(connection: Connection, charset: string, widest: number): Promise<TextDecode> {
  const one = await singles(connection, charset);
  const pairs = await converted(connection, charset, '', 2);
  const two = Array.from({ length: 65_536 }, (_, pair) => character(pairs.get(pair)));
  /** Characters of three and four bytes by their number. */
  const longer = new Map<number, Buffer>();
  const keep = (rows: Map<number, string>, above: number) => {
    for (const [pair, hex] of rows) {
      const found = character(hex);
      if (found) longer.set(above + pair, found);
    }
  };
  if (widest === 3) keep(await converted(connection, charset, '8F', 2), 0x8f0000);
  if (widest === 4)
    for (let lead = 0x81; lead <= 0x84; lead++)
      for (let second = 0x30; second <= 0x39; second++)
        keep(
          await converted(connection, charset, Buffer.from([lead, second]).toString('hex'), 2),
          (lead * 256 + second) * 65_536,
        );
  return (bytes, start, end) => {
    const out = Buffer.allocUnsafe((end - start) * 4);
    let at = 0;
    for (let p = start; p < end; ) {
      const byte = bytes[p] as number;
      const alone = one[byte];
      // A byte that is a character by itself begins no other one.
      if (alone) {
        at = append(out, at, alone);
        p++;
        continue;
      }
      const next = p + 1 < end ? byte * 256 + (bytes[p + 1] as number) : -1;
      if (widest >= 3 && p + widest <= end) {
        let number = next;
        for (let i = 2; i < widest; i++) number = number * 256 + (bytes[p + i] as number);
        const found = longer.get(number) ?? (widest === 4 ? supplementary(bytes, p) : undefined);
        if (found) {
          at = append(out, at, found);
          p += widest;
          continue;
        }
      }
      const found = next < 0 ? null : two[next];
      if (found) p++;
      at = append(out, at, found);
      p++;
    }
    return out.subarray(0, at);
  };
}

/** Characters beyond U+FFFF stand in gb18030 in the order of their numbers, from 90 30 81 30 on. */
function supplementary(bytes: Buffer, p: number): Buffer | undefined {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(p, p + 4);
  if (a < 0x90 || a > 0xe3 || b < 0x30 || b > 0x39 || c < 0x81 || c > 0xfe || d < 0x30 || d > 0x39) return undefined;
  const code = 0x10000 + (((a - 0x90) * 10 + b - 0x30) * 126 + c - 0x81) * 10 + d - 0x30;
  return code > 0x10ffff ? undefined : Buffer.from(String.fromCodePoint(code));
}

function decodeWide(charset: string): TextDecode {
  const little = charset === 'utf16le';
  const unit = (bytes: Buffer, p: number) => (little ? bytes.readUInt16LE(p) : bytes.readUInt16BE(p));
  return (bytes, start, end) => {
    const out = Buffer.allocUnsafe((end - start) * 2 + 4);
    let at = 0;
    const width = charset === 'utf32' ? 4 : 2;
    for (let p = start; p + width <= end; p += width) {
      let code = width === 4 ? bytes.readUInt32BE(p) : unit(bytes, p);
      if (charset.startsWith('utf16') && code >= 0xd800 && code < 0xdc00 && p + 4 <= end) {
        code = 0x10000 + ((code - 0xd800) << 10) + unit(bytes, p + 2) - 0xdc00;
        p += 2;
      }
      at = appendCode(out, at, code);
    }
    return out.subarray(0, at);
  };
}

function appendCode(out: Buffer, at: number, code: number): number {
  if (code < 0x80) out[at++] = code;
  else if (code < 0x800) {
    out[at++] = 0xc0 | (code >> 6);
    out[at++] = 0x80 | (code & 63);
  } else if (code < 0x10000) {
    out[at++] = 0xe0 | (code >> 12);
    out[at++] = 0x80 | ((code >> 6) & 63);
    out[at++] = 0x80 | (code & 63);
  } else if (code > 0x10ffff) out[at++] = QUESTION;
  else {
    out[at++] = 0xf0 | (code >> 18);
    out[at++] = 0x80 | ((code >> 12) & 63);
    out[at++] = 0x80 | ((code >> 6) & 63);
    out[at++] = 0x80 | (code & 63);
  }
  return at;
}
