import type { FollowedTable } from '../changes.ts';
import type { ChangedRows, Look, News } from '../cursor-capture.ts';
import { Misconfigured, PositionLost } from '../errors.ts';
import type { Position, RuleUse, Table } from '../model.ts';
import type { Connection } from './connection.ts';
import { toldLater } from './errors.ts';
import { newsOf } from './news.ts';
import type { Pool } from './pool.ts';
import { currentVersion, decodeVersion, encodeVersion, readClocks } from './position.ts';
import { maskUses, pieces } from './read.ts';
import { createRowWriter } from './row-text.ts';
import { quoteName, quoteTable } from './sql.ts';
import { readTracked } from './tracked.ts';
import { fieldsOf, selectList } from './types.ts';

/** So many tables are asked at once whether they have changes. */
const ASKED_AT_ONCE = 50;

/**
 * A look by change tracking: the net changes of all tables since a version, joined with the rows in one snapshot transaction, so that what it
 * finds is the state at one commit (reference/drivers.md §3.2; Microsoft Learn, "Work with change tracking"). null: nothing was committed.
 */
export async function trackingLook(
  pool: Pool,
  from: Position,
  refuse: boolean,
  signal: AbortSignal,
): Promise<Look | null> {
  const connection = await pool.take(signal);
  // A session whose work was left in the middle is of no further use.
  let busy = true;
  const close = async (): Promise<void> => {
    if (busy) return pool.drop(connection);
    busy = true;
    await connection.query('COMMIT TRANSACTION');
    pool.give(connection);
  };
  try {
    if (!connection.facts.snapshot) throw noSnapshots(connection);
    await connection.query('SET TRANSACTION ISOLATION LEVEL SNAPSHOT');
    await connection.query('BEGIN TRANSACTION');
    const version = await currentVersion(connection);
    const since = decodeVersion(from);
    if (version < since)
      throw new PositionLost(
        `The database stands at version ${version}, before ${since}: it was restored, or change tracking was off.`,
        'Run a full extract.',
      );
    const { utc } = await readClocks(connection);
    busy = false;
    if (version === since) {
      await close();
      return null;
    }
    const quiet = new Set<Table>();
    return {
      position: encodeVersion(version),
      at: utc,
      async news(tables) {
        busy = true;
        try {
          const found = await news(connection, tables, since);
          const fine = tables.filter((_, i) => !found[i]);
          for (const one of await quietTables(connection, fine, since)) quiet.add(one);
          // Those that have changes are looked at again when these are read.
          await requireKept(connection, [...quiet], sinceOf(tables, since));
          busy = false;
          return found;
        } catch (error) {
          throw toldLater(error);
        }
      },
      async *changed(table, positions, stop) {
        if (quiet.has(table)) return [];
        busy = true;
        try {
          const uses = yield* rowsOf(connection, table, latest(positions), refuse, stop);
          busy = false;
          return uses;
        } catch (error) {
          throw toldLater(error);
        }
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    busy = true;
    await close();
    throw error;
  }
}

async function* rowsOf(
  connection: Connection,
  table: Table,
  since: bigint,
  refuse: boolean,
  signal: AbortSignal,
): AsyncGenerator<ChangedRows, readonly RuleUse[], undefined> {
  const name = `${table.ref.schema}.${table.ref.name}`;
  const uses: RuleUse[] = [];
  for (const kind of ['delete', 'insert', 'update'] as const) {
    const writer = createRowWriter(
      name,
      fieldsOf(kind === 'delete' ? keyColumns(table) : table.columns, table.key),
      refuse,
    );
    for await (const data of pieces(
      connection,
      changesOf(table, kind),
      (cells) => writer.add(cells),
      () => writer.pending,
      () => writer.take().data,
      signal,
      { since },
    ))
      yield { kind, data };
    uses.push(...writer.uses());
    if (kind !== 'delete') uses.push(...maskUses(table, writer.rows));
  }
  await requireKept(connection, [table], () => since);
  return uses;
}

/** Throws when a clean-up, or TRUNCATE, may have taken away what was read just now. The next look tells of it. */
async function requireKept(
  connection: Connection,
  tables: readonly Table[],
  since: (table: Table) => bigint,
): Promise<void> {
  if (tables.length === 0) return;
  const lost = (await lostTables(connection, tables, since)).find((reason) => reason !== null);
  if (lost) throw new Error(lost);
}

/** Tables without a change since a version: a cheap question for many at once. */
async function quietTables(connection: Connection, tables: readonly FollowedTable[], from: bigint): Promise<Table[]> {
  const quiet: Table[] = [];
  for (let at = 0; at < tables.length; at += ASKED_AT_ONCE) {
    const part = tables.slice(at, at + ASKED_AT_ONCE);
    const asked = part.map(
      ({ table }, i) =>
        `SELECT ${i} AS place WHERE EXISTS (SELECT 1 AS one FROM CHANGETABLE(CHANGES ${quoteTable(table.ref)}, @since) AS ct)`,
    );
    const busy = new Set(
      (await connection.query(asked.join('\nUNION ALL\n'), { since: from })).map(([i]) => Number(i)),
    );
    quiet.push(...part.flatMap(({ table }, i) => (busy.has(i) ? [] : [table])));
  }
  return quiet;
}

async function news(connection: Connection, tables: readonly FollowedTable[], from: bigint): Promise<(News | null)[]> {
  const lost = await lostTables(
    connection,
    tables.map(({ table }) => table),
    sinceOf(tables, from),
  );
  const structures = await newsOf(connection, 'tracking', tables);
  return tables.map((_, i) => {
    const reason = lost[i];
    return reason ? { now: null, reason } : (structures[i] ?? null);
  });
}

/** From which version on a reader that stands at `from` wants a table's changes. */
function sinceOf(tables: readonly FollowedTable[], from: bigint): (table: Table) => bigint {
  const byTable = new Map(tables.map(({ table, skip }) => [table, latest([encodeVersion(from), ...skip])]));
  return (table) => byTable.get(table) ?? from;
}

/** Why the changes of a table since a version are not known any more; null: they are. TRUNCATE and clean-up move the least valid version. */
async function lostTables(
  connection: Connection,
  tables: readonly Table[],
  since: (table: Table) => bigint,
): Promise<(string | null)[]> {
  const tracked = await readTracked(connection);
  const least = new Map(tracked.map(({ ref, least }) => [JSON.stringify([ref.schema, ref.name]), least]));
  return tables.map((table) => {
    const { schema, name } = table.ref;
    const version = least.get(JSON.stringify([schema, name]));
    if (version == null)
      return `Change tracking is off for ${schema}.${name}, or the user may not see it: ALTER TABLE ${quoteTable(table.ref)} ENABLE CHANGE_TRACKING; GRANT VIEW CHANGE TRACKING.`;
    return since(table) < version
      ? `${schema}.${name} was truncated, or its changes were cleaned up before they were read (CHANGE_RETENTION).`
      : null;
  });
}

function latest(positions: readonly Position[]): bigint {
  return positions.map(decodeVersion).reduce((most, one) => (one > most ? one : most));
}

function keyColumns(table: Table): Table['columns'] {
  return table.key.flatMap((name) => table.columns.filter((column) => column.name === name));
}

/** Rows that are there no more, by their keys; new rows; other rows. Each as it is now. */
function changesOf(table: Table, kind: 'delete' | 'insert' | 'update'): string {
  const name = quoteTable(table.ref);
  const on = table.key.map((key) => `t.${quoteName(key)} = ct.${quoteName(key)}`).join(' AND ');
  const source = `FROM CHANGETABLE(CHANGES ${name}, @since) AS ct`;
  const first = quoteName(table.key[0] as string);
  if (kind === 'delete') {
    return `SELECT ${selectList(keyColumns(table), 'ct.')} ${source} LEFT JOIN ${name} AS t ON ${on} WHERE t.${first} IS NULL`;
  }
  return `SELECT ${selectList(table.columns, 't.')} ${source} INNER JOIN ${name} AS t ON ${on} WHERE ct.SYS_CHANGE_OPERATION ${kind === 'insert' ? '=' : '<>'} N'I'`;
}

function noSnapshots({ facts }: Connection): Misconfigured {
  return new Misconfigured(
    `Snapshot isolation is not allowed in ${facts.database}: changes could not be read as of one moment.`,
    `Run ALTER DATABASE [${facts.database}] SET ALLOW_SNAPSHOT_ISOLATION ON.`,
  );
}
