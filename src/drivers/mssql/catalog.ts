import type { TableRef } from '../model.ts';
import type { Connection } from './connection.ts';
import type { Row } from './session.ts';
import type { CatalogColumn } from './types.ts';

export type CatalogIndex = {
  readonly name: string;
  readonly unique: boolean;
  readonly primary: boolean;
  readonly filtered: boolean;
  /** A B-tree, which ranges can be read from. */
  readonly ordered: boolean;
  readonly columns: readonly string[];
};

/** A table or view as the catalog shows it. */
export type CatalogTable = {
  readonly id: number;
  readonly name: string;
  readonly kind: 'table' | 'view';
  readonly memory: boolean;
  readonly partitions: number;
  readonly rows: number;
  readonly bytes: number;
  readonly columns: readonly CatalogColumn[];
  readonly indexes: readonly CatalogIndex[];
};

/** Schemas that hold a table or view of users, sorted by code points. */
export async function listSchemas(connection: Connection): Promise<string[]> {
  const rows = await connection.query(
    `SELECT s.name FROM sys.schemas AS s WHERE s.schema_id < 16384 AND s.name NOT IN (N'sys', N'INFORMATION_SCHEMA', N'guest', N'cdc')`,
  );
  return rows.map(([name]) => String(name)).sort();
}

