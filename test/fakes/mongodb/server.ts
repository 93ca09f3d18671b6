import { randomUUID } from 'node:crypto';
import { BSON } from 'mongodb';
import { openStream, type Stream } from './change-stream.ts';
import { timestamp } from './oplog.ts';
import { saslContinue, saslStart } from './scram.ts';
import { createStore, type Store } from './store.ts';
import { compare, matches } from './values.ts';
import { type Answer, type Certificates, type Command, CommandError, listen, type Peer, Raw } from './wire.ts';
import { createWrites } from './writes.ts';

/**
 * A stand-in for mongod with what no other one has: change streams of collections in one or all databases, transactions, post-batch tokens, split events,
 * `invalidate`, an oplog that has lost its beginning. Made from the public documents; the official client library is its foreign client.
 */
export type FakeMongo = AsyncDisposable & {
  readonly port: number;
  readonly store: Store;
  /** Commands that were answered, newest last. */
  readonly seen: readonly Command[];
  /** Cursors that are open. */
  readonly cursors: () => number;
  /** Ends all connections. */
  cut(): void;
  /** Answers commands of this kind with an error, until it is unset. */
  fail: ((command: Command, user: string | undefined) => CommandError | undefined) | undefined;
};

export type FakeOptions = {
  /** '' for a server that stands alone. */
  readonly setName?: string;
  readonly version?: string;
  /** A router of a sharded cluster. */
  readonly sharded?: boolean;
  /** Passwords by name; none: no login is needed. */
  readonly users?: Readonly<Record<string, string>>;
  readonly certificates?: Certificates;
  /** Most events of one batch. */
  readonly batch?: number;
};

type OpenCursor = { readonly lsid: string; rest: Raw[]; readonly ns: string; readonly stream?: Stream };

