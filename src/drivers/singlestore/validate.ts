import type { Followed } from '../apply.ts';
import type { Check, CheckPart } from '../check.ts';
import { StructureChanged } from '../errors.ts';
import { escapeText } from '../load-text.ts';
import type { Batch, ChunkRead } from '../model.ts';
import { keyLines } from './apply-lines.ts';
import { differing, loadStatementOf, lookOf, partsDdl, type Sides, surplusOf } from './compare.ts';
import { numberOf, type Row, rows, run, type Session } from './connection.ts';
import { isMissing, now } from './control.ts';
import { countedLoad, rejection } from './counted-load.ts';
import { checkMark, killLoads } from './kill.ts';
import { rowKey } from './letters.ts';
import { derivedPrefix } from './names.ts';
import { type Pool, withSession } from './pool.ts';
import { explain } from './rejects.ts';
import { inserts, sql, table } from './sql.ts';
import { readTables, tableNames } from './tables.ts';

/** The check of one followed copy (contract: `Destination.check`); `name` tells its tables from those of other attempts. */
export function openCheck(pool: Pool, followed: Followed, name: string): Check {
  const { id, target } = followed;
  const { database } = target;
  const mark = checkMark(database, id);
  const sides: Sides = { dialect: pool.dialect, followed, mark, place: (part) => `${checkPrefix(id, name)}${part}` };
  const find = (text: string): Promise<Row[]> =>
    withSession(pool, (session) => rows(session, text).catch((error: unknown) => refuse(followed, error)));
  const make = (session: Session, part: CheckPart | 'keys') => run(session, partsDdl(sides, part));

  async function load(
    into: CheckPart | 'keys',
    replace: boolean,
    batches: AsyncGenerator<Batch, ChunkRead, undefined>,
    progress: (sent: number, bytes: number) => void,
    signal: AbortSignal,
  ): Promise<number> {
    let refused: string | undefined;
    const counted = {
      statement: loadStatementOf(sides, into, replace),
      table: followed.table,
      replace,
      filled: 'The table of the check',
      refuse: (words: string) => {
        refused = words;
      },
    };
    try {
      return await withSession(pool, async (session) => {
        await run(session, 'begin');
        const sent = await countedLoad(session, counted, batches, progress, signal);
        await run(session, 'commit');
        return sent.rows;
      });
    } catch (error) {
      if (refused === undefined || error instanceof StructureChanged) throw error;
      throw await rejection(followed.table, 'the rows read', refused, undefined, signal);
    } finally {
      void batches.return(undefined as never).catch(() => undefined);
    }
  }

  return {
    begin: (parts) =>
      withSession(pool, async (session) => {
        await dropTables(session, database, [id]);
        for (const part of parts) await make(session, part);
      }),
    load,
    async count(part) {
      const [row] = await find(`${mark}${sql`select count(*) as [n] from ${table(database, sides.place(part))}`}`);
      return Number(row?.['n']);
    },
    async surplus(part) {
      const [row] = await find(surplusOf(sides, part));
      return Number(row?.['n'] ?? 0);
    },
    async differing(missing, most) {
      const keys = new Set<string>();
      const parts = differing(sides, missing);
      let over = false;
      for (const { select } of parts) {
        const found = await find(`${select} limit ${most + 1}`);
        for (const row of found) keys.add(keyOf(followed, row));
        over ||= found.length > most;
      }
      if (!over && keys.size <= most) return { keys: [...keys], total: keys.size };
      let total = 0;
      for (const { count } of parts) total += Number((await find(count))[0]?.['n']);
      return { keys: [...keys].slice(0, most), total: Math.max(total, keys.size) };
    },
    async look(part, keys) {
      await withSession(pool, async (session) => {
        for (const place of [part, 'keys'] as const) {
          await run(session, sql`drop table if exists ${table(database, sides.place(place))}`);
          await make(session, place);
        }
      });
      await load('keys', false, keyLines(keys), () => {}, new AbortController().signal);
    },
    async compare(before, part) {
      const found = await find(lookOf(sides, before, part));
      return found.map((row) => ({ same: Number(row['same']) === 1, unchanged: Number(row['unchanged']) === 1 }));
    },
    repair: (keys) =>
      withSession(pool, async (session) => {
        const into = sql`replace into ${table(database, '_flow_rereads')} ([table_id], [row_key], [key_text], [reason], [recorded_at])`;
        const at = now();
        for (const statement of inserts(
          into,
          keys.map((key) => [id, rowKey(key), key, 'validate', at]),
        ))
          await run(session, statement);
      }),
    end: () => withSession(pool, (session) => dropTables(session, database, [id], checkPrefix(id, name))),
  };
}

/** Removes what checks of a pipeline's tables have left (contract: `Destination.dropChecks`). */
export async function dropChecks(session: Session, database: string, pipeline: string): Promise<void> {
  try {
    const mine = (await readTables(session, database)).filter((row) => row.pipeline === pipeline);
    await dropTables(
      session,
      database,
      mine.map((row) => row.id),
    );
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** How many keys of these tables wait to be read from the source again (contract: `Destination.waiting`). */
export async function countWaiting(session: Session, database: string, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const [row] = await rows(
    session,
    sql`select count(*) as [n] from ${table(database, '_flow_rereads')} where [table_id] in (${ids})`,
  );
  return Number(row?.['n']);
}

function checkPrefix(id: string, name: string): string {
  return `${derivedPrefix(id)}${name}_check_`;
}

/** A statement of an attempt that nobody waits for would hold the tables: it is ended first. */
async function dropTables(session: Session, database: string, ids: readonly string[], prefix?: string): Promise<void> {
  const names = await tableNames(session, database);
  for (const id of ids) {
    const pattern = new RegExp(`^${derivedPrefix(id)}[0-9a-z]+_check_[a-z]+$`);
    const left = [...names].filter((name) => pattern.test(name) && (prefix === undefined || name.startsWith(prefix)));
    if (left.length > 0) await killLoads(session, checkMark(database, id));
    for (const name of left) await run(session, sql`drop table if exists ${table(database, name)}`);
  }
}

/** 1054 and 1146: columns or tables have gone meanwhile. */
function refuse({ table: source }: Followed, error: unknown): never {
  if (numberOf(error) !== 1054 && numberOf(error) !== 1146) throw explain(error);
  throw new StructureChanged(
    `The copy of ${source.ref.schema}.${source.ref.name}, or what it was compared with, changed during the check.`,
    'Validate the table again.',
  );
}

/**
 * A key as the log has it. The destination shows microseconds where the source may count fewer digits, as its word for the type says.
 */
export function keyOf({ table: source }: Followed, row: Row): string {
  const cells = source.key.map((name, i) => {
    const column = source.columns.find((one) => one.name === name);
    const text = String(row[`k${i}`]);
    if (column?.type.kind !== 'datetime' && column?.type.kind !== 'time') return text;
    const digits = /\((\d)\)/.exec(column.sourceType)?.[1];
    const point = text.indexOf('.');
    return point < 0 || digits === undefined ? text : text.slice(0, point + (digits === '0' ? 0 : 1 + Number(digits)));
  });
  return Buffer.from(cells.map(escapeText).join('\t'), 'utf8').toString('latin1');
}