/** Tables of a schema, sorted by code points; null: no such schema. */
export async function listTables(connection: Connection, schema: string): Promise<CatalogTable[] | null> {
  const found = await connection.query(`SELECT s.name FROM sys.schemas AS s WHERE s.name = @schema`, { schema });
  if (found.length === 0) return null;
  const objects = await listObjects(connection, schema);
  const tables = await fill(
    connection,
    objects.filter(({ kind }) => kind === 'table'),
    false,
  );
  return tables.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What the catalog knows of each; undefined: not there, or not shown to this user. */
export async function readTables(
  connection: Connection,
  refs: readonly TableRef[],
): Promise<(CatalogTable | undefined)[]> {
  const bySchema = new Map<string, readonly Listed[]>();
  for (const { schema } of refs) if (!bySchema.has(schema)) bySchema.set(schema, await listObjects(connection, schema));
  const found = refs.map(({ schema, name }) => bySchema.get(schema)?.find((one) => one.name === name));
  const filled = await fill(
    connection,
    found.filter((one) => one !== undefined),
    true,
  );
  const byId = new Map(filled.map((one) => [one.id, one]));
  return found.map((one) => one && byId.get(one.id));
}

type Listed = { readonly id: number; readonly name: string; readonly kind: 'table' | 'view' };

async function listObjects(connection: Connection, schema: string): Promise<Listed[]> {
  const rows = await connection.query(
    `SELECT o.object_id, o.name, CONVERT(nvarchar(2), o.type) AS type
FROM sys.objects AS o
INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id
WHERE s.name = @schema AND o.type IN (N'U', N'V') AND o.is_ms_shipped = 0`,
    { schema },
  );
  return rows.map(([id, name, type]) => ({
    id: Number(id),
    name: String(name),
    kind: String(type).trim() === 'V' ? 'view' : 'table',
  }));
}

const IDS_AT_ONCE = 500;

async function fill(connection: Connection, listed: readonly Listed[], whole: boolean): Promise<CatalogTable[]> {
  const filled: CatalogTable[] = [];
  for (let from = 0; from < listed.length; from += IDS_AT_ONCE) {
    const part = listed.slice(from, from + IDS_AT_ONCE);
    const ids = [...new Set(part.map(({ id }) => id))].join(', ');
    const sizes = byId(await connection.query(sizesOf(ids)));
    const columns = byId(whole ? await connection.query(columnsOf(connection, ids)) : []);
    const indexes = byId(whole ? await connection.query(indexesOf(ids)) : []);
    const memory = new Set(
      whole && connection.facts.major >= 12
        ? (await connection.query(`SELECT t.object_id FROM sys.tables AS t WHERE t.is_memory_optimized = 1`)).map(
            ([id]) => Number(id),
          )
        : [],
    );
    const hidden = await hiddenOf(connection, columns);
    for (const { id, name, kind } of part) {
      const [size] = sizes.get(id) ?? [];
      const own = (columns.get(id) ?? []).map((row) => column(row, hidden.has(id)));
      filled.push({
        id,
        name,
        kind,
        memory: memory.has(id),
        rows: Number(size?.[1] ?? 0),
        bytes: Number(size?.[2] ?? 0) * 8192,
        partitions: Number(size?.[3] ?? 1),
        columns: own,
        indexes: indexesFrom(indexes.get(id) ?? [], own),
      });
    }
  }
  return filled;
}

/** Tables with masked columns, whose values this user is not shown; the grant is the database's, or from 2022 on a table's. */
async function hiddenOf(connection: Connection, columns: ReadonlyMap<number, readonly Row[]>): Promise<Set<number>> {
  const hidden = new Set<number>();
  for (const [id, rows] of columns) {
    if (!rows.some((row) => Number(row[MASKED]) === 1)) continue;
    const [row] = await connection.query(
      `SELECT HAS_PERMS_BY_NAME(DB_NAME(), N'DATABASE', N'UNMASK') AS every, HAS_PERMS_BY_NAME(QUOTENAME(OBJECT_SCHEMA_NAME(@id)) + N'.' + QUOTENAME(OBJECT_NAME(@id)), N'OBJECT', N'UNMASK') AS one`,
      { id: BigInt(id) },
    );
    if (Number(row?.[0] ?? 0) !== 1 && Number(row?.[1] ?? 0) !== 1) hidden.add(id);
  }
  return hidden;
}

/** The place of `is_masked` in the rows of `columnsOf`. */
const MASKED = 15;

function byId(rows: readonly Row[]): Map<number, Row[]> {
  const found = new Map<number, Row[]>();
  for (const row of rows) {
    const id = Number(row[0]);
    const list = found.get(id);
    if (list) list.push(row);
    else found.set(id, [row]);
  }
  return found;
}

function sizesOf(ids: string): string {
  return `SELECT p.object_id, SUM(CASE WHEN a.type = 1 THEN p.rows ELSE 0 END) AS row_count, SUM(a.total_pages) AS pages,
 MAX(p.partition_number) AS partitions
FROM sys.partitions AS p
INNER JOIN sys.allocation_units AS a ON a.container_id = p.partition_id
WHERE p.index_id IN (0, 1) AND p.object_id IN (${ids})
GROUP BY p.object_id`;
}

function columnsOf({ facts }: Connection, ids: string): string {
  // sys.columns of 2012 and 2014 knows neither.
  const encrypted = facts.major >= 13 || facts.azure ? 'CONVERT(int, c.encryption_type)' : 'NULL';
  const graph = facts.major >= 14 || facts.azure ? 'CONVERT(int, c.graph_type)' : 'NULL';
  const masked = facts.major >= 13 || facts.azure ? 'CONVERT(int, c.is_masked)' : '0';
  return `SELECT c.object_id, c.column_id, c.name, COALESCE(b.name, t.name) AS type_name, CONVERT(int, c.max_length) AS max_length,
 CONVERT(int, c.[precision]) AS type_precision, CONVERT(int, c.[scale]) AS type_scale, CONVERT(int, c.is_nullable) AS is_nullable,
 c.collation_name, CONVERT(int, c.is_computed) AS is_computed,
 COALESCE(COLUMNPROPERTY(c.object_id, c.name, N'IsDeterministic'), 1) AS is_deterministic,
 c.default_object_id, CONVERT(int, c.is_column_set) AS is_column_set, ${encrypted} AS encryption_type, ${graph} AS graph_type, ${masked} AS is_masked
FROM sys.columns AS c
INNER JOIN sys.types AS t ON t.user_type_id = c.user_type_id
LEFT JOIN sys.types AS b ON b.user_type_id = c.system_type_id AND b.system_type_id = c.system_type_id
WHERE c.object_id IN (${ids})
ORDER BY c.object_id, c.column_id`;
}

function indexesOf(ids: string): string {
  return `SELECT i.object_id, i.index_id, i.name, CONVERT(int, i.is_unique) AS is_unique, CONVERT(int, i.is_primary_key) AS is_primary_key,
 CONVERT(int, i.has_filter) AS has_filter, CONVERT(int, i.type) AS index_type, ic.column_id
FROM sys.indexes AS i
INNER JOIN sys.index_columns AS ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id
WHERE i.object_id IN (${ids}) AND ic.key_ordinal > 0 AND i.is_disabled = 0 AND i.is_hypothetical = 0
ORDER BY i.object_id, i.is_primary_key DESC, i.index_id, ic.key_ordinal`;
}

function column(row: Row, hidden: boolean): CatalogColumn {
  const [
    ,
    id,
    name,
    type,
    bytes,
    precision,
    scale,
    nullable,
    collation,
    computed,
    deterministic,
    fallback,
    set,
    secret,
    graph,
  ] = row;
  const word = String(type);
  const numbers = { bytes: Number(bytes), precision: Number(precision), scale: Number(scale) };
  return {
    id: Number(id),
    name: String(name),
    word,
    full: fullType(word, numbers),
    ...numbers,
    nullable: Number(nullable) === 1,
    collation: collation === null ? '' : String(collation),
    computed: Number(computed) === 1,
    deterministic: Number(deterministic) === 1,
    hasDefault: Number(fallback ?? 0) !== 0,
    odd: oddOf(Number(set) === 1, secret !== null, graph !== null, hidden && Number(row[MASKED]) === 1),
  };
}

function oddOf(set: boolean, secret: boolean, graph: boolean, hidden: boolean): CatalogColumn['odd'] {
  return set ? 'column set' : secret ? 'encrypted' : graph ? 'graph' : hidden ? 'hidden' : '';
}

function fullType(word: string, numbers: { bytes: number; precision: number; scale: number }): string {
  const { bytes, precision, scale } = numbers;
  if (word === 'decimal' || word === 'numeric') return `${word}(${precision},${scale})`;
  if (word === 'time' || word === 'datetime2' || word === 'datetimeoffset') return `${word}(${scale})`;
  if (word === 'nchar' || word === 'nvarchar') return `${word}(${bytes < 0 ? 'max' : bytes / 2})`;
  if (word === 'char' || word === 'varchar' || word === 'binary' || word === 'varbinary')
    return `${word}(${bytes < 0 ? 'max' : bytes})`;
  return word;
}

function indexesFrom(rows: readonly Row[], columns: readonly CatalogColumn[]): CatalogIndex[] {
  const found = new Map<number, CatalogIndex & { columns: string[] }>();
  for (const [, index, name, unique, primary, filtered, type, columnId] of rows) {
    const one = found.get(Number(index)) ?? {
      name: String(name),
      unique: Number(unique) === 1,
      primary: Number(primary) === 1,
      filtered: Number(filtered) === 1,
      ordered: Number(type) === 1 || Number(type) === 2,
      columns: [],
    };
    found.set(Number(index), one);
    one.columns.push(columns.find(({ id }) => id === Number(columnId))?.name ?? '');
  }
  return [...found.values()];
}
