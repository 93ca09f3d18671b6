import type { FollowedTable } from '../changes.ts';
import type { RuleUse, Table } from '../model.ts';
import { Malformed } from './exact-text.ts';
import { decodePosition, type LogPosition } from './position.ts';
import type { RedoValue } from './redo-reader.ts';
import type { RedoStatement } from './redo-statement.ts';
import { type CellValue, createRowText, maskUses, type RowText } from './row-text.ts';
import type { Entry } from './transactions.ts';
import { type Encoding, isReadAgain } from './types.ts';

/** A table that a reader of the log follows. */
export type Follower = {
  readonly index: number;
  readonly table: Table;
  readonly options: FollowedTable['options'];
  readonly skip: readonly LogPosition[];
  readonly text: RowText;
  /** Places of the key columns. */
  readonly keys: readonly number[];
  /** Local time stamps without an offset are in UTC. */
  readonly localIsUtc: boolean;
  /** Its structure is not the described one any more, or its rows can't be read: its changes are dropped. */
  gone: boolean;
  /** Rows since the last `takeRules`. */
  rows: number;
};

export function createFollower(
  { table, skip, options }: FollowedTable,
  index: number,
  refuse: boolean,
  localIsUtc: boolean,
): Follower {
  return {
    index,
    table,
    options,
    skip: skip.map(decodePosition),
    text: createRowText(table, refuse),
    keys: table.key.map((name) => table.columns.findIndex((column) => column.name === name)),
    localIsUtc,
    gone: false,
    rows: 0,
  };
}

/** Uses of rules since the last call. */
export function takeRules(followers: readonly Follower[]): { table: number; rules: readonly RuleUse[] }[] {
  return followers.flatMap((one) => {
    const rules = [...one.text.takeUses(), ...maskUses(one.table, one.rows)];
    one.rows = 0;
    return rules.length > 0 ? [{ table: one.index, rules }] : [];
  });
}

/** Says why a table can't be followed past a statement of the log. */
export class Unfollowed extends Error {}

const UNKNOWN = Symbol('not in the log');
type Known = CellValue | typeof UNKNOWN;

/**
 * What a statement does to its table. Values that the log spells out become the same text as those that are read; a row with a LOB or another
 * value that it does not spell out is marked to be read again. Throws `Unfollowed`.
 */
export function entryOf(follower: Follower, statement: RedoStatement, rowId: string): Entry {
  const { text, table } = follower;
  const { kind, set, where } = statement;
  const at = { table: follower.index, rowId };
  const spelled = (value: RedoValue | undefined, index: number): Known => known(follower, value, index);
  const before = (index: number): Known => spelled(where.get(table.columns[index]?.name ?? ''), index);
  text.at(() => ` (row ${rowId})`);
  if (kind === 'delete') return { ...at, kind, key: keyOf(follower, before), oldKey: null, line: null, missing: null };
  if (kind === 'select') {
    const key = keyOf(follower, before);
    return { ...at, kind: 'reread', key, oldKey: null, ...keyLine(follower, before) };
  }
  let unreadable = false;
  const after = (index: number): Known => {
    const name = table.columns[index]?.name ?? '';
    const encoding = encodingOf(text, index);
    const given = set.get(name);
    if (given !== undefined) {
      // A LONG is written later, in pieces, where it does not fit: NULL says nothing.
      if (isReadAgain(encoding) && (given !== null || isLong(follower, index))) {
        unreadable = true;
        return UNKNOWN;
      }
      const value = spelled(given, index);
      if (value === UNKNOWN) unreadable = true;
      return value;
    }
    // An insert names every column that it fills, apart from LOBs that come in operations of their own.
    if (kind === 'insert') {
      if (!isLong(follower, index)) return null;
      unreadable = true;
      return UNKNOWN;
    }
    return isReadAgain(encoding) ? UNKNOWN : before(index);
  };
  const key = keyOf(follower, after);
  const oldKey = kind === 'update' ? keyOf(follower, (index) => orElse(before(index), after(index))) : key;
  const cells: string[] = [];
  const missing: number[] = [];
  for (let index = 0; index < table.columns.length; index++) {
    const value = table.columns[index]?.masked ? null : after(index);
    const cell = value === UNKNOWN ? undefined : cellOf(text, index, value);
    if (cell === undefined) {
      unreadable ||= value !== UNKNOWN;
      missing.push(index);
    }
    cells.push(cell ?? '\\N');
  }
  const line = Buffer.from(`${cells.join('\t')}\n`);
  const changedKey = oldKey === key ? null : oldKey;
  if (unreadable) return { ...at, kind: 'reread', key, oldKey: changedKey, ...keyLine(follower, after) };
  return { ...at, kind, key, oldKey: changedKey, line, missing: missing.length > 0 ? missing : null };
}

