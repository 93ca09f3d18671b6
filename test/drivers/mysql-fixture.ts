import { randomBytes } from 'node:crypto';
import mysql from 'mysql2/promise';
import { inject } from 'vitest';
import type { Batch, ChunkRead, Params, Table, TableOptions } from '../../src/drivers/model.ts';
import { open } from '../../src/drivers/mysql/source.ts';
import type { Source } from '../../src/drivers/source.ts';

export type ServerName = 'mysql9' | 'mariadb';

/** A database of its own on one of the test servers, dropped at the end. */
export type Playground = AsyncDisposable & {
  readonly database: string;
  /** A statement with zero dates and the like allowed; rows as arrays of what mysql2 makes of them. */
  sql(statement: string, values?: unknown[]): Promise<unknown[][]>;
  /** Sessions that stand in this database, its own not counted: id and statement. Names no information_schema: PROCESSLIST fails there on MySQL 9. */
  sessions(): Promise<{ id: number; statement: string | null }[]>;
  params(more?: Params): Params;
  open(more?: Params): Promise<Source>;
};

export async function playground(name: ServerName): Promise<Playground> {
  const server = inject(name);
  const database = `my_${randomBytes(5).toString('hex')}`;
  const admin = await mysql.createConnection({
    host: server.host,
    port: server.port,
    user: server.user,
    password: server.password,
    rowsAsArray: true,
    charset: 'utf8mb4',
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
  });
  const sql = async (statement: string, values: unknown[] = []) =>
    (await admin.query(statement, values))[0] as unknown as unknown[][];
  await sql("set sql_mode = 'ALLOW_INVALID_DATES'");
  await sql("set time_zone = '+05:30'");
  await sql(`create database \`${database}\` character set utf8mb4`);
  await sql(`use \`${database}\``);
  const params = (more: Params = {}): Params => ({
    host: server.host,
    port: String(server.port),
    uid: server.user,
    pwd: server.password,
    db: database,
    ...more,
  });
  return {
    database,
    sql,
    params,
    sessions: async () => {
      const [own] = await sql('select connection_id()');
      return (await sql('show full processlist'))
        .filter((row) => row[3] === database && String(row[0]) !== String(own?.[0]))
        .map((row) => ({ id: Number(row[0]), statement: row[7] as string | null }));
    },
    open: (more) => open(params(more), new AbortController().signal),
    async [Symbol.asyncDispose]() {
      await sql(`drop database \`${database}\``);
      await admin.end();
    },
  };
}

export async function describeOne(
  source: Source,
  schema: string,
  name: string,
  options: TableOptions = {},
): Promise<Table> {
  const [described] = await source.describe([{ ref: { schema, name }, options }]);
  if (!described || 'error' in described) throw new Error(described?.error.message ?? 'nothing described');
  return described.table;
}

/** All rows of a range as LOAD DATA would see them: fields as bytes, NULL as null. */
export async function readRows(
  source: Source,
  table: Table,
  range = '{}',
  where?: string,
): Promise<{ rows: (Buffer | null)[][]; read: ChunkRead }> {
  const parts: Buffer[] = [];
  let counted = 0;
  const batches: AsyncGenerator<Batch, ChunkRead, undefined> = source.read(
    table,
    where,
    range,
    new AbortController().signal,
  );
  for (;;) {
    const next = await batches.next();
    if (next.done) {
      const rows = parseLoadText(Buffer.concat(parts));
      if (rows.length !== counted || rows.length !== next.value.rows) throw new Error('rows are counted wrongly');
      return { rows, read: next.value };
    }
    parts.push(Buffer.from(next.value.data));
    counted += next.value.rows;
  }
}

/** The server's rules of LOAD DATA text, read from its manual. */
export function parseLoadText(text: Buffer): (Buffer | null)[][] {
  const letters: Record<number, number> = { 48: 0, 98: 8, 110: 10, 114: 13, 116: 9, 90: 26 };
  const rows: (Buffer | null)[][] = [];
  let row: (Buffer | null)[] = [];
  let field: number[] = [];
  let isNull = false;
  for (let i = 0; i < text.length; i++) {
    const byte = text[i] as number;
    if (byte === 92) {
      const letter = text[++i] as number;
      if (letter === 0x4e && field.length === 0 && (text[i + 1] === 9 || text[i + 1] === 10)) isNull = true;
      else field.push(letters[letter] ?? letter);
    } else if (byte === 9 || byte === 10) {
      row.push(isNull ? null : Buffer.from(field));
      field = [];
      isNull = false;
      if (byte === 10) {
        rows.push(row);
        row = [];
      }
    } else field.push(byte);
  }
  if (row.length > 0 || field.length > 0) throw new Error('the text does not end in a newline');
  return rows;
}
