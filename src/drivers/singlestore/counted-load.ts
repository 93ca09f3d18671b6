import { DestinationRejected, isPermanent, StructureChanged } from '../errors.ts';
import type { Batch, ChunkRead, Table } from '../model.ts';
import { type Answer, numberOf, rows, type Session } from './connection.ts';
import { type Sent, send } from './load.ts';
import { type FoundRow, findRow } from './refused-row.ts';
import { type Reject, readReject, serverText } from './rejects.ts';

/** A LOAD that is counted at both ends: what was read, sent, recorded and kept must be the same number of rows. */
export type CountedLoad = {
  readonly statement: string;
  /** The table as it is named in messages, and its columns in the order of the lines. */
  readonly table: Table;
  readonly replace: boolean;
  /** What is filled, as messages name it: `The shadow table`. */
  readonly filled: string;
  /** Called with the server's words when it refused a row. */
  readonly refuse: (words: string) => void;
};

/** Sends a counted load. Anything that does not add up, and any warning, throws; the caller's transaction must not go on then. */
export async function countedLoad(
  session: Session,
  load: CountedLoad,
  batches: AsyncGenerator<Batch, ChunkRead, undefined>,
  progress: (rows: number, bytes: number) => void,
  signal: AbortSignal,
): Promise<Sent> {
  const { table, refuse } = load;
  let sent: Sent;
  try {
    sent = await send(session, load.statement, batches, progress, signal);
  } catch (error) {
    if (isPermanent(error) || !REFUSES_ROW_OR_TABLE.has(numberOf(error))) throw error;
    refuse(serverText(error));
    if (numberOf(error) === 1146 || numberOf(error) === 1054)
      throw new StructureChanged(
        `${load.filled} of ${nameOf(table)} is gone or has other columns than the load.`,
        'Start the table again.',
      );
    throw error;
  }
  if (sent.answer === null) {
    if (sent.read.rows !== 0) throw miscounted(table, `the reader counted ${sent.read.rows} rows and sent none`);
    return sent;
  }
  if (sent.answer.warnings > 0) {
    const warnings = await rows(session, 'show warnings');
    const words = String(warnings[0]?.['Message'] ?? 'a warning without text');
    refuse(words);
    throw new DestinationRejected(words, '');
  }
  checkCounts(load, sent, sent.answer);
  return sent;
}

/** 1054 and 1146 say that the shadow is gone; all others that a row does not fit, or repeats a key. */
const REFUSES_ROW_OR_TABLE: ReadonlySet<number> = new Set([
  1048, 1054, 1062, 1118, 1146, 1153, 1261, 1262, 1263, 1264, 1265, 1292, 1300, 1301, 1364, 1366, 1367, 1406, 1411,
  2222, 3140, 3141, 3156, 3819, 4025,
]);

function checkCounts({ table, replace }: CountedLoad, sent: Sent, answer: Answer): void {
  if (sent.rows !== sent.read.rows)
    throw miscounted(table, `the reader counted ${sent.read.rows} rows and sent ${sent.rows}`);
  const said = /Records: (\d+)\s+Deleted: (\d+)\s+Skipped: (\d+)/.exec(answer.info);
  if (said) {
    const [records, deleted, skipped] = said.slice(1).map(Number) as [number, number, number];
    if (records !== sent.rows || skipped !== 0 || (deleted !== 0 && !replace))
      throw miscounted(table, `${sent.rows} rows were sent, the destination says "${answer.info}"`);
    return;
  }
  // Without that text only the number of rows written is known; a replaced row counts twice.
  const most = replace ? 2 * sent.rows : sent.rows;
  if (answer.affected < sent.rows || answer.affected > most)
    throw miscounted(table, `${sent.rows} rows were sent, the destination wrote ${answer.affected}`);
}

function miscounted(table: Table, what: string): DestinationRejected {
  return new DestinationRejected(
    `The load of ${nameOf(table)} does not add up: ${what}.`,
    'Run the operation again; report it with the log if it stays.',
  );
}

/**
 * The error of a refused row, with table, key and column. The key is looked up in a second reading of the lines, where there is one; `where`: what
 * a row's number counts in.
 */
export async function rejection(
  table: Table,
  where: string,
  words: string,
  again: (() => AsyncGenerator<Batch, ChunkRead, undefined>) | undefined,
  signal: AbortSignal,
): Promise<DestinationRejected> {
  const reject = readReject(words, table.columns);
  if (reject.key !== undefined)
    return new DestinationRejected(
      `Two rows of ${nameOf(table)} have the key ${table.key.join(', ')} = '${reject.key}' at the destination.`,
      'Make the keys differ in what the destination compares, or choose another `key` in the table’s options.',
    );
  const found = await find(table, again, reject, signal);
  const number = reject.row === undefined ? 'a row' : `row ${reject.row}`;
  const column = reject.column?.name ?? found?.column;
  return new DestinationRejected(
    `The destination refused a row of ${nameOf(table)} (${found?.key || `${number} of ${where}`}${column === undefined ? '' : `, column ${column}`}): ${reject.reason}.`,
    'Correct the row at the source, or give the column another destination type with the `types` option.',
  );
}

async function find(
  table: Table,
  again: (() => AsyncGenerator<Batch, ChunkRead, undefined>) | undefined,
  reject: Reject,
  signal: AbortSignal,
): Promise<FoundRow | undefined> {
  if (!again) return undefined;
  try {
    return await findRow(table, again(), reject, signal);
  } catch {
    // A failure to find the row must not hide why it was refused.
    return undefined;
  }
}

function nameOf(table: Table): string {
  return `${table.ref.schema}.${table.ref.name}`;
}
