import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { BSON } from 'mongodb';

/** OP_MSG and the handshake's OP_QUERY (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/), as a server sees them. */

export type Certificates = { readonly cert: string; readonly key: string };
export type Command = BSON.Document & { readonly $db: string };
/** What a command is answered with; `ok: 1` is added. */
export type Answer = BSON.Document;

/** An answer that is an error of the server. */
export class CommandError extends Error {
  readonly code: number;
  readonly codeName: string;
  constructor(code: number, codeName: string, message: string) {
    super(message);
    this.code = code;
    this.codeName = codeName;
  }
}

export type Peer = { readonly id: number; user: string | undefined; sasl?: unknown };

/** Listens, and gives each command to `handle`; one connection's commands one after the other. */
export async function listen(
  handle: (command: Command, peer: Peer) => Promise<Answer> | Answer,
  certificates?: Certificates,
): Promise<{ readonly port: number; readonly sockets: ReadonlySet<Socket>; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  let peers = 0;
  const accept = (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    serve(socket, { id: ++peers, user: undefined }, handle);
  };
  const server: Server = certificates ? createTlsServer(certificates, accept) : createServer(accept);
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    sockets,
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;
let requests = 0;

function serve(socket: Socket, peer: Peer, handle: (command: Command, peer: Peer) => Promise<Answer> | Answer): void {
  let rest = Buffer.alloc(0);
  let turn = Promise.resolve();
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4) {
      const length = rest.readInt32LE(0);
      // A TLS handshake to a server without TLS looks like this.
      if (length < 16 || length > 48_000_000) {
        socket.destroy();
        return;
      }
      if (rest.length < length) return;
      const message = Buffer.from(rest.subarray(0, length));
      rest = rest.subarray(length);
      turn = turn.then(async () => {
        const answer = await answerOf(message, peer, handle);
        if (!socket.destroyed) socket.write(answer);
      });
    }
  });
}

async function answerOf(
  message: Buffer,
  peer: Peer,
  handle: (command: Command, peer: Peer) => Promise<Answer> | Answer,
): Promise<Buffer> {
  const id = message.readInt32LE(4);
  const kind = message.readInt32LE(12);
  const command = kind === OP_QUERY ? readQuery(message) : readMessage(message);
  let answer: BSON.Document;
  try {
    answer = { ...(await handle(command, peer)), ok: 1 };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const { code, codeName, message: errmsg } = error;
    answer = { ok: 0, errmsg, code, codeName };
  }
  const body = serializeAnswer(answer);
  const header = Buffer.alloc(16);
  header.writeInt32LE(++requests, 4);
  header.writeInt32LE(id, 8);
  if (kind === OP_QUERY) {
    const middle = Buffer.alloc(20);
    middle.writeInt32LE(1, 16);
    header.writeInt32LE(OP_REPLY, 12);
    header.writeInt32LE(36 + body.length, 0);
    return Buffer.concat([header, middle, body]);
  }
  header.writeInt32LE(OP_MSG, 12);
  header.writeInt32LE(21 + body.length, 0);
  return Buffer.concat([header, Buffer.alloc(5), body]);
}

const READ = { promoteValues: false, promoteBuffers: false, bsonRegExp: true } as const;

function readQuery(message: Buffer): Command {
  const end = message.indexOf(0, 20);
  return {
    ...BSON.deserialize(message.subarray(end + 9), READ),
    $db: message.toString('utf8', 20, end).split('.')[0] ?? '',
  };
}

/** Sections: the command, and documents that belong into one of its arrays, kept as bytes. */
function readMessage(message: Buffer): Command {
  let command: BSON.Document = {};
  const arrays = new Map<string, Raw[]>();
  for (let at = 20; at < message.length; ) {
    const section = message[at++];
    const size = message.readInt32LE(at);
    if (section === 0) command = withRawDocuments(message.subarray(at, at + size));
    else {
      const end = message.indexOf(0, at + 4);
      const list: Raw[] = [];
      for (let p = end + 1; p < at + size; p += message.readInt32LE(p))
        list.push(new Raw(message.subarray(p, p + message.readInt32LE(p))));
      arrays.set(message.toString('utf8', at + 4, end), list);
    }
    at += size;
  }
  return { ...command, ...Object.fromEntries(arrays) } as unknown as Command;
}

/** `documents` of an insert stay bytes: an object of JavaScript would change the order of fields. */
function withRawDocuments(bytes: Buffer): BSON.Document {
  const command = BSON.deserialize(bytes, READ);
  if (!Array.isArray(command['documents'])) return command;
  const raw = BSON.deserialize(bytes, { ...READ, fieldsAsRaw: { documents: true } })['documents'] as Uint8Array[];
  return { ...command, documents: raw.map((one) => new Raw(Buffer.from(one))) };
}

/** A document that goes through as bytes. */
export class Raw {
  readonly bytes: Buffer;
  #object: BSON.Document | undefined;
  constructor(bytes: Buffer) {
    this.bytes = Buffer.from(bytes);
  }
  get object(): BSON.Document {
    this.#object ??= BSON.deserialize(this.bytes, READ);
    return this.#object;
  }
}

/** Serializes an answer in which documents may stand as bytes, at any depth. */
export function serializeAnswer(value: BSON.Document, array = false): Buffer {
  const parts: Buffer[] = [];
  for (const [name, item] of array ? (value as unknown as unknown[]).entries() : Object.entries(value)) {
    if (item === undefined) continue;
    const label = Buffer.from(`${name}\0`);
    if (item instanceof Raw) parts.push(Buffer.of(3), label, item.bytes);
    else if (Array.isArray(item)) parts.push(Buffer.of(4), label, serializeAnswer(item, true));
    else if (isPlain(item)) parts.push(Buffer.of(3), label, serializeAnswer(item));
    else parts.push(Buffer.from(BSON.serialize({ [String(name)]: item })).subarray(4, -1));
  }
  const body = Buffer.concat(parts);
  const out = Buffer.alloc(body.length + 5);
  out.writeInt32LE(out.length, 0);
  body.copy(out, 4);
  return out;
}

function isPlain(value: unknown): value is BSON.Document {
  return value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype;
}