function encodingOf(text: RowText, index: number): Encoding {
  return text.fields[index]?.encoding ?? 'text';
}

function orElse(first: Known, second: Known): Known {
  return first === UNKNOWN ? second : first;
}

function isLong({ table }: Follower, index: number): boolean {
  return /^LONG\b/.test(table.columns[index]?.sourceType ?? '');
}

/** So many characters has a number at most, as the server prints it: those of longer ones may be rounded. */
const NUMBER_CHARS = 40;

/** A literal of the log as the value that it stands for. */
function known({ text: cells, table, localIsUtc }: Follower, value: RedoValue | undefined, index: number): Known {
  if (value === undefined) return UNKNOWN;
  if (value === null) return null;
  const { form, text } = value;
  const encoding = encodingOf(cells, index);
  if (encoding === 'number' && text.length >= NUMBER_CHARS) return UNKNOWN;
  // Local ones may be printed in the zone of the database.
  if (!localIsUtc && /LOCAL TIME ZONE$/.test(table.columns[index]?.sourceType ?? '') && !/[+-]\d\d:\d\d$/.test(text))
    return UNKNOWN;
  if (form === 'unsupported' || form === 'empty') return UNKNOWN;
  // HEXTORAW stands for bytes; a text in that form would be something else.
  if ((form === 'hex') !== (encoding === 'hex') && form !== 'text' && form !== 'bare') return UNKNOWN;
  // A column with a zone may be printed in the session's, which is UTC.
  return text;
}

/** A cell of load text; undefined: the log prints it in a form that is not known. */
function cellOf(text: RowText, index: number, value: CellValue): string | undefined {
  try {
    return text.cell(index, value);
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

function keyOf({ keys, text, table }: Follower, value: (index: number) => Known): string {
  let key = '';
  for (const [place, index] of keys.entries()) {
    const found = value(index);
    const cell = found === UNKNOWN || found === null ? undefined : cellOf(text, index, found);
    if (cell === undefined)
      throw new Unfollowed(
        `The log does not carry the key column ${table.columns[index]?.name} of ${table.ref.schema}.${table.ref.name} with a change. Run ALTER TABLE "${table.ref.schema}"."${table.ref.name}" ADD SUPPLEMENTAL LOG DATA (ALL) COLUMNS.`,
      );
    key += place === 0 ? cell : `\t${cell}`;
  }
  // Keys are strings of bytes.
  return /^[ -~\t]*$/.test(key) ? key : Buffer.from(key).toString('latin1');
}

/** Of an entry that may have been taken back: its row is read again, and where it changed its key, under both. */
export function rereadsOf(follower: Follower, entry: Entry): Entry[] {
  const { key, oldKey } = entry;
  return (oldKey === null ? [key] : [oldKey, key]).map((one) => rereadOf(follower, entry, one));
}

function rereadOf({ keys, table }: Follower, entry: Entry, whole: string): Entry {
  const key = whole.split('\t');
  const missing: number[] = [];
  const cells = table.columns.map((_, index) => {
    const place = keys.indexOf(index);
    if (place < 0) missing.push(index);
    return place < 0 ? '\\N' : (key[place] ?? '\\N');
  });
  const line = Buffer.from(`${cells.join('\t')}\n`, 'latin1');
  return { ...entry, kind: 'reread', key: whole, oldKey: null, line, missing };
}

/** A row of which only the key is said. */
function keyLine(
  { text, keys, table }: Follower,
  value: (index: number) => Known,
): { line: Uint8Array; missing: readonly number[] } {
  const missing: number[] = [];
  const cells = table.columns.map((_, index) => {
    if (keys.includes(index)) return text.cell(index, value(index) as CellValue);
    missing.push(index);
    return '\\N';
  });
  return { line: Buffer.from(`${cells.join('\t')}\n`), missing };
}
