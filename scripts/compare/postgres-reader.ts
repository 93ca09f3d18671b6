import pg from 'pg';
import type { Family } from './canonical.ts';
import type { Address, Cells, Reader, SourceColumn, TableName } from './reader.ts';

const shapeQuery = `
  with recursive base as (
    select a.attnum, a.attname, a.atttypid as oid, a.atttypmod as mod
    from pg_attribute a
    where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped
    union all
    select b.attnum, b.attname, t.typbasetype, t.typtypmod
    from base b join pg_type t on t.oid = b.oid where t.typtype = 'd'
  )
  select b.attname, t.typname, format_type(b.oid, b.mod), t.typtype::text, (t.typelem <> 0 and t.typlen = -1)::text,
         coalesce(array_position(i.indkey::int2[], b.attnum::int2), -1)::text
  from base b
  join pg_type t on t.oid = b.oid and t.typtype <> 'd'
  left join pg_index i on i.indrelid = $1::regclass and i.indisprimary
  order by b.attnum`;

/** Opens PostgreSQL as the source of a comparison. */
export async function openPostgres(address: Address, database: string): Promise<Reader> {
  const { host, port, user, password } = address;
  const client = new pg.Client({
    host,
    port,
    user,
    password,
    database,
    types: { getTypeParser: () => (text: string) => text },
  });
  await client.connect();
  await client.query("set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'");
  await client.query('set extra_float_digits = 3; set bytea_output = hex');
  return {
    shape: (table) => readShape(client, table),
    rows: (table, expressions, order) => readRows(client, table, expressions, order),
    close: () => client.end(),
  };
}

async function readShape(client: pg.Client, table: TableName) {
  // Each table is compared as it is now, its shape and its rows in one snapshot.
  await client.query('commit; begin isolation level repeatable read read only');
  const { rows } = await client.query<string[]>({ text: shapeQuery, values: [qualified(table)], rowMode: 'array' });
  const columns = rows.map((row) => column(row[0] ?? '', row[1] ?? '', row[2] ?? '', row[3] ?? '', row[4] === 'true'));
  const key = rows
    .filter((row) => Number(row[5]) >= 0)
    .sort((a, b) => Number(a[5]) - Number(b[5]))
    .map((row) => row[0] ?? '');
  return { columns, key };
}

const families: Record<string, Family> = {
  int2: 'int',
  int4: 'int',
  int8: 'int',
  oid: 'int',
  numeric: 'decimal',
  money: 'decimal',
  float4: 'float',
  float8: 'float',
  bool: 'bool',
  bpchar: 'padded',
  bytea: 'bytes',
  date: 'date',
  timestamp: 'datetime',
  timestamptz: 'datetime',
  time: 'time',
  json: 'json',
  jsonb: 'json',
};

function column(name: string, type: string, formatted: string, kind: string, array: boolean): SourceColumn {
  const quoted = quote(name);
  const bits = /^bit\((\d+)\)$/.exec(formatted);
  const narrowBits = type === 'bit' && (bits === null || Number(bits[1]) <= 64);
  const composed = array || kind === 'c';
  const family: Family = composed ? 'json' : narrowBits ? 'bits' : (families[type] ?? 'text');
  const expression = composed
    ? `to_json(${quoted})::text`
    : type === 'money'
      ? `${quoted}::numeric::text`
      : type === 'float4'
        ? `${quoted}::float8::text`
        : type === 'bytea'
          ? `encode(${quoted}, 'hex')`
          : type === 'timestamptz'
            ? `(${quoted} at time zone 'UTC')::text`
            : `${quoted}::text`;
  // Without the table's name, ORDER BY would mean the text of the same name in the select list.
  const order = family === 'text' || family === 'padded' ? `t.${quoted}::text collate "C"` : `t.${quoted}`;
  return { name, family, expression, order };
}

async function* readRows(
  client: pg.Client,
  table: TableName,
  expressions: readonly string[],
  order: readonly string[],
): AsyncGenerator<Cells[]> {
  const sorting = order.length === 0 ? '' : ` order by ${order.join(', ')}`;
  await client.query(
    `declare compared no scroll cursor for select ${expressions.join(', ')} from ${qualified(table)} as t${sorting}`,
  );
  // Batches of about 2 MB: one row may hold a cell of many megabytes.
  for (let size = 20; ; ) {
    const { rows } = await client.query<Cells>({ text: `fetch ${size} from compared`, rowMode: 'array' });
    if (rows.length === 0) break;
    yield rows;
    const bytes = rows.reduce((sum, row) => sum + row.reduce((all, cell) => all + (cell?.length ?? 0), 0), 1);
    size = Math.max(1, Math.min(10_000, Math.floor((2_000_000 * rows.length) / bytes)));
  }
  await client.query('close compared');
}

function qualified(table: TableName): string {
  return `${quote(table.schema)}.${quote(table.name)}`;
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
