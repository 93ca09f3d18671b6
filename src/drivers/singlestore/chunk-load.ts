import type { ChunkClaim, LoadTarget } from '../destination.ts';
import { DestinationRejected, isPermanent, StructureChanged, Superseded } from '../errors.ts';
import type { Batch, ChunkRead, Table } from '../model.ts';
import { claimHolds, finishChunk } from './chunks.ts';
import { type Answer, numberOf, rows, run, type Session } from './connection.ts';
import { loadStatement, type Sent, send } from './load.ts';
import { type Pool, withSession } from './pool.ts';
import { type FoundRow, findRow } from './refused-row.ts';
import { type Reject, readReject, serverText } from './rejects.ts';

/**
 * Loads a chunk into its shadow and marks it done in one transaction. What was sent, read, recorded by the server and kept must be the same
 * number of rows; anything else throws, and nothing stays.
 */
export async function loadChunk(
  pool: Pool,
  target: LoadTarget,
  claim: ChunkClaim,
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
  progress: (rows: number, bytes: number) => void,
  signal: AbortSignal,
): Promise<{ rows: number; bytes: number }> {
  let refused: { readonly words: string } | undefined;
  try {
    return await withSession(pool, async (session) => {
      await run(session, 'begin');
      const statement = loadStatement(target, claim, pool.dialect.loadCharset);
      const sent = await attempt(session, target, statement, batches, progress, signal, (words) => {
        refused = { words };
      });
      const { read, rows: count, bytes } = sent;
      await finishChunk(session, target.database, claim, { rows: count, bytes, rules: JSON.stringify(read.rules) });
      await run(session, 'commit');
      return { rows: count, bytes };
    });
  } catch (error) {
    if (refused === undefined) throw error;
    // The claim decides first: a load that lost its table or its chunk was not refused because of a row.
    if (!(await withSession(pool, (session) => claimHolds(session, target.database, claim).catch(() => false))))
      throw new Superseded(
        `Load ${claim.load} of table ${claim.id} belongs to another attempt, or was given up.`,
        'Nothing: the attempt that owns the load goes on.',
      );
    if (error instanceof StructureChanged) throw error;
    throw await rejection(target, claim, refused.words, signal);
  } finally {
    // Not begun, when no connection could be had.
    void batches.return(undefined as never).catch(() => undefined);
  }
}

async function attempt(
  session: Session,
  target: LoadTarget,
  statement: string,
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
  progress: (rows: number, bytes: number) => void,
  signal: AbortSignal,
  refuse: (words: string) => void,
): Promise<Sent> {
  let sent: Sent;
  try {
    sent = await send(session, statement, batches, progress, signal);
  } catch (error) {
    if (isPermanent(error) || !REFUSES_ROW_OR_TABLE.has(numberOf(error))) throw error;
    refuse(serverText(error));
    if (numberOf(error) === 1146 || numberOf(error) === 1054)
      throw new StructureChanged(
        `The shadow table of ${nameOf(target.table)} is gone or has other columns than the load.`,
        'Start the table again.',
      );
    throw error;
  }
  if (sent.answer === null) {
    if (sent.read.rows !== 0) throw miscounted(target, `the reader counted ${sent.read.rows} rows and sent none`);
    return sent;
  }
  if (sent.answer.warnings > 0) {
    const warnings = await rows(session, 'show warnings');
    const words = String(warnings[0]?.['Message'] ?? 'a warning without text');
    refuse(words);
    throw new DestinationRejected(words, '');
  }
  checkCounts(target, sent, sent.answer);
  return sent;
}

/** 1054 and 1146 say that the shadow is gone; all others that a row does not fit, or repeats a key. */
const REFUSES_ROW_OR_TABLE: ReadonlySet<number> = new Set([
  1048, 1054, 1062, 1118, 1146, 1153, 1261, 1262, 1263, 1264, 1265, 1292, 1300, 1301, 1364, 1366, 1367, 1406, 1411,
  2222, 3140, 3141, 3156, 3819, 4025,
]);

function checkCounts(target: LoadTarget, sent: Sent, answer: Answer): void {
  if (sent.rows !== sent.read.rows)
    throw miscounted(target, `the reader counted ${sent.read.rows} rows and sent ${sent.rows}`);
  const said = /Records: (\d+)\s+Deleted: (\d+)\s+Skipped: (\d+)/.exec(answer.info);
  if (said) {
    const [records, deleted, skipped] = said.slice(1).map(Number) as [number, number, number];
    if (records !== sent.rows || skipped !== 0 || (deleted !== 0 && !target.replace))
      throw miscounted(target, `${sent.rows} rows were sent, the destination says "${answer.info}"`);
    return;
  }
  // Without that text only the number of rows written is known; a replaced row counts twice.
  const most = target.replace ? 2 * sent.rows : sent.rows;
  if (answer.affected < sent.rows || answer.affected > most)
    throw miscounted(target, `${sent.rows} rows were sent, the destination wrote ${answer.affected}`);
}

function miscounted(target: LoadTarget, what: string): DestinationRejected {
  return new DestinationRejected(
    `The load of ${nameOf(target.table)} does not add up: ${what}.`,
    'Run the operation again; report it with the log if it stays.',
  );
}

/** The error of a refused row, with table, key and column. The key is looked up by reading the chunk again, where the caller can. */
async function rejection(
  target: LoadTarget,
  claim: ChunkClaim,
  words: string,
  signal: AbortSignal,
): Promise<DestinationRejected> {
  const { table } = target;
  const reject = readReject(words, table.columns);
  if (reject.key !== undefined)
    return new DestinationRejected(
      `Two rows of ${nameOf(table)} have the key ${table.key.join(', ')} = '${reject.key}' at the destination.`,
      'Make the keys differ in what the destination compares, or choose another `key` in the table’s options.',
    );
  const found = await find(target, reject, signal);
  const number = reject.row === undefined ? 'a row' : `row ${reject.row}`;
  const column = reject.column?.name ?? found?.column;
  return new DestinationRejected(
    `The destination refused a row of ${nameOf(table)} (${found?.key || `${number} of chunk ${claim.chunk}`}${column === undefined ? '' : `, column ${column}`}): ${reject.reason}.`,
    'Correct the row at the source, or give the column another destination type with the `types` option.',
  );
}

async function find(target: LoadTarget, reject: Reject, signal: AbortSignal): Promise<FoundRow | undefined> {
  const { reread, table } = target;
  if (!reread) return undefined;
  try {
    return await findRow(table, reread(), reject, signal);
  } catch {
    // A failure to find the row must not hide why it was refused.
    return undefined;
  }
}

function nameOf(table: Table): string {
  return `${table.ref.schema}.${table.ref.name}`;
}
