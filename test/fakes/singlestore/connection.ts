import { isUtf8 } from 'node:buffer';
import { connect, type Socket } from 'node:net';
import type { Catalog } from './catalog.ts';
import { type DateScanner, scanDates } from './load-dates.ts';
import {
  errorPacket,
  frameCount,
  frameHeader,
  frames,
  MAX_FRAME,
  readChangeUser,
  readHandshakeResponse,
  rewriteGreeting,
  STATUS,
} from './packets.ts';
import { type ClientPacket, type PacketReader, readPackets, write } from './reader.ts';
import { type Outcome, type ResponseTracker, trackResponses } from './responses.ts';
import { rewrite } from './rewrites.ts';
import type { SqlError } from './rule.ts';
import { checkAll, type Rejection } from './rules.ts';
import { invalidDate } from './rules-value.ts';
import { endTransaction, newSession, observe, type Session } from './session.ts';
import { parse, type Statement } from './statement.ts';
import { sessionSettings, type Variables } from './variables.ts';

/** What the connections of one proxy share. */
export type Shared = {
  backend: { host: string; port: number };
  catalog: Catalog;
  variables: Variables;
  checkLoadDates: boolean;
  /** Completes the session's catalog with tables that a statement needs and that were not seen being created. */
  lookUp(statements: Statement[], session: Session): Promise<Session>;
  /** The text to run in place of a statement that the backend would answer in its own way. */
  replace(statement: Statement, session: Session): Promise<string | undefined>;
  onStatement(sql: string): void;
  onRejection(rejection: Rejection): void;
};

const COMMAND = {
  quit: 0x01,
  initDb: 0x02,
  query: 0x03,
  fieldList: 0x04,
  statistics: 0x09,
  changeUser: 0x11,
  reset: 0x1f,
} as const;
/** Commands that only a server with server-side prepared statements, replication or MariaDB's extensions has. */
const REFUSED = new Set([0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1a, 0x1c, 0x1e, 0xfa, 0xfe]);
const CLOSE_STATEMENT = 0x19;
const NOT_PREPARED: SqlError = {
  code: 1295,
  state: 'HY000',
  message: 'This command is not supported in the prepared statement protocol yet',
};

/** One client with its connection to the backend. */
type Link = {
  client: Socket;
  server: Socket;
  reader: PacketReader;
  tracker: ResponseTracker;
  session: Session;
  shared: Shared;
  shift: number;
  /** Whether the server answers the proxy itself. */
  muted: boolean;
};

/** Serves one client until either side goes. */
export function serveClient(client: Socket, shared: Shared): Socket {
  const server = connect(shared.backend);
  const link: Link = {
    client,
    server,
    reader: readPackets(client),
    tracker: trackResponses(),
    session: newSession(undefined, shared.catalog, conversionLevel(shared)),
    shared,
    shift: 0,
    muted: false,
  };
  client.setNoDelay(true);
  server.setNoDelay(true);
  server.on('error', () => client.destroy());
  client.on('error', () => server.destroy());
  // A client that goes in the middle of a LOAD must not look like one that has finished it: the backend's socket is cut.
  client.on('close', () => server.destroy());
  server.on('close', () => client.end());
  forwardResponses(link);
  converse(link)
    .catch((error: unknown) => {
      if (!client.destroyed)
        client.write(errorPacket({ code: 1105, state: 'HY000', message: `stand-in failed: ${String(error)}` }, 1));
    })
    .finally(() => server.end());
  return server;
}

function conversionLevel(shared: Shared): string {
  return String(shared.variables['data_conversion_compatibility_level']);
}

/** Server to client: the greeting changed, everything else as it comes, no faster than the client reads. */
function forwardResponses(link: Link): void {
  const { client, server, tracker, shared } = link;
  let greeting: Buffer | undefined = Buffer.alloc(0);
  server.on('data', (data: Buffer) => {
    let chunk = data;
    if (greeting) {
      greeting = Buffer.concat([greeting, data]);
      const end = greeting.length < 4 ? Number.POSITIVE_INFINITY : 4 + greeting.readUIntLE(0, 3);
      if (greeting.length < end) return;
      const changed = rewriteGreeting(greeting.subarray(4, end), String(shared.variables['version']));
      client.write(Buffer.concat(frames(changed, greeting[3] ?? 0)));
      chunk = greeting.subarray(end);
      greeting = undefined;
    }
    const { muted } = link;
    tracker.feed(chunk, link.shift);
    if (chunk.length > 0 && !muted && !client.write(chunk)) {
      server.pause();
      client.once('drain', () => server.resume());
    }
  });
}

/** Client to server: one command after the other, each after the answer to the one before. */
async function converse(link: Link): Promise<void> {
  const { reader, server, session } = link;
  const response = await reader.packet();
  if (!response) return;
  const handshake = readHandshakeResponse(response.payload);
  session.database = handshake.database;
  const greeted = await authenticate(link, handshake.payload, response.sequence);
  if (!greeted.failed) await settle(link);
  for (;;) {
    const packet = await reader.packet();
    if (!packet || server.destroyed) return;
    if (!(await command(link, packet))) return;
  }
}

/** Passes authentication packets both ways until the server has decided. */
async function authenticate({ reader, server, tracker }: Link, first: Buffer, sequence: number): Promise<Outcome> {
  const result = tracker.expect('auth');
  await write(server, ...frames(first, sequence));
  for (;;) {
    const outcome = await Promise.race([result, reader.ready()]);
    if (typeof outcome === 'object') return outcome;
    if (!outcome) return result;
    await write(server, await reader.some(MAX_FRAME));
  }
}

