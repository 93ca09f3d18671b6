import type { TableRef } from '../model.ts';
import type { Listing } from '../source.ts';
import type { Texts } from './frames.ts';
import type { JdbcOptions } from './options.ts';
import { ask, type Session } from './session.ts';

/** A table or view as DatabaseMetaData shows it. */
export type CatalogTable = {
  readonly ref: TableRef;
  /** The driver's word: `TABLE`, `BASE TABLE`, `VIEW`, … */
  readonly type: string;
  readonly columns: readonly CatalogColumn[];
  /** Columns of the primary key in its order; [] without one. */
  readonly key: readonly string[];
};

export type CatalogColumn = {
  readonly name: string;
  /** java.sql.Types, or a vendor's own number. */
  readonly jdbcType: number;
  readonly typeName: string;
  /** Characters, bytes or digits; 0 or less: not known. */
  readonly size: number;
  /** Digits after the point, or of a second's fraction; null: not known. */
  readonly scale: number | null;
  /** Only what the driver knows to be NOT NULL is false. */
  readonly nullable: boolean;
};

/** Where databases have no levels of their own. */
export const ONLY_SCHEMA = 'default';

const SYSTEM_SCHEMAS =
  /^(information_schema|pg_catalog|pg_toast.*|pg_temp.*|mysql|performance_schema|sys|cluster|memsql|system_lobs|syscat|sysfun|sysibm.*|sysproc|sysstat|systools|syscs_.*|nullid|sqlj)$/i;

/** Schemas (MySQL: databases) that hold user tables, sorted. */
export async function listSchemas(session: Session, options: JdbcOptions): Promise<string[]> {
  const { level, catalog } = session.facts;
  if (level === 'none') return [ONLY_SCHEMA];
  const rows =
    level === 'schema'
      ? await meta(session, options, 'schemas', [null, null, null], ['TABLE_SCHEM', 'TABLE_CATALOG'])
      : await meta(session, options, 'catalogs', [null, null, null], ['TABLE_CAT']);
  const own = rows.filter(([, of]) => !of || catalog === '' || of === catalog).map(([name]) => name ?? '');
  return [...new Set(own)].filter((name) => name !== '' && !SYSTEM_SCHEMAS.test(name)).sort();
}

