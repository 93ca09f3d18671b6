import type { FollowedTable, LogEvent } from '../changes.ts';
import { type Instance, newest, pinned, readStarts } from './cdc-instances.ts';
import type { Connection } from './connection.ts';
import { newsOf } from './news.ts';
import { decodeLsn } from './position.ts';
import { quoteName, quoteText } from './sql.ts';

/** A followed table, its place in the request, and the instance that its changes are read from. */
export type Follower = { readonly one: FollowedTable; readonly index: number; readonly instance: Instance };
type Structure = Extract<LogEvent, { kind: 'structure' }>;

/** After where a table's changes are wanted by a reader that stands at `from`. */
export function sinceOf(from: string, { skip }: FollowedTable): string {
  return [from, ...skip.map(decodeLsn)].sort().at(-1) as string;
}

/** What is to be read after `from`, and up to where with the instances that there are. */
export async function survey(
  connection: Connection,
  live: readonly { readonly one: FollowedTable; readonly index: number }[],
  from: string,
  to: string,
): Promise<{ followers: Follower[]; news: Structure[]; until: string }> {
  let until = to;
  const chosen = new Map<number, Instance>();
  const choose = (instances: readonly Instance[], place: number): Instance | undefined => {
    const { one, index } = live[place] as (typeof live)[number];
    const old = pinned(instances, one.table.storage);
    const last = newest(instances);
    const begins = last?.startLsn ?? null;
    // The new instance holds nothing from before it was made: the old one is read up to there.
    const use = old && last !== old && begins !== null && from < begins ? old : last;
    if (use === old && last !== old && begins !== null && begins < until) until = begins;
    if (use) chosen.set(index, use);
    return use;
  };
  const found = await newsOf(
    connection,
    'cdc',
    live.map(({ one }) => one),
    choose,
  );
  const news: Structure[] = [];
  const followers: Follower[] = [];
  for (const [i, { one, index }] of live.entries()) {
    const instance = chosen.get(index);
    const { schema, name } = one.table.ref;
    const lost = (reason: string): void => void news.push({ kind: 'structure', table: index, now: null, reason });
    if (!instance)
      lost(
        `CDC is not enabled for ${schema}.${name}: EXEC sys.sp_cdc_enable_table @source_schema = ${quoteText(schema)}, @source_name = ${quoteText(name)}, @role_name = NULL.`,
      );
    else if (instance.startLsn === null || sinceOf(from, one) < instance.startLsn)
      lost(
        `The change table of ${schema}.${name} begins after what was read last: it was cleaned up (retention of the cleanup job), or made anew.`,
      );
    else if (found[i]) news.push({ kind: 'structure', table: index, ...found[i] });
    else followers.push({ one, index, instance });
  }
  return { followers, news, until };
}

/**
 * Throws when a clean-up has overtaken what was read after `from` since it was surveyed: rows may have been deleted before they were read.
 * The next attempt tells of it.
 */
export async function requireKept(connection: Connection, followers: readonly Follower[], from: string): Promise<void> {
  const starts = await readStarts(connection);
  for (const { one, instance } of followers) {
    const start = starts.get(instance.id);
    if (start === undefined || sinceOf(from, one) < start)
      throw new Error(
        `The change table of ${one.table.ref.schema}.${one.table.ref.name} was cleaned up while it was read.`,
      );
  }
}

/** So many tables are asked at once whether they have changes. */
const ASKED_AT_ONCE = 50;

/** Those that have changes after `from` up to `to`. */
export async function busyTables(
  connection: Connection,
  followers: readonly Follower[],
  from: string,
  to: string,
): Promise<Follower[]> {
  const busy: Follower[] = [];
  for (let at = 0; at < followers.length; at += ASKED_AT_ONCE) {
    const part = followers.slice(at, at + ASKED_AT_ONCE);
    const asked = part.map(
      ({ instance }, i) =>
        `SELECT ${i} AS place WHERE EXISTS (SELECT 1 AS one FROM cdc.${quoteName(instance.changeTable)} AS c WHERE c.[__$start_lsn] > CONVERT(binary(10), @from, 2) AND c.[__$start_lsn] <= CONVERT(binary(10), @to, 2))`,
    );
    const found = new Set((await connection.query(asked.join('\nUNION ALL\n'), { from, to })).map(([i]) => Number(i)));
    busy.push(...part.filter((_, i) => found.has(i)));
  }
  return busy;
}
