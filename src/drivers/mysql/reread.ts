import { setTimeout as sleep } from 'node:timers/promises';
import { TAB } from '../load-text.ts';
import type { Batch, ChunkRead, Position, RuleUse, Table } from '../model.ts';
import type { Opening } from './capture-start.ts';
import type { Connection } from './connection.ts';
import { comparePlaces, placeOf } from './log-place.ts';
import type { Pool } from './pool.ts';
import { decodePosition } from './position.ts';
import { EVERYTHING } from './range.ts';
import { rawRows } from './raw-rows.ts';
import { chunkSelect, rowFields } from './read.ts';
import { createRowWriter } from './row-text.ts';
import { quoteName } from './types.ts';

/** Up to where the rows must contain everything. */
export type RereadFrom = Opening & { readonly position: Position };

const KEYS_AT_ONCE = 1_000;
/** Statements stay below the smallest `max_allowed_packet` that servers come with. */
const STATEMENT_BYTES = 1_048_576;

/** Rows by key, seen by a snapshot that contains everything up to `from` (EXACTNESS.md §6); null: as they are now. */
export async function* rereadKeys(
  pool: Pool,
  table: Table,
  keys: readonly string[],
  from: RereadFrom | null,
  refuse: boolean,
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const rules: RuleUse[] = [];
  let rows = 0;
  for (const part of parts(keys)) {
    const wanted = new Set(part);
    const connection = await pool.take(signal);
    let whole = false;
    try {
      const lock = from && (await reach(connection, from, signal)) ? lockClause(from) : '';
      const sql = `${chunkSelect(table, keyCondition(table, part), EVERYTHING)}${lock}`;
      const fields = rowFields(table);
      const filter = createFilter(table, wanted);
      const name = `${table.ref.schema}.${table.ref.name}`;
      const read = rawRows(
        connection,
        sql,
        fields.length,
        (emit) => createRowWriter(name, fields, refuse, emit),
        signal,
      );
      for (;;) {
        const next = await read.next();
        if (next.done) {
          rules.push(...next.value.uses());
          break;
        }
        const kept = filter(next.value);
        next.value.release?.();
        if (!kept) continue;
        rows += kept.rows;
        yield kept;
      }
      await connection.query('rollback');
      whole = true;
    } finally {
      if (whole) pool.give(connection);
      else await pool.kill(connection);
    }
  }
  return { rows, rules };
}

function* parts(keys: readonly string[]): Generator<string[]> {
  let part: string[] = [];
  let bytes = 0;
  for (const key of keys) {
    if (part.length === KEYS_AT_ONCE || (part.length > 0 && bytes + key.length * 2 > STATEMENT_BYTES)) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(key);
    bytes += key.length * 2 + 50;
  }
  if (part.length > 0) yield part;
}

/** Waits until a snapshot of this session contains everything up to the position; true: the read itself must wait, by locks. */
async function reach(connection: Connection, from: RereadFrom, signal: AbortSignal): Promise<boolean> {
  const position = decodePosition(from.position);
  if (from.useGtids) {
    const set = (position?.gtid ?? '').replace(/[^0-9a-z_:,-]/gi, '');
    for (;;) {
      const [row] = await connection.query(`select gtid_subset('${set}', @@global.gtid_executed)`);
      if (row?.[0] === '1') return false;
      await sleep(20, undefined, { signal });
    }
  }
  if (connection.facts.product !== 'MariaDB') return true;
  const place = position ? placeOf(position) : undefined;
  for (;;) {
    await connection.query('start transaction with consistent snapshot');
    const rows = await connection.query("show status like 'binlog_snapshot_%'");
    const status = new Map(rows.map(([name, value]) => [(name ?? '').toLowerCase(), value ?? '']));
    const seen = {
      file: status.get('binlog_snapshot_file') ?? '',
      offset: Number(status.get('binlog_snapshot_position') ?? '0'),
    };
    if (!place || comparePlaces(seen, place) >= 0) return false;
    await connection.query('rollback');
    await sleep(20, undefined, { signal });
  }
}