/** Gives the backend's session what every session of SingleStore has, while no answer to the client is under way. */
async function settle(link: Link): Promise<void> {
  const { server, tracker, session } = link;
  link.muted = true;
  for (const sql of sessionSettings(session.level)) {
    const result = tracker.expect('results');
    await write(server, ...frames(Buffer.from(`${String.fromCharCode(COMMAND.query)}${sql}`), 0));
    await result;
  }
  link.muted = false;
}

/** Runs one command; false when the conversation is over. */
async function command(link: Link, packet: ClientPacket): Promise<boolean> {
  const { client, server, tracker, session } = link;
  const code = packet.payload[0] ?? 0;
  if (code === COMMAND.quit) {
    await write(server, ...frames(packet.payload, 0));
    return false;
  }
  if (code === COMMAND.query) return query(link, packet);
  if (code === CLOSE_STATEMENT) return true;
  if (REFUSED.has(code)) {
    link.shared.onRejection({
      sql: packet.payload.toString('utf8', 1, 1000),
      rule: 'prepared-protocol',
      ref: '§7.18, §6',
      error: NOT_PREPARED,
    });
    await write(client, errorPacket(NOT_PREPARED, packet.sequence + 1));
    return true;
  }
  if (code === COMMAND.changeUser) {
    const outcome = await authenticate(link, packet.payload, 0);
    if (outcome.failed) return true;
    Object.assign(session, newSession(readChangeUser(packet.payload), session.catalog, session.level));
    await settle(link);
    return true;
  }
  const result = tracker.expect(code === COMMAND.fieldList ? 'list' : 'single');
  await write(server, ...frames(packet.payload, 0));
  const outcome = await result;
  if (outcome.failed) return true;
  if (code === COMMAND.initDb) session.database = packet.payload.toString('utf8', 1);
  if (code === COMMAND.reset) {
    Object.assign(session, newSession(session.database, session.catalog, session.level));
    await settle(link);
  }
  return true;
}

/** Runs a COM_QUERY: checks it, rewrites it, forwards it and follows what comes of it. */
async function query(link: Link, packet: ClientPacket): Promise<boolean> {
  const { client, server, tracker, session, shared } = link;
  const body = packet.payload.subarray(1);
  // Every byte of a text in another encoding survives a round trip through latin1.
  const encoding = isUtf8(body) ? 'utf8' : 'latin1';
  const text = body.toString(encoding);
  shared.onStatement(text);
  const statements = parse(text);
  const known = await shared.lookUp(statements, session);
  const rejection = checkAll(statements, known);
  if (rejection) {
    shared.onRejection(rejection);
    await write(client, errorPacket(rejection.error, packet.sequence + 1));
    return true;
  }
  const replaced = statements.length === 1 && statements[0] ? await shared.replace(statements[0], known) : undefined;
  const rewritten = replaced ?? rewrite(text, statements, known, shared.variables);
  const payload =
    rewritten === text
      ? packet.payload
      : Buffer.concat([packet.payload.subarray(0, 1), Buffer.from(rewritten, encoding)]);
  link.shift = packet.frames - frameCount(payload.length);
  const result = tracker.expect('results');
  await write(server, ...frames(payload, 0));
  let outcome = await result;
  let results = outcome.results;
  while (outcome.kind === 'infile') {
    const current = statements[results];
    const scanner = shared.checkLoadDates && session.level >= '8.0' && current ? scanDates(current, known) : undefined;
    const next = tracker.expect('results');
    if (!(await forwardInfile(link, scanner))) return false;
    outcome = await next;
    results += outcome.results;
  }
  link.shift = 0;
  for (const statement of statements.slice(0, results)) observe(session, statement);
  if (outcome.status !== undefined) followStatus(session, outcome.status);
  return true;
}

/** Takes over what the server says about the transaction: it also ends by errors and by statements not understood here. */
function followStatus(session: Session, status: number): void {
  session.autocommit = (status & STATUS.autocommit) !== 0;
  if (status & STATUS.inTransaction) session.open = true;
  else endTransaction(session);
}

/**
 * Passes the data of a LOAD DATA LOCAL up to its empty packet. When the scanner finds a date that SingleStore refuses, the
 * backend's connection is cut (the rows are rolled back), the rest of the data is swallowed and the client gets an error.
 */
async function forwardInfile(link: Link, scanner: DateScanner | undefined): Promise<boolean> {
  const { client, reader, server, shared } = link;
  let continued = false;
  let refused: string | undefined;
  for (;;) {
    const header = await reader.exactly(4);
    if (!header) return false;
    const length = header.readUIntLE(0, 3);
    const sequence = header[3] ?? 0;
    // What a statement gained or lost in frames the client's numbers do not know of.
    const parts = [frameHeader(length, sequence - link.shift)];
    for (let left = length; left > 0; ) {
      const part = await reader.some(left);
      if (part.length === 0) return false;
      left -= part.length;
      refused ??= scanner?.(part);
      if (refused !== undefined) server.removeAllListeners('close').destroy();
      else await write(server, ...parts.splice(0), part);
    }
    if (length === 0 && !continued) {
      if (refused === undefined) {
        await write(server, ...parts);
        return true;
      }
      const error = invalidDate(refused);
      shared.onRejection({ sql: 'LOAD DATA', rule: 'year-before-1000', ref: '§7.6, §1', error });
      client.end(errorPacket(error, sequence + 1));
      return false;
    }
    if (parts.length > 0 && refused === undefined) await write(server, ...parts);
    continued = length === MAX_FRAME;
  }
}
