import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { type Call, type Login, parseBatch, parseCall, parseLogin } from './requests.ts';
import {
  colMetadata,
  done,
  errorToken,
  loginTokens,
  returnStatus,
  row,
  type ServerMessage,
  type WireColumn,
} from './tokens.ts';

/** The rows of a statement; or how many it changed. `wire`: rows that are encoded already. */
export type Answer =
  | { readonly columns: readonly WireColumn[]; readonly rows: Iterable<readonly unknown[]>; readonly told?: number }
  | { readonly columns: readonly WireColumn[]; readonly wire: Iterable<Buffer> }
  | { readonly count: number };

/** What a session does with statements. Throws `ServerError` for what the server would refuse. */
export interface Session {
  execute(call: Call): Answer;
  close(): void;
}

export class ServerError extends Error {
  readonly details: ServerMessage;
  constructor(number: number, message: string, state = 1) {
    super(message);
    this.details = { number, message, state };
  }
}

export type TdsOptions = {
  /** Throws `ServerError` for a login that is refused. */
  logIn(login: Login): Session;
  /** Key and certificate; undefined: the server has no TLS. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly tlsRequired?: boolean;
};

export type TdsServer = {
  readonly port: number;
  /** Open connections. */
  sessions(): number;
  /** Cuts all connections. */
  cut(): void;
  close(): Promise<void>;
};

/** A server of the TDS protocol, version 7.4, on 127.0.0.1. */
export async function startTds(options: TdsOptions): Promise<TdsServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    serve(socket, options).catch(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    sessions: () => sockets.size,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

type Message = { readonly type: number; readonly body: Buffer };

/** Waits until a stream takes more, or is gone. */
async function drained(stream: Duplex): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  await Promise.race([once(stream, 'drain', { signal }), once(stream, 'close', { signal })]).catch(() => {});
  over.abort();
}

