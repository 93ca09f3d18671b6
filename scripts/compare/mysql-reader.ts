import mysql from 'mysql2';
import type { Family } from './canonical.ts';
import type { Address, Cells, Reader, SourceColumn, TableName } from './reader.ts';

type TypeCastField = { string(encoding: string): string | null };

const options = {
  charset: 'utf8mb4',
  rowsAsArray: true,
  // Everything stays the text that the server sent; the client library would parse dates, JSON and numbers with loss.
  typeCast: (field: TypeCastField) => field.string('utf8'),
} as const;

/** Opens MySQL, MariaDB or SingleStore, as the source or as the destination of a comparison. */
export async function openMysql(address: Address): Promise<Reader> {
  const { host, port, user, password } = address;
  const settings = { host, port, user, password, ...options } as unknown as mysql.ConnectionOptions;
  const connection = mysql.createConnection(settings);
  await run(connection, "set time_zone = '+00:00'");
  return {
    shape: (table) => readShape(connection, table),
    rows: (table, expressions, order) => readRows(connection, table, expressions, order),
    close: async () => connection.destroy(),
  };
}

function run(connection: mysql.Connection, sql: string, values: unknown[] = []): Promise<Cells[]> {
  return new Promise((resolve, reject) => {
    connection.query(sql, values, (error: Error | null, rows: unknown) =>
      error === null ? resolve(rows as Cells[]) : reject(error),
    );
  });
}

async function readShape(connection: mysql.Connection, table: TableName) {
  const columns = await run(
    connection,
    `select column_name, lower(data_type), lower(column_type) from information_schema.columns
     where table_schema = ? and table_name = ? order by ordinal_position`,
    [table.schema, table.name],
  );
  const key = await run(
    connection,
    `select column_name from information_schema.key_column_usage
     where table_schema = ? and table_name = ? and constraint_name = 'PRIMARY' order by ordinal_position`,
    [table.schema, table.name],
  );
  return {
    columns: columns.map((row) => column(row[0] ?? '', row[1] ?? '', row[2] ?? '')),
    key: key.map((row) => row[0] ?? ''),
  };
}

const families: Record<string, Family> = {
  tinyint: 'int',
  smallint: 'int',
  mediumint: 'int',
  int: 'int',
  bigint: 'int',
  year: 'int',
  bit: 'int',
  decimal: 'decimal',
  float: 'float',
  double: 'float',
  binary: 'bytes',
  varbinary: 'bytes',
  tinyblob: 'bytes',
  blob: 'bytes',
  mediumblob: 'bytes',
  longblob: 'bytes',
  date: 'date',
  datetime: 'datetime',
  timestamp: 'datetime',
  time: 'time',
  json: 'json',
};

function column(name: string, type: string, full: string): SourceColumn {
  const quoted = quote(name);
  const family = families[type] ?? 'text';
  return {
    name,
    family: full.startsWith('char(') ? 'padded' : family,
    expression: valueExpression(quoted, type, family),
    order: orderExpression(quoted, family),
  };
}

function valueExpression(quoted: string, type: string, family: Family): string {
  if (type === 'bit') return `cast(${quoted} as unsigned)`;
  return destinationExpression(quoted, family);
}

/** SQL by which the destination prints a column of this family without loss. */
export function destinationExpression(quoted: string, family: Family): string {
  if (family === 'bytes') return `hex(${quoted})`;
  // A FLOAT prints six digits only; the sum is a DOUBLE and prints all that are stored.
  if (family === 'float') return `${quoted} + 0e0`;
  return quoted;
}

/** SQL that sorts a column of this family at the destination as `compareKeys` does. */
export function orderExpression(quoted: string, family: Family): string {
  const text = family === 'text' || family === 'padded' || family === 'json';
  return text ? `cast(convert(${quoted} using utf8mb4) as binary)` : quoted;
}

async function* readRows(
  connection: mysql.Connection,
  table: TableName,
  expressions: readonly string[],
  order: readonly string[],
): AsyncGenerator<Cells[]> {
  const sorting = order.length === 0 ? '' : ` order by ${order.join(', ')}`;
  const sql = `select ${expressions.join(', ')} from ${quote(table.schema)}.${quote(table.name)}${sorting}`;
  let batch: Cells[] = [];
  for await (const row of connection.query(sql).stream({ highWaterMark: 500 })) {
    batch.push(row as Cells);
    if (batch.length === 1000) {
      yield batch;
      batch = [];
    }
  }
  yield batch;
}

/** A MySQL identifier. */
export function quote(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}
