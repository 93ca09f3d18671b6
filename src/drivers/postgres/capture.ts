import type { Capture, CaptureRequest } from '../changes.ts';
import { isPermanent } from '../errors.ts';
import { after, REREAD_GRACE_MS } from '../grace.ts';
import type { Described, DescribeRequest, Position, RuleUse } from '../model.ts';
import { type Server, withSession } from './connection.ts';
import { failure } from './failure.ts';
import { logEvents } from './log-events.ts';
import { checkStart, lost } from './log-start.ts';
import { formatLsn, parseLsn } from './lsn.ts';
import { logDecoder } from './pgoutput.ts';
import { type LogStream, startReplication } from './replication.ts';
import { rereadRows } from './reread.ts';
import { ruleTally } from './special-values.ts';
import { quoteName } from './sql.ts';

export type CaptureContext = {
  readonly server: Server;
  /** `on_unrepresentable` = error. */
  readonly refuse: boolean;
  readonly describe: (requests: readonly DescribeRequest[]) => Promise<Described[]>;
};

/** Opens a reader of the log (contract: `Source.capture`). */
export async function openCapture(
  context: CaptureContext,
  request: CaptureRequest,
  signal: AbortSignal,
): Promise<Capture> {
  const { server, refuse } = context;
  const { tables, slot } = request;
  signal.throwIfAborted();
  const rereading = after(signal, REREAD_GRACE_MS);
  const client = await server.replication();
  let stream: LogStream | undefined;
  const close = async (): Promise<void> => {
    signal.removeEventListener('abort', abort);
    await (stream?.close() ?? client.end().catch(() => {}));
  };
  const abort = (): void => void close();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const history = async (timeline: number): Promise<string> => {
      const { rows } = await client.query<{ content: Buffer | string }>(`TIMELINE_HISTORY ${timeline}`);
      return String(rows[0]?.content ?? '');
    };
    const start = await withSession(server, (session) => checkStart(session, server, request, history));
    const publication = quoteName(request.pipeline).replaceAll("'", "''");
    stream = await startReplication(
      client,
      `START_REPLICATION SLOT ${quoteName(slot)} LOGICAL ${formatLsn(parseLsn(request.from))} (proto_version '1', publication_names '${publication}')`,
      start.aliveMs,
    );
    signal.throwIfAborted();
    const reader = stream;
    const suffix = start.promoted ? `@${start.timeline}` : '';
    const tallies = tables.map(() => ruleTally());
    const position = (lsn: bigint): Position => `${formatLsn(lsn)}${suffix}` as Position;
    const decoder = logDecoder({
      from: parseLsn(request.from),
      skip: tables.map(({ skip }) => skip.map(parseLsn).reduce((last, one) => (one > last ? one : last), 0n)),
      position,
      moneyScale: server.moneyScale,
      refuse,
      validate: start.validate,
    });
    return {
      async *events() {
        try {
          yield* logEvents(
            { ...context, request, stream: reader, decoder, position, tallies, standby: start.standby },
            signal,
          );
        } catch (error) {
          signal.throwIfAborted();
          throw startFailure(error, slot);
        }
      },
      reread: (table, keys) =>
        rereadRows(server, (tables[table] as (typeof tables)[0]).table, keys, decoder.delivered, refuse, rereading),
      async acknowledge(position) {
        reader.acknowledge(parseLsn(position));
      },
      takeRules: () =>
        tallies.flatMap((tally, table) => {
          const rules = [...tally.take(), ...maskUses(table)];
          return rules.length === 0 ? [] : [{ table, rules }];
        }),
      [Symbol.asyncDispose]: close,
    };

    function maskUses(index: number): RuleUse[] {
      const count = decoder.rows[index] as number;
      decoder.rows[index] = 0;
      const { columns } = (tables[index] as (typeof tables)[0]).table;
      return count === 0
        ? []
        : columns
            .filter((column) => column.masked)
            .map((column) => ({ rule: 'mask', column: column.name, count, examples: [] }));
    }
  } catch (error) {
    await close();
    signal.throwIfAborted();
    throw startFailure(error, slot);
  }
}

/** What the server says of a slot that it can't read. */
function startFailure(error: unknown, slot: string): Error {
  const { code, message = '' } = error as { code?: string; message?: string };
  if (isPermanent(error)) return error;
  if (code === '42704' && message.includes(slot))
    return lost(`The replication slot "${slot}" is gone: the log since the position is not kept.`);
  if (code === '55000' && /slot/.test(message))
    return lost(`The replication slot "${slot}" can't be read any more: ${message}.`);
  if (code === '58P01' && /WAL|segment/i.test(message))
    return lost(`The server no longer has the log that the slot "${slot}" needs: ${message}.`);
  return failure(error);
}
