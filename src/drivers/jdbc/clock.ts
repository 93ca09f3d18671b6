import { Misconfigured } from '../errors.ts';
import type { JdbcOptions } from './options.ts';
import { ask, type Facts, type Session } from './session.ts';

/** Databases that tell the time in UTC by a statement of their own. */
const KNOWN: Partial<Record<Facts['product'], string>> = {
  postgres: 'select clock_timestamp()',
  mysql: "select concat(utc_timestamp(3), 'Z')",
  sqlite: "select strftime('%Y-%m-%d %H:%M:%fZ', 'now')",
  oracle: "select to_char(sys_extract_utc(systimestamp), 'YYYY-MM-DD HH24:MI:SS.FF3') || 'Z' from dual",
  snowflake: "select to_char(sysdate(), 'YYYY-MM-DD HH24:MI:SS.FF3') || 'Z'",
};

/** CURRENT_TIMESTAMP is SQL's own word, but a statement needs a table in some databases, each another one. */
const OTHERS: readonly string[] = [
  'select current_timestamp',
  'values current_timestamp',
  'select current_timestamp from dual',
  'select current_timestamp from sysibm.sysdummy1',
  'select current_timestamp from rdb$database',
];

/** The database's clock, ms since 1970 (UTC). */
export async function clockOf(session: Session, options: JdbcOptions, worker = Date.now): Promise<number> {
  const own = KNOWN[session.facts.product];
  let last: unknown;
  for (const sql of own === undefined ? OTHERS : [own]) {
    try {
      const [row] = await ask(session, options, { doing: 'asking' }, 'Q', [sql, []]);
      const at = momentOf(row?.[0] ?? '', worker());
      if (at !== undefined) return at;
    } catch (error) {
      if (session.jvm.ended()) throw error;
      last = error;
    }
  }
  throw new Misconfigured(
    `${session.facts.productName} does not tell its time in a way that is known here${last instanceof Error ? `: ${last.message}` : '.'}`,
    'Set `capture` to none: full extracts only.',
  );
}

const QUARTER_MS = 900_000;

/** A time as drivers print it. Without a zone it is of some zone, whose clocks differ from this worker's by whole quarters of an hour. */
export function momentOf(text: string, worker: number): number | undefined {
  const match =
    /^(\d{4})-(\d\d?)-(\d\d?)[ T](\d\d?)[:.](\d\d?)[:.](\d\d?)(?:\.(\d+))?\s*(?:(Z|UTC)|([+-])(\d\d?):?(\d\d)?)?$/.exec(
      text,
    );
  if (!match) return undefined;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const wall = Date.UTC(
    year,
    month - 1,
    day,
    hour,
    minute,
    second,
    Number((match[7] ?? '').padEnd(3, '0').slice(0, 3)),
  );
  const [zone, sign, hours, minutes] = match.slice(8);
  if (zone !== undefined) return wall;
  if (sign === undefined) return wall - Math.round((wall - worker) / QUARTER_MS) * QUARTER_MS;
  const offset = Number(hours) * 3_600_000 + Number(minutes ?? '0') * 60_000;
  return sign === '-' ? wall + offset : wall - offset;
}