/** Splits a stream into messages, and tells at once of an attention. */
function reader(stream: Duplex) {
  let waiting = Buffer.alloc(0);
  let parts: Buffer[] = [];
  const ready: Message[] = [];
  let wake = (): void => {};
  let ended = false;
  let attention = false;
  const take = (data: Buffer): void => {
    waiting = Buffer.concat([waiting, data]);
    while (waiting.length >= 8 && waiting.length >= waiting.readUInt16BE(2)) {
      const length = waiting.readUInt16BE(2);
      const type = waiting.readUInt8(0);
      parts.push(waiting.subarray(8, length));
      if ((waiting.readUInt8(1) & 1) === 1) {
        if (type === 6) attention = true;
        ready.push({ type, body: Buffer.concat(parts) });
        parts = [];
      }
      waiting = waiting.subarray(length);
    }
    wake();
  };
  const end = (): void => {
    ended = true;
    wake();
  };
  stream.on('data', take);
  stream.on('close', end);
  stream.on('end', end);
  stream.on('error', end);
  return {
    async next(): Promise<Message | undefined> {
      for (;;) {
        const message = ready.shift();
        if (message) {
          if (message.type === 6) attention = false;
          return message;
        }
        if (ended) return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    stopped: () => ended || attention,
    detach: () => stream.off('data', take),
  };
}

async function serve(socket: Socket, options: TdsOptions): Promise<void> {
  let stream: Duplex = socket;
  let input = reader(stream);
  let packetSize = 4096;

  async function send(body: Buffer, last: boolean): Promise<void> {
    for (let at = 0; at < body.length || (last && at === 0); at += packetSize - 8) {
      const piece = body.subarray(at, at + packetSize - 8);
      const header = Buffer.from([4, last && at + piece.length >= body.length ? 1 : 0, 0, 0, 0, 0, 1, 0]);
      header.writeUInt16BE(piece.length + 8, 2);
      if (!stream.write(Buffer.concat([header, piece]))) await drained(stream);
    }
  }

  const first = await input.next();
  if (first?.type !== 0x12) return void socket.destroy();
  const asked = encryptionOf(first.body);
  const offers = options.tls !== undefined;
  const encrypts = offers && (asked === 1 || asked === 3);
  await send(preLogin(!offers ? 2 : encrypts ? 1 : options.tlsRequired ? 3 : 2), true);
  if (encrypts && options.tls) {
    input.detach();
    stream = await secure(socket, options.tls);
    input = reader(stream);
  }
  const login = await input.next();
  if (login?.type !== 0x10) return void socket.destroy();
  let session: Session;
  try {
    const who = parseLogin(login.body);
    session = options.logIn(who);
    const granted = Math.min(Math.max(who.packetSize, 512), 32_767);
    const answer = loginTokens(who.database === '' ? 'master' : who.database, granted, 0x74000004);
    await send(answer, true);
    packetSize = granted;
  } catch (error) {
    await send(Buffer.concat([refusal(error), done(0xfd, 2)]), true);
    return void stream.end();
  }
  try {
    for (;;) {
      const message = await input.next();
      if (!message) return;
      if (message.type === 6) {
        await send(done(0xfd, 32), true);
        continue;
      }
      const call = message.type === 3;
      const end = (status: number, count = 0): Buffer =>
        call
          ? Buffer.concat([done(0xff, status | 1, count), returnStatus(0), done(0xfe, 0)])
          : done(0xfd, status, count);
      try {
        const answer = session.execute(call ? parseCall(message.body) : parseBatch(message.body));
        if ('count' in answer) await send(end(16, answer.count), true);
        else await sendRows(answer, end);
      } catch (error) {
        await send(Buffer.concat([refusal(error), call ? done(0xfe, 2) : done(0xfd, 2)]), true);
      }
    }
  } finally {
    session.close();
  }

  async function sendRows(answer: Exclude<Answer, { count: number }>, end: (status: number, count: number) => Buffer) {
    let parts: Buffer[] = [colMetadata(answer.columns)];
    let size = 0;
    let count = 0;
    for (const one of 'wire' in answer ? answer.wire : answer.rows) {
      const bytes = Buffer.isBuffer(one) ? one : row(answer.columns, one as readonly unknown[]);
      parts.push(bytes);
      size += bytes.length;
      count++;
      if (size < packetSize * 4) continue;
      // Whole packets only, so that every packet but the last is full.
      const all = Buffer.concat(parts);
      const cut = all.length - (all.length % (packetSize - 8));
      await send(all.subarray(0, cut), false);
      parts = [all.subarray(cut)];
      size = 0;
      await new Promise((resolve) => setImmediate(resolve));
      if (input.stopped()) break;
    }
    // The answer to the statement ends before the attention has its own.
    parts.push(end(input.stopped() ? 2 : 16, ('told' in answer && answer.told) || count));
    await send(Buffer.concat(parts), true);
  }
}

function refusal(error: unknown): Buffer {
  if (error instanceof ServerError) return errorToken(error.details);
  return errorToken({ number: 50_000, message: `the fake failed: ${error instanceof Error ? error.message : error}` });
}

/** ENCRYPTION of a PRELOGIN: 0 off, 1 on, 2 not supported, 3 required. */
function encryptionOf(body: Buffer): number {
  for (let at = 0; body[at] !== 0xff; at += 5) if (body[at] === 1) return body.readUInt8(body.readUInt16BE(at + 1));
  return 2;
}

function preLogin(encryption: number): Buffer {
  const options: [number, Buffer][] = [
    [0, Buffer.from([16, 0, 0x10, 0x3e, 0, 0])],
    [1, Buffer.from([encryption])],
    [2, Buffer.from([0])],
    [3, Buffer.alloc(0)],
    [4, Buffer.from([0])],
  ];
  let offset = options.length * 5 + 1;
  const heads: Buffer[] = [];
  for (const [token, value] of options) {
    const head = Buffer.from([token, 0, 0, 0, 0]);
    head.writeUInt16BE(offset, 1);
    head.writeUInt16BE(value.length, 3);
    heads.push(head);
    offset += value.length;
  }
  return Buffer.concat([...heads, Buffer.from([0xff]), ...options.map(([, value]) => value)]);
}

/** TLS whose handshake travels in PRELOGIN packets, and what follows as it is ([MS-TDS] 2.2.6.5). */
async function secure(socket: Socket, { key, cert }: { key: string; cert: string }): Promise<Duplex> {
  let wrapped = true;
  let waiting = Buffer.alloc(0);
  const carrier = new Duplex({
    read() {},
    write(chunk: Buffer, _, next) {
      if (!wrapped) return void socket.write(chunk, () => next());
      const header = Buffer.from([0x12, 1, 0, 0, 0, 0, 1, 0]);
      header.writeUInt16BE(chunk.length + 8, 2);
      socket.write(Buffer.concat([header, chunk]), () => next());
    },
    final(next) {
      socket.end();
      next();
    },
    destroy(error, next) {
      socket.destroy();
      next(error);
    },
  });
  socket.on('data', (data: Buffer) => {
    if (!wrapped) return void carrier.push(data);
    waiting = Buffer.concat([waiting, data]);
    while (wrapped && waiting.length >= 8 && waiting.length >= waiting.readUInt16BE(2)) {
      const length = waiting.readUInt16BE(2);
      carrier.push(waiting.subarray(8, length));
      waiting = waiting.subarray(length);
    }
  });
  socket.on('close', () => carrier.destroy());
  // With TLS 1.3 the server has more to say after the handshake, which version 7.4 has no place for.
  const stream = new TLSSocket(carrier, { isServer: true, key, cert, maxVersion: 'TLSv1.2' });
  stream.on('error', () => {});
  await Promise.race([once(stream, 'secure'), once(socket, 'close')]);
  wrapped = false;
  return stream;
}