export async function startFakeMongo(options: FakeOptions = {}): Promise<FakeMongo> {
  const { setName = 'rs0', version = '7.0.14', sharded = false, users, batch = 100 } = options;
  const store = createStore();
  const writes = createWrites(store);
  const cursors = new Map<string, OpenCursor>();
  const seen: Command[] = [];
  const clusterId = new BSON.ObjectId();
  let ids = 0n;

  const server = await listen(handle, options.certificates);
  const address = `127.0.0.1:${server.port}`;
  const alone = setName === '' && !sharded;
  const fake: FakeMongo = {
    port: server.port,
    store,
    seen,
    cursors: () => cursors.size,
    cut: () => {
      for (const socket of server.sockets) socket.destroy();
    },
    fail: undefined,
    [Symbol.asyncDispose]: server.close,
  };

  async function handle(command: Command, peer: Peer): Promise<Answer> {
    const name = Object.keys(command)[0] ?? '';
    seen.push(command);
    const refused = fake.fail?.(command, peer.user);
    if (refused) throw refused;
    if (users && peer.user === undefined && !OPEN.has(name))
      throw new CommandError(13, 'Unauthorized', `Command ${name} requires authentication`);
    const answer = await run(name, command, peer);
    return alone
      ? answer
      : {
          ...answer,
          operationTime: timestamp(store.now),
          $clusterTime: {
            clusterTime: timestamp(store.now),
            signature: { hash: new BSON.Binary(Buffer.alloc(20)), keyId: BSON.Long.ZERO },
          },
        };
  }

  async function run(name: string, command: Command, peer: Peer): Promise<Answer> {
    switch (name) {
      case 'hello':
      case 'isMaster':
      case 'ismaster':
        return hello();
      case 'saslStart':
        return saslStart(command, peer);
      case 'saslContinue':
        // All users are defined in this database.
        return saslContinue(command, peer, command.$db === 'admin' ? (users ?? {}) : {});
      case 'buildInfo':
        return { version, versionArray: version.split('.').map((part) => new BSON.Int32(Number(part))) };
      case 'ping':
      case 'endSessions':
        return {};
      case 'replSetGetConfig':
        return { config: { settings: { replicaSetId: clusterId } } };
      case 'listDatabases':
        return { databases: [...store.databases.keys()].map((one) => ({ name: one })) };
      case 'listCollections':
        return page(command, list(command), 'firstBatch');
      case 'collStats':
        return stats(command);
      case 'find':
        return page(command, find(command), 'firstBatch');
      case 'aggregate':
        return aggregate(command);
      case 'getMore':
        return getMore(command);
      case 'killCursors':
        for (const id of command['cursors'] as unknown[]) cursors.delete(String(id));
        return {};
      default: {
        const answer = writes.run(command);
        if (answer) return answer;
        throw new CommandError(59, 'CommandNotFound', `no such command: '${name}'`);
      }
    }
  }

  function hello(): Answer {
    return {
      helloOk: true,
      isWritablePrimary: true,
      ismaster: true,
      ...(sharded && { msg: 'isdbgrid' }),
      ...(!alone &&
        !sharded && { setName, setVersion: new BSON.Int32(1), hosts: [address], primary: address, me: address }),
      maxBsonObjectSize: new BSON.Int32(16_777_216),
      maxMessageSizeBytes: new BSON.Int32(48_000_000),
      maxWriteBatchSize: new BSON.Int32(100_000),
      localTime: new Date(),
      logicalSessionTimeoutMinutes: new BSON.Int32(30),
      minWireVersion: new BSON.Int32(0),
      maxWireVersion: new BSON.Int32(21),
      saslSupportedMechs: ['SCRAM-SHA-256'],
    };
  }

  function list({ $db, filter }: Command): Raw[] {
    return [...(store.databases.get($db) ?? [])].flatMap(([name, { type, capped, uuid }]) => {
      const entry = {
        name,
        type,
        options: capped ? { capped } : {},
        info: { readOnly: false, uuid: new BSON.Binary(uuid, 4) },
      };
      return matches(entry, filter ?? {}) ? [new Raw(Buffer.from(BSON.serialize(entry)))] : [];
    });
  }

  function stats(command: Command): Answer {
    if (command['collStats'] === 'oplog.rs')
      return { count: new BSON.Int32(1), size: new BSON.Int32(1_000), maxSize: new BSON.Int32(5_000) };
    const documents = store.databases.get(command.$db)?.get(String(command['collStats']))?.documents ?? [];
    return {
      count: new BSON.Int32(documents.length),
      size: new BSON.Int32(documents.reduce((sum, { raw }) => sum + raw.bytes.length, 0)),
    };
  }

  function find(command: Command): Raw[] {
    if (command.$db === 'local' && command['find'] === 'oplog.rs') return oplogEnd(command);
    const found = (store.databases.get(command.$db)?.get(String(command['find']))?.documents ?? []).filter(
      ({ raw }) => Object.keys(command['filter'] ?? {}).length === 0 || matches(raw.object, command['filter']),
    );
    if (command['sort']?.['_id']) found.sort((a, b) => compare(a.id, b.id));
    const skipped = found.slice(Number(command['skip'] ?? 0));
    const limited =
      command['limit'] === undefined || Number(command['limit']) === 0
        ? skipped
        : skipped.slice(0, Number(command['limit']));
    return limited.map(({ id, raw }) =>
      command['projection'] ? new Raw(Buffer.from(BSON.serialize({ _id: id }))) : raw,
    );
  }

  function oplogEnd(command: Command): Raw[] {
    const time =
      Number(command['sort']?.['$natural']) > 0 ? (store.lost[0] > 0 ? store.lost : store.entries[0]?.time) : store.now;
    return [new Raw(Buffer.from(BSON.serialize({ ts: timestamp(time ?? store.now) })))];
  }

  async function aggregate(command: Command): Promise<Answer> {
    const pipeline = command['pipeline'] as BSON.Document[];
    if (pipeline[0]?.['$changeStream']) {
      if (alone)
        throw new CommandError(40573, 'Location40573', 'The $changeStream stage is only supported on replica sets');
      return streamPage(command, openStream(store, command.$db, pipeline), undefined, 0);
    }
    if (!pipeline[0]?.['$sample']) throw new CommandError(40324, 'Location40324', 'Unrecognized pipeline stage name');
    const { documents } = store.collection(command.$db, String(command['aggregate']));
    const size = Number(pipeline[0]['$sample'].size);
    const step = Math.max(1, Math.floor(documents.length / size));
    const drawn = documents.filter((_, i) => i % step === 0).sort((a, b) => compare(a.id, b.id));
    return page(
      command,
      drawn.map(({ id }) => new Raw(Buffer.from(BSON.serialize({ _id: id })))),
      'firstBatch',
    );
  }

  async function streamPage(command: Command, stream: Stream, id: string | undefined, waitMs: number): Promise<Answer> {
    const first = id === undefined;
    const wanted = Number(command['cursor']?.batchSize ?? command['batchSize'] ?? batch);
    const events = wanted === 0 ? [] : await stream.batch(Math.min(batch, wanted), waitMs);
    const key = id ?? String(++ids);
    if (first) cursors.set(key, { lsid: sessionOf(command), rest: [], ns: `${command.$db}.$cmd.aggregate`, stream });
    if (stream.ended) cursors.delete(key);
    return {
      cursor: {
        id: BSON.Long.fromString(stream.ended ? '0' : key),
        ns: `${command.$db}.$cmd.aggregate`,
        [first ? 'firstBatch' : 'nextBatch']: events,
        postBatchResumeToken: stream.token(),
      },
    };
  }

  async function getMore(command: Command): Promise<Answer> {
    const id = String(command['getMore']);
    const cursor = cursors.get(id);
    if (!cursor) throw new CommandError(43, 'CursorNotFound', `cursor id ${id} not found`);
    if (cursor.lsid !== sessionOf(command))
      throw new CommandError(13, 'Unauthorized', 'the cursor belongs to another session');
    if (cursor.stream) return streamPage(command, cursor.stream, id, Number(command['maxTimeMS'] ?? 1000));
    return page(command, cursor.rest, 'nextBatch', id);
  }

  /** Up to 101 documents at first, later as many as are wanted. */
  function page(command: Command, documents: Raw[], field: 'firstBatch' | 'nextBatch', id = String(++ids)): Answer {
    const wanted = Number(
      command['batchSize'] ?? command['cursor']?.batchSize ?? (field === 'firstBatch' ? 101 : 10_000),
    );
    const ns =
      cursors.get(id)?.ns ??
      `${command.$db}.${String(command['find'] ?? command['aggregate'] ?? '$cmd.listCollections')}`;
    const rest = documents.slice(wanted);
    if (rest.length > 0 && !command['singleBatch']) cursors.set(id, { lsid: sessionOf(command), rest, ns });
    else cursors.delete(id);
    return {
      cursor: { id: BSON.Long.fromString(cursors.has(id) ? id : '0'), ns, [field]: documents.slice(0, wanted) },
    };
  }

  return fake;
}

const OPEN: ReadonlySet<string> = new Set([
  'hello',
  'isMaster',
  'ismaster',
  'saslStart',
  'saslContinue',
  'buildInfo',
  'ping',
  'endSessions',
]);

function sessionOf(command: Command): string {
  return command['lsid'] === undefined ? '' : Buffer.from(BSON.serialize(command['lsid'])).toString('hex');
}

/** A name of its own for a database. */
export function databaseName(): string {
  return `m_${randomUUID().slice(0, 8)}`;
}