function lockClause({ facts }: RereadFrom): string {
  return facts.number >= 80_022 ? ' for share' : ' lock in share mode';
}

/** `(a, b) in ((…), …)`, each value as a literal that the server compares by the column's own rules. */
function keyCondition(table: Table, keys: readonly string[]): string {
  const names = table.key.map(quoteName);
  const kinds = table.key.map((name) => keyKind(table, name));
  const rows = keys.map((key) => {
    const values = key.split('\t').map((text, i) => literal(text, kinds[i] ?? 'text'));
    return values.length === 1 ? (values[0] as string) : `(${values.join(', ')})`;
  });
  return `${names.length === 1 ? names[0] : `(${names.join(', ')})`} in (${rows.join(', ')})`;
}

type KeyKind = 'number' | 'hex' | 'text' | 'quoted';

function keyKind(table: Table, name: string): KeyKind {
  const column = table.columns.find((one) => one.name === name);
  const word = /^[a-z0-9]+/.exec(column?.sourceType.toLowerCase() ?? '')?.[0] ?? '';
  if (/int$/.test(word) || word === 'decimal' || word === 'bit') return 'number';
  if (column?.type.kind === 'binary') return 'hex';
  return /^(date|time|datetime|timestamp|year|uuid|inet4|inet6)$/.test(word) ? 'quoted' : 'text';
}

const LETTERS: Readonly<Record<string, string>> = { '0': '\0', t: '\t', n: '\n', r: '\r' };

function literal(text: string, kind: KeyKind): string {
  if (kind === 'number' && /^-?\d+(\.\d+)?$/.test(text)) return text;
  if (kind === 'hex' && /^([0-9A-F]{2})*$/.test(text)) return `x'${text}'`;
  if (kind === 'quoted' && /^[0-9A-Fa-f:. -]+$/.test(text)) return `'${text}'`;
  if (kind !== 'text') throw new Error('A key does not look like its column.');
  const raw = text.replace(/\\(.)/gs, (_, letter: string) => LETTERS[letter] ?? letter);
  return `_utf8mb4 x'${Buffer.from(raw, 'latin1').toString('hex')}'`;
}

/** Passes on rows whose key was asked for; a collation finds others too, that differ in case or in spaces. */
function createFilter(table: Table, wanted: ReadonlySet<string>): (batch: Batch) => Batch | undefined {
  const places = table.key.map((name) => table.columns.findIndex((column) => column.name === name));
  const last = Math.max(...places);
  let rest: Buffer[] = [];
  return (batch) => {
    const bytes = batch.data as Buffer;
    const kept: Buffer[] = [];
    let rows = 0;
    let from = 0;
    for (;;) {
      const newline = bytes.indexOf(10, from);
      if (newline < 0) break;
      const end = Buffer.from(bytes.subarray(from, newline + 1));
      const row = rest.length > 0 ? Buffer.concat([...rest, end]) : end;
      rest = [];
      if (wanted.has(keyOf(row, places, last))) {
        kept.push(row);
        rows++;
      }
      from = newline + 1;
    }
    if (from < bytes.length) rest.push(Buffer.from(bytes.subarray(from)));
    return rows > 0 ? { data: kept.length === 1 ? (kept[0] as Buffer) : Buffer.concat(kept), rows } : undefined;
  };
}

function keyOf(row: Buffer, places: readonly number[], last: number): string {
  const cells: string[] = [];
  let from = 0;
  for (let i = 0; i <= last; i++) {
    const tab = row.indexOf(TAB, from);
    const end = tab < 0 ? row.length - 1 : tab;
    if (places.includes(i)) cells[i] = row.toString('latin1', from, end);
    from = end + 1;
  }
  return places.map((place) => cells[place] ?? '').join('\t');
}
