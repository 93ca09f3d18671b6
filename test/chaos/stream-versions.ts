import { atDestination } from './checks.ts';
import type { Fleet, Mode } from './fleet.ts';

/** Tables whose copies keep the versions of their rows, and the columns of their keys. */
export const versionTables: Readonly<Record<string, readonly string[]>> = {
  kept: ['id'],
  kept_pair: ['country', 'number'],
};

/** Holds one view per such table: the rows that are current. */
const CURRENT = 'chaos_current';

/** Rows of `kept` under these keys are neither deleted nor moved: the versions of one follow each other without a gap. */
export const NEVER_GONE = 100;

/** Whether a lane of this mode asks for every version (`max_updates` -1), and not for at most eight of a key and batch. */
export function everyVersion(mode: Mode): boolean {
  return mode === 'mariadb';
}

/** Makes what shows of each copy what a copy without versions would hold; again after each change of structure. */
export async function showCurrent(fleet: Fleet, db: string, tables: readonly string[]): Promise<string> {
  const views = tables.map(
    (name) =>
      `create or replace view ${CURRENT}.\`${name}\` as select * from \`${db}\`.\`${name}\` where _is_current = 1`,
  );
  await atDestination(fleet, [`create database if not exists ${CURRENT}`, ...views].join('; '));
  return CURRENT;
}

/**
 * What is wrong with the versions of a copy. Every write at the source gave its row a number higher than all before it (`seq`), so the order of
 * versions can be told from the rows themselves.
 */
export async function wrongVersions(
  fleet: Fleet,
  db: string,
  tables: Readonly<Record<string, readonly string[]>>,
): Promise<{ versions: number; problems: string[] }> {
  let versions = 0;
  const problems: string[] = [];
  for (const [name, key] of Object.entries(tables)) {
    const columns = key.join(', ');
    const rows = `select ${columns}, seq, _valid_from as f, _valid_to as t, _is_current as c, _ordinal as o, _ordinal_to as ot, _event as e,
      lead(_ordinal) over w as next_o, lead(_valid_from) over w as next_f, lead(seq) over w as next_seq
      from \`${db}\`.\`${name}\` window w as (partition by ${columns} order by _ordinal, _event)`;
    // A loaded row counts from the beginning of its load by the product's clock, everything else by the source's.
    const rules: Record<string, string> = {
      'current, but ended (or the other way round)': '(c = 1) <> (t is null) or (t is null) <> (ot is null)',
      'current beside a later one': 'c = 1 and next_o is not null',
      'ended before they began': '(o > 0 and t < f) or ot < o',
      'ended after the next one had begun': 'next_o < ot or next_f < t',
      'out of the order of their writing': 'next_seq <= seq',
    };
    const found = Object.entries(rules).map(([, rule], i) => `coalesce(sum(${rule}), 0) as r${i}`);
    const [sums] = await atDestination(fleet, `select count(*) as n, ${found.join(', ')} from (${rows}) v`);
    versions += Number(sums?.['n']);
    Object.keys(rules).forEach((rule, i) => {
      if (Number(sums?.[`r${i}`]) > 0) problems.push(`${sums?.[`r${i}`]} versions of ${name} are ${rule}`);
    });
  }
  return { versions, problems: [...problems, ...(await wrongAgainstLog(fleet, db))] };
}

/** `kept_log` has a row per write to `kept`, made in the same transaction and copied without versions. */
async function wrongAgainstLog(fleet: Fleet, db: string): Promise<string[]> {
  const stays = `id between 1 and ${NEVER_GONE - 1}`;
  const unwritten = `select count(*) as n from ${db}.kept_log l
      join (select id, min(seq) as least from ${db}.kept where ${stays} group by id) b on b.id = l.id and l.seq > b.least
      left join ${db}.kept k on k.id = l.id and k.seq = l.seq where k.id is null`;
  const counts: Record<string, string> = {
    'versions of kept never were at the source': `select count(*) as n from ${db}.kept k left join ${db}.kept_log l on l.seq = k.seq and l.id = k.id
      where k.seq > 0 and l.id is null`,
    ...(everyVersion(fleet.mode) ? { 'writes to kept have no version': unwritten } : {}),
    'versions of kept leave a gap before the next one': `select count(*) as n from (select _ordinal_to as ot, _valid_to as t, lead(_ordinal) over w as next_o,
      lead(_valid_from) over w as next_f, row_number() over (partition by id order by _ordinal desc, _event desc) as last from ${db}.kept where ${stays}
      window w as (partition by id order by _ordinal, _event)) v where last > 1 and (coalesce(ot, -1) <> next_o or not (t <=> next_f))`,
    'rows of kept that were never deleted are not current': `select ${NEVER_GONE - 1} - count(*) as n from ${db}.kept where ${stays} and _is_current = 1`,
  };
  const problems: string[] = [];
  for (const [what, sql] of Object.entries(counts)) {
    const [row] = await atDestination(fleet, sql);
    if (Number(row?.['n']) !== 0) problems.push(`${row?.['n']} ${what}`);
  }
  return problems;
}
