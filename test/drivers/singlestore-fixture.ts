import { randomBytes } from 'node:crypto';
import { type Connection, createConnection } from 'mysql2';
import { expect, inject } from 'vitest';
import type { Destination, Planned, TablePlan } from '../../src/drivers/destination.ts';
import type {
  Batch,
  ChunkRead,
  Column,
  ColumnType,
  Params,
  Position,
  RuleUse,
  Table,
} from '../../src/drivers/model.ts';
import type { Observe } from '../../src/drivers/singlestore/connection.ts';
import { openObserved } from '../../src/drivers/singlestore/destination.ts';
import type { Dialect } from '../../src/drivers/singlestore/dialect.ts';
import { startSingleStoreProxy } from '../fakes/singlestore/proxy.ts';

/** The servers that the destination's tests run against. */
export const PLACES = ['MariaDB', 'MySQL', 'SingleStore mode'] as const;

/** A test that is cut at each statement in turn is cut at every third on plain MariaDB and MySQL; at each of them in `npm run test:matrix`. */
export function cutStep(place: (typeof PLACES)[number]): number {
  return place === 'SingleStore mode' || process.env['FLOW_MATRIX'] !== undefined ? 1 : 3;
}

/** A server to test against, with a connection of the test's own to look at what is there. */
export type Place = {
  readonly params: Params;
  open(observe?: Observe, more?: Params, limits?: Partial<Dialect>): Promise<Destination>;
  /** Runs a statement at the server itself, past the proxy; cells as text. */
  query(text: string): Promise<Record<string, string | null>[]>;
  /** A database name that no other test uses; the database is dropped at the end. */
  database(): string;
  /** Statements that SingleStore would have refused. */
  rejections(): { sql: string; rule: string }[];
  stop(): Promise<void>;
};

/** Connects to one of the places. */
export async function startPlace(name: (typeof PLACES)[number]): Promise<Place> {
  const server = inject(name === 'MySQL' ? 'mysql9' : 'destination');
  const proxy =
    name === 'SingleStore mode' ? await startSingleStoreProxy({ backend: server, checkLoadDates: true }) : null;
  const at = proxy ?? server;
  const params = { type: 'rds.sstorem', host: at.host, port: String(at.port), uid: server.user, pwd: server.password };
  const admin: Connection = createConnection({
    host: server.host,
    port: server.port,
    user: server.user,
    password: server.password,
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
  });
  const query = (text: string): Promise<Record<string, string | null>[]> =>
    new Promise((resolve, reject) => {
      const typeCast = (field: { string(): string | null }) => field.string();
      admin.query({ sql: text, typeCast: typeCast as never }, (error, rows) =>
        error ? reject(error) : resolve(rows as never),
      );
    });
  const opened: Destination[] = [];
  const databases: string[] = [];
  return {
    params,
    query,
    async open(observe, more, limits) {
      const destination = await openObserved({ ...params, ...more }, new AbortController().signal, observe, limits);
      opened.push(destination);
      return destination;
    },
    database() {
      const database = `dst_${randomBytes(6).toString('hex')}`;
      databases.push(database);
      return database;
    },
    rejections: () => proxy?.rejections() ?? [],
    async stop() {
      for (const destination of opened) await destination[Symbol.asyncDispose]();
      for (const database of databases) await query(`drop database if exists \`${database}\``);
      admin.destroy();
      await proxy?.close();
    },
  };
}

export const BIGINT: ColumnType = { kind: 'int', bytes: 8, unsigned: false };

/** A column of a made-up source table. */
export function column(name: string, type: ColumnType, nullable = true): Column {
  return { name, type, nullable, sourceType: 'test', masked: false };
}

/** A made-up source table; the first column is the key unless `key` says otherwise. */
export function sourceTable(name: string, columns: readonly Column[], more: Partial<Table> = {}): Table {
  return {
    ref: { schema: 'src', name },
    kind: 'table',
    columns,
    leftOut: [],
    key: columns[0] ? [columns[0].name] : [],
    textKey: false,
    approxRows: 0,
    approxBytes: 0,
    structure: 's1',
    storage: '',
    warnings: [],
    ...more,
  };
}

/** `id bigint, v varchar(20)`. */
export function simpleTable(name = 't', more: Partial<Table> = {}): Table {
  return sourceTable(name, [column('id', BIGINT, false), column('v', { kind: 'varchar', length: 20 })], more);
}

/** The plan of a table that keeps its name. */
export function planOf(database: string, table: Table, more: Partial<TablePlan> = {}): TablePlan {
  return {
    pipeline: 'p',
    scope: 1,
    run: 1,
    ref: table.ref,
    target: { database, table: table.ref.name },
    table,
    shape: table.structure,
    ranges: ['0'],
    replace: false,
    adopt: false,
    skipInitial: false,
    again: false,
    ...more,
  };
}

/** Plans one table and expects that it is not refused. */
export async function planned(destination: Destination, database: string, plan: TablePlan): Promise<Planned> {
  const [answer] = await destination.plan(database, [plan]);
  expect(answer).not.toHaveProperty('message');
  return answer as Planned;
}

/** Load text as a source gives it, in pieces of `piece` bytes. */
export async function* feed(
  text: string | Buffer,
  rows: number,
  { piece = 65_536, rules = [] as readonly RuleUse[] } = {},
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const data = Buffer.from(text as string);
  let counted = 0;
  for (let from = 0; from < data.length; from += piece) {
    const part = data.subarray(from, from + piece);
    let ends = 0;
    for (const byte of part) if (byte === 10) ends++;
    counted += ends;
    yield { data: part, rows: from + piece >= data.length ? ends + rows - counted : ends };
  }
  return { rows, rules };
}

/** Claims and loads one chunk. */
export async function load(
  destination: Destination,
  plan: TablePlan,
  { id, load: number }: { id: string; load: number },
  chunk: number,
  text: string | Buffer,
  rows: number,
): Promise<{ rows: number; bytes: number }> {
  const { database } = plan.target;
  const claim = await destination.claimChunk(database, id, number, chunk);
  if (!claim) throw new Error('done already');
  const target = { database, table: plan.table, replace: plan.replace, reread: () => feed(text, rows) };
  return destination.loadChunk(target, claim, feed(text, rows), () => {}, new AbortController().signal);
}

/** A position; the destination never looks inside. */
export function position(text: string): Position {
  return text as Position;
}

/** Seal, journal and promote. */
export async function putInPlace(
  destination: Destination,
  plan: TablePlan,
  { id, load: number }: Planned,
): Promise<void> {
  const { database } = plan.target;
  await destination.seal(database, id, number, position('end'));
  await destination.journal(database, plan.run, [{ id, load: number }]);
  await destination.promote(database, plan.run, plan.scope, id, number);
}

/** A whole load of one chunk. */
export async function copy(
  destination: Destination,
  plan: TablePlan,
  text: string | Buffer,
  rows: number,
): Promise<Planned> {
  const made = await planned(destination, plan.target.database, plan);
  await load(destination, plan, made, 0, text, rows);
  await putInPlace(destination, plan, made);
  return made;
}

/** Runs it and returns what it threw; fails when it threw nothing. */
export async function thrown(promise: Promise<unknown>): Promise<Error & { action?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('It should have thrown.');
}
