import type { Table } from '../model.ts';
import type { Applied } from './apply-database.ts';
import { keyLines } from './apply-lines.ts';
import { load } from './apply-load.ts';
import type { Means } from './apply-write.ts';
import { rows, run, type Session } from './connection.ts';
import { now } from './control.ts';
import { newFold, type TableFold } from './fold.ts';
import { rowKey, setAside } from './letters.ts';
import type { Link, Links } from './links.ts';
import { inserts, sql, table } from './sql.ts';
import type { Writing } from './stage.ts';
import { noteState } from './trail.ts';
import { keyOf } from './validate.ts';

/**
 * Rows that foreign keys changed below the log (EXACTNESS.md §7). A parent's key that was left leads to the rows of the copy that refer to it, and those to
 * their own children. They are read again in the transaction that writes the parent's change. Too many cost time only; that none is missed rests on this:
 * the copy holds such a row as the source did when its parent went, or newer, and every row on the way is there, too, unless it was inserted again (then the
 * insert leads on) or the copy of its table is newer than the stream (then `findOrphans` looks once when it no longer is).
 */

type Work = { readonly index: number; readonly writing: Writing; readonly fold: TableFold };

/** Indexes of tables whose stages a part may need beside those that it writes. */
export function stagesBelow(links: Links, work: readonly Work[]): ReadonlySet<number> {
  const found = new Set<number>();
  for (const { index, fold } of work) {
    if (links.of(index).length === 0) continue;
    const leads = fold.left.size > 0 || fold.made.size > 0 || [...fold.states.values()].includes('reread');
    if (!leads) continue;
    found.add(index);
    for (const child of links.below(index)) found.add(child);
  }
  return found;
}

/** Before a part is written: a row that is inserted over one that is there says that this one had gone unseen, and what referred to it with it. */
export async function noteUnseen(
  session: Session,
  work: readonly Work[],
  caughtUp: ReadonlySet<number>,
  signal: AbortSignal,
): Promise<void> {
  for (const { index, writing, fold } of work) {
    if (fold.made.size === 0) continue;
    const keys = [...fold.made];
    // In a copy that is newer than the stream the row that had gone may be gone already.
    if (!caughtUp.has(index)) {
      for (const key of keys) fold.left.add(key);
      continue;
    }
    await load(session, writing, writing.loadKeys, () => keyLines(keys), undefined, signal);
    for (const row of await rows(session, writing.findPresent)) fold.left.add(keys[Number(row['n'])] as string);
    await run(session, writing.emptyStage);
  }
}

/** After a part is written: what is to be read again because of keys that rows have left, by table; `again`: what is read again anyway. */
export async function findUnlogged(
  to: Applied,
  work: readonly Work[],
  again: ReadonlyMap<number, { readonly keys: readonly string[] }>,
  { links, writings, capture, signal }: Pick<Means, 'links' | 'writings' | 'capture' | 'signal'>,
): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
  const found = new Map<number, Set<string>>();
  const passed = new Set<string>();
  let open = new Map<number, string[]>();
  for (const { index, fold } of work) {
    if (links.of(index).length === 0) continue;
    const keys = new Set([...fold.left, ...(again.get(index)?.keys ?? [])]);
    if (keys.size > 0) open.set(index, [...keys]);
  }
  while (open.size > 0) {
    const next = new Map<number, string[]>();
    for (const [parent, keys] of open) {
      const writing = writings[parent] as Writing;
      await load(to.session, writing, writing.loadKeys, () => keyLines(keys), undefined, signal);
      for (const link of links.of(parent)) {
        if (to.dropped.has(link.child)) continue;
        const seen = found.get(link.child) ?? new Set();
        found.set(link.child, seen);
        const { followed } = writings[link.child] as Writing;
        const fresh = new Set<string>();
        for (const statement of statementsOf(link, keys))
          for (const row of await rows(to.session, statement)) fresh.add(keyOf(followed, row));
        for (const key of fresh) if (seen.has(key)) fresh.delete(key);
        for (const key of fresh) seen.add(key);
        if (links.of(link.child).length === 0) continue;
        // Rows that were refused are not there, and lead on all the same.
        for (const refused of [to.letters.known, to.letters.fresh])
          for (const key of refused.get(link.child)?.keys() ?? [])
            if (!passed.has(`${link.child}/${key}`)) {
              passed.add(`${link.child}/${key}`);
              fresh.add(key);
            }
        if (fresh.size > 0) next.set(link.child, [...(next.get(link.child) ?? []), ...fresh]);
      }
      await run(to.session, writing.emptyStage);
    }
    open = next;
  }
  // A letter whose row went with its parent goes, too.
  for (const [index, keys] of found) {
    const known = [...(to.letters.known.get(index) ?? [])].filter((key) => !keys.has(key));
    if (known.length === 0) continue;
    const there = new Set(await referring(capture, index, (writings[index] as Writing).followed.table, [], known));
    for (const key of known) if (!there.has(key)) keys.add(key);
  }
  for (const [index, { keys }] of again) for (const key of keys) found.get(index)?.delete(key);
  for (const [index, keys] of found) if (keys.size === 0) found.delete(index);
  return found;
}

