import type { Split, Table } from '../model.ts';
import type { CatalogTable } from './catalog.ts';
import { mayComeTwice, type Range } from './read.ts';
import type { Session } from './session.ts';
import { quoteName } from './types.ts';

/** A table is not cut into more. */
const MOST_RANGES = 2_000;
/** Blocks looked at for each range: the more, the more even the ranges. */
const SAMPLED = 20;
const BLOCK_BYTES = 8_192;

/**
 * Cuts a table by ROWID. The bounds are those of blocks drawn at random, in order: whatever they are, each row lies in exactly one range.
 * That needs no right beyond SELECT and holds for partitioned tables too. All ranges are read as of one SCN. Views, index-organized
 * and external tables have no ROWIDs to cut by and are read whole, by one statement.
 */
export async function splitTable(
  session: Session,
  table: Table,
  found: CatalogTable,
  chunkBytes: number,
): Promise<Split> {
  const whole: Split = { ranges: ['{}'], replace: false };
  if (found.view || found.indexOrganized || found.external) return whole;
  const name = `${quoteName(table.ref.schema)}.${quoteName(table.ref.name)}`;
  const bytes = found.bytes ?? (await guessBytes(session, name));
  const wanted = Math.min(MOST_RANGES, Math.ceil(bytes / chunkBytes));
  if (wanted <= 1) return whole;
  const blocks = Math.max(1, bytes / BLOCK_BYTES);
  const percent = Math.min(99.99, Math.max(0.0001, (wanted * SAMPLED * 100) / blocks));
  const rows = await session.query(
    `select rowidtochar(first_row) from (select min(rowid) first_row from ${name} sample block (${percent.toFixed(4)}) group by dbms_rowid.rowid_object(rowid), dbms_rowid.rowid_relative_fno(rowid), dbms_rowid.rowid_block_number(rowid)) order by first_row`,
  );
  const starts = rows.map((row) => String(row[0])).filter((one) => /^[A-Za-z0-9+/]{18}$/.test(one));
  const bounds = new Set<string>();
  for (let i = 1; i < wanted; i++) {
    const bound = starts[Math.floor((i * starts.length) / wanted)];
    if (bound !== undefined) bounds.add(bound);
  }
  if (bounds.size === 0) return whole;
  const scn = await currentScn(session);
  const cuts = [undefined, ...bounds, undefined];
  const ranges = cuts.slice(0, -1).map((low, index) => {
    const high = cuts[index + 1];
    const range: Range = { scn, ...(low === undefined ? {} : { low }), ...(high === undefined ? {} : { high }) };
    return JSON.stringify(range);
  });
  // Should the undo run out, rows of a range are read as they are then.
  return { ranges, replace: mayComeTwice(table) };
}

/** The size of a table without statistics, from one block in a hundred. */
async function guessBytes(session: Session, name: string): Promise<number> {
  const [row] = await session.query(
    `select count(distinct dbms_rowid.rowid_block_number(rowid)) from ${name} sample block (1)`,
  );
  return Number(row?.[0] ?? 0) * 100 * BLOCK_BYTES;
}

/** The SCN up to which every commit is visible now; digits. */
export async function currentScn(session: Session): Promise<string> {
  const [row] = await session.query('select to_char(current_scn) from v$database');
  const scn = String(row?.[0] ?? '').trim();
  if (!/^\d{1,20}$/.test(scn)) throw new Error('The source did not tell its SCN.');
  return scn;
}