/** Tables of a schema, views left out, sorted; null: no such schema. */
export async function listTables(session: Session, options: JdbcOptions, schema: string): Promise<Listing[] | null> {
  if (!(await listSchemas(session, options)).includes(schema)) return null;
  const found = await readNames(session, options, schema, '%');
  return found
    .filter(({ type }) => isTable(type))
    .map(({ name, type }) => ({ name, kind: kindOf(type), approxRows: 0 }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Above so many tables of a schema, the columns of all its tables are asked for at once. */
const TOGETHER = 8;

/** What the catalog holds of `refs`, by their position; undefined where the user sees no such table or view. */
export async function readTables(
  session: Session,
  options: JdbcOptions,
  refs: readonly TableRef[],
): Promise<(CatalogTable | undefined)[]> {
  const found = new Map<string, CatalogTable>();
  const id = (ref: TableRef): string => `${ref.schema}\0${ref.name}`;
  for (const [schema, wanted] of Map.groupBy(refs, (ref) => ref.schema)) {
    const names = [...new Set(wanted.map((ref) => ref.name))];
    const patterns = names.length > TOGETHER ? ['%'] : names.map(patternOf);
    for (const pattern of patterns) {
      const tables = (await readNames(session, options, schema, pattern)).filter(({ name }) => names.includes(name));
      if (tables.length === 0) continue;
      const columns = Map.groupBy(await readColumns(session, options, schema, pattern), ({ table }) => table);
      for (const { name, type } of tables) {
        const ref = { schema, name };
        const key = isTable(type) ? await readKey(session, options, ref) : [];
        found.set(id(ref), { ref, type, columns: (columns.get(name) ?? []).map(({ column }) => column), key });
      }
    }
  }
  return refs.map((ref) => found.get(id(ref)));
}

export function isTable(type: string): boolean {
  return /\bTABLE$/i.test(type) && !/SYSTEM TABLE|TEMPORARY|FOREIGN|INDEX|TOAST/i.test(type)
    ? true
    : /VERSIONED/i.test(type);
}

export function kindOf(type: string): 'table' | 'partitioned' | 'view' {
  if (!isTable(type)) return 'view';
  return /PARTITIONED/i.test(type) ? 'partitioned' : 'table';
}

/** Names are patterns to DatabaseMetaData, but drivers escape them differently: `_` and `%` match themselves too, and what else they match is left out afterwards. */
function patternOf(name: string): string {
  return /[\\[\]]/.test(name) ? '%' : name;
}

/** MySQL's databases are no patterns. */
function schemaPattern({ facts }: Session, schema: string): string {
  return facts.level === 'schema' ? patternOf(schema) : schema;
}

async function readNames(
  session: Session,
  options: JdbcOptions,
  schema: string,
  pattern: string,
): Promise<{ name: string; type: string }[]> {
  const wanted = ['TABLE_CAT', 'TABLE_SCHEM', 'TABLE_NAME', 'TABLE_TYPE'];
  const rows = await meta(
    session,
    options,
    'tables',
    [...placeOf(session, schemaPattern(session, schema)), pattern],
    wanted,
  );
  return own(session, rows, schema).map(([, , name, type]) => ({ name: name ?? '', type: type ?? '' }));
}

async function readColumns(
  session: Session,
  options: JdbcOptions,
  schema: string,
  pattern: string,
): Promise<{ table: string; column: CatalogColumn }[]> {
  const wanted = [
    ...['TABLE_CAT', 'TABLE_SCHEM', 'TABLE_NAME', 'COLUMN_NAME', 'DATA_TYPE', 'TYPE_NAME', 'COLUMN_SIZE'],
    ...['DECIMAL_DIGITS', 'NULLABLE', 'ORDINAL_POSITION'],
  ];
  const rows = await meta(
    session,
    options,
    'columns',
    [...placeOf(session, schemaPattern(session, schema)), pattern],
    wanted,
  );
  return own(session, rows, schema)
    .map((row) => ({ row, position: Number(row[9]) }))
    .sort((a, b) => a.position - b.position)
    .map(({ row }) => ({
      table: row[2] ?? '',
      column: {
        name: row[3] ?? '',
        jdbcType: Number(row[4]),
        typeName: row[5] ?? '',
        size: Number(row[6] ?? '0'),
        scale: row[7] == null ? null : Number(row[7]),
        nullable: row[8] !== '0',
      },
    }));
}

async function readKey(session: Session, options: JdbcOptions, { schema, name }: TableRef): Promise<string[]> {
  const wanted = ['TABLE_CAT', 'TABLE_SCHEM', 'TABLE_NAME', 'COLUMN_NAME', 'KEY_SEQ'];
  const rows = await meta(session, options, 'keys', [...placeOf(session, schema), name], wanted);
  return own(session, rows, schema)
    .filter((row) => row[2] === name)
    .sort((a, b) => Number(a[4]) - Number(b[4]))
    .map((row) => row[3] ?? '');
}

/** Columns that an index begins with; undefined: the driver does not say. */
export async function readIndexed(
  session: Session,
  options: JdbcOptions,
  { schema, name }: TableRef,
): Promise<string[] | undefined> {
  const wanted = ['TABLE_CAT', 'TABLE_SCHEM', 'TABLE_NAME', 'COLUMN_NAME', 'ORDINAL_POSITION', 'FILTER_CONDITION'];
  try {
    const rows = await meta(session, options, 'indexes', [...placeOf(session, schema), name], wanted);
    const first = own(session, rows, schema).filter((row) => row[2] === name && row[4] === '1' && !row[5]);
    return first.map((row) => row[3] ?? '');
  } catch (error) {
    if (session.jvm.ended()) throw error;
    return undefined;
  }
}

/** Catalog and schema as DatabaseMetaData takes them: the schema as a pattern, but for keys. */
function placeOf({ facts }: Session, schema: string): (string | null)[] {
  if (facts.level === 'none') return [null, null];
  return facts.level === 'catalog' ? [schema, null] : [facts.catalog || null, schema];
}

/** Rows that lie in the schema itself, not in one that the pattern matches too. */
function own({ facts }: Session, rows: Texts, schema: string): Texts {
  if (facts.level === 'none') return rows;
  return rows.filter(([catalog, of]) => (facts.level === 'catalog' ? catalog === schema : of === schema));
}

function meta(
  session: Session,
  options: JdbcOptions,
  what: string,
  place: readonly (string | null)[],
  wanted: readonly string[],
): Promise<Texts> {
  return ask(session, options, { doing: 'asking' }, 'M', [what, ...place, wanted]);
}