function statementsOf(link: Link, keys: readonly string[]): readonly string[] {
  if (link.odd === null) return [link.find];
  // Letters beyond ASCII, and control characters, which load text writes with a backslash.
  return keys.some((key) => /[^ -~]|\\[^\\]/.test(key.replaceAll('\t', ''))) ? [link.all] : [link.find, link.odd];
}

/** Those keys as a fold, which is written like any other. `large`: refused rows can't be tried now. `moment`: after all that the part has written. */
export function foldOfUnlogged(
  { letters }: Applied,
  index: number,
  writing: Writing,
  keys: ReadonlySet<string>,
  { large, versions, transaction, event }: { large: boolean; versions: boolean; transaction: number; event: number },
): Work {
  const fold = newFold({ versions });
  const known = letters.known.get(index);
  for (const key of keys) {
    fold.states.set(key, letters.fresh.get(index)?.has(key) ? 'gone' : 'reread');
    noteState(fold, key, { transaction, event }, 1);
    if (large && known?.has(key))
      setAside(letters, index, writing.followed, fold, key, 'An earlier state was refused; this one was not tried.');
  }
  return { index, writing, fold };
}

/**
 * Rows of a copy whose parents are not there, as those had gone before the copies were equal to one moment of the source: put on the list to be read again,
 * if the source holds them otherwise. Part of a guarded transaction; returns how many.
 */
export async function findOrphans(
  session: Session,
  links: Links,
  writings: readonly Writing[],
  index: number,
  capture: Means['capture'],
): Promise<number> {
  const { followed } = writings[index] as Writing;
  const stale = new Set<string>();
  for (const link of links.unseen(index)) {
    const keys = new Set((await rows(session, link.orphans)).map((row) => keyOf(followed, row)));
    if (keys.size === 0) continue;
    for (const key of keys) stale.add(key);
    // A row that has a parent which is not there at the source either was written without checks: it is what it is.
    for (const key of await referring(capture, index, followed.table, link.columns, [...keys])) stale.delete(key);
  }
  const at = table(followed.target.database, '_flow_rereads');
  const when = now();
  const lines = [...stale].map((key) => [followed.id, rowKey(key), key, 'cascade', when] as const);
  for (const statement of inserts(
    sql`replace into ${at} ([table_id], [row_key], [key_text], [reason], [recorded_at])`,
    lines,
  ))
    await run(session, statement);
  return stale.size;
}

/** Those of the keys whose rows are at the source, with no NULL in the columns. */
async function referring(
  capture: Means['capture'],
  index: number,
  { columns, key }: Table,
  names: readonly string[],
  keys: readonly string[],
): Promise<string[]> {
  const places = (wanted: readonly string[]) => wanted.map((name) => columns.findIndex((one) => one.name === name));
  const [own, referred] = [places(key), places(names)];
  const found: string[] = [];
  for (let i = 0; i < keys.length; i += KEYS_AT_ONCE) {
    let rest = '';
    for await (const { data } of capture.reread(index, keys.slice(i, i + KEYS_AT_ONCE))) {
      const lines = (rest + Buffer.from(data).toString('latin1')).split('\n');
      rest = lines.pop() as string;
      for (const line of lines) {
        const cells = line.split('\t');
        if (referred.every((place) => cells[place] !== '\\N')) found.push(own.map((place) => cells[place]).join('\t'));
      }
    }
  }
  return found;
}

/** Keys per statement at the source (EXACTNESS.md §6). */
const KEYS_AT_ONCE = 1000;
