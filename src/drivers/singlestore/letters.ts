import { createHash } from 'node:crypto';
import type { Followed } from '../apply.ts';
import type { Position } from '../model.ts';
import { rows, type Session } from './connection.ts';
import { now } from './control.ts';
import type { Row, TableFold } from './fold.ts';
import { inserts, sql, table } from './sql.ts';
import { forgetSteps } from './trail.ts';

/** Dead letters: rows that the destination refused, one per table and key. Under such a key there is no row at the destination (EXACTNESS.md §6). */
export type Letters = {
  /** Keys with a letter, by table index: what is durable. */
  readonly known: Map<number, Set<string>>;
  /** Letters of the transaction that is open or comes next. */
  readonly fresh: Map<number, Map<string, Letter>>;
  /** Letters that this transaction takes away. */
  readonly gone: Map<number, Set<string>>;
  /** How many were written since the attempt began, by table index: only what is durable. */
  readonly parked: (index: number, count: number) => void;
};
export type Letter = { readonly id: string; readonly reason: string; readonly row: string | null };

/** Beyond this a table has another problem than single rows. */
export const MOST_LETTERS = 1000;
/** Larger rows are not kept with their letter. */
const KEPT_BYTES = 64 * 1024;

/** No letters. */
export function newLetters(parked: Letters['parked']): Letters {
  return { known: new Map(), fresh: new Map(), gone: new Map(), parked };
}

/** Reads the keys with a letter of the tables in one database. */
export async function readLetters(
  session: Session,
  database: string,
  tables: readonly Followed[],
  letters: Letters,
): Promise<void> {
  const indexes = new Map(
    tables.flatMap(({ id, target }, i) => (target.database === database ? [[id, i] as const] : [])),
  );
  if (indexes.size === 0) return;
  for (const row of await rows(
    session,
    sql`select [table_id], [key_text] from ${table(database, '_flow_dead_letters')} where [table_id] in (${[...indexes.keys()]})`,
  ))
    setOf(letters.known, indexes.get(String(row['table_id'])) as number).add(String(row['key_text']));
}

/** Puts a refused state aside: no row stays under its key. Returns false when the table has too many letters. */
export function setAside(
  letters: Letters,
  index: number,
  followed: Followed,
  fold: TableFold,
  key: string,
  reason: string,
): boolean {
  const state = fold.states.get(key);
  const fresh = letters.fresh.get(index) ?? new Map<string, Letter>();
  letters.fresh.set(index, fresh);
  fresh.set(key, { id: followed.id, reason, row: typeof state === 'object' ? rowText(state) : null });
  fold.states.set(key, 'gone');
  forgetSteps(fold, key);
  return fresh.size + (letters.known.get(index)?.size ?? 0) <= MOST_LETTERS;
}

/** Keeps the letters of the open transaction up to date with what it writes, and returns the statements which say so. */
export function letterStatements(
  letters: Letters,
  database: string,
  work: readonly {
    readonly index: number;
    readonly writing: { readonly followed: Followed };
    readonly fold: TableFold;
  }[],
  position: Position | null,
): string[] {
  const statements: string[] = [];
  const at = table(database, '_flow_dead_letters');
  for (const { index, writing, fold } of work) {
    const known = letters.known.get(index);
    const fresh = letters.fresh.get(index);
    const { id } = writing.followed;
    if (known) {
      const settled = [...known].filter((key) => !fresh?.has(key) && (fold.emptied || fold.states.has(key)));
      if (settled.length > 0)
        statements.push(sql`delete from ${at} where [table_id] = ${id} and [row_key] in (${settled.map(rowKey)})`);
      for (const key of settled) setOf(letters.gone, index).add(key);
    }
    if (!fresh) continue;
    const when = now();
    statements.push(
      ...inserts(
        sql`replace into ${at} ([table_id], [row_key], [key_text], [letter], [reason], [position], [recorded_at])`,
        [...fresh].map(([key, letter]) => [id, rowKey(key), key, letter.row, letter.reason, position, when]),
      ),
    );
  }
  return statements;
}

/** The transaction is durable. */
export function settleLetters(letters: Letters): void {
  for (const [index, keys] of letters.gone) for (const key of keys) letters.known.get(index)?.delete(key);
  for (const [index, fresh] of letters.fresh) {
    for (const key of fresh.keys()) setOf(letters.known, index).add(key);
    letters.parked(index, fresh.size);
  }
  letters.gone.clear();
  letters.fresh.clear();
}

const refusals = new WeakSet<Error>();

/** Marks an error as the refusal of rows. */
export function markRefusal<E extends Error>(error: E): E {
  refusals.add(error);
  return error;
}

/** Whether an error says that the destination refused rows. */
export function isRefusal(error: unknown): error is Error {
  return error instanceof Error && refusals.has(error);
}

/** What a key is called in the control tables: keys may be long and hold any byte. */
export function rowKey(key: string): string {
  return createHash('sha256').update(key, 'latin1').digest('hex');
}

/** One character per byte, as keys are. */
function rowText({ data, from, to }: Row): string | null {
  return to - from > KEPT_BYTES ? null : Buffer.from(data.subarray(from, to)).toString('latin1');
}

function setOf(map: Map<number, Set<string>>, index: number): Set<string> {
  const found = map.get(index) ?? new Set<string>();
  map.set(index, found);
  return found;
}
