import type { TableRef } from '../model.ts';
import type { Listing } from '../source.ts';
import type { ResultRow, Session } from './session.ts';
import type { CatalogColumn } from './types.ts';

/** Schemas that belong to the server, for versions that don't say so themselves (before 12.1). */
const SYSTEM_SCHEMAS =
  "'SYS','SYSTEM','OUTLN','DBSNMP','APPQOSSYS','AUDSYS','CTXSYS','DVSYS','DVF','EXFSYS','GSMADMIN_INTERNAL','LBACSYS','MDSYS','OJVMSYS','OLAPSYS','ORDSYS','ORDDATA','ORDPLUGINS','SI_INFORMTN_SCHEMA','SYSMAN','WMSYS','XDB','XS$NULL','ANONYMOUS','DIP','FLOWS_FILES','MGMT_VIEW','ORACLE_OCM','SPATIAL_CSW_ADMIN_USR','SPATIAL_WFS_ADMIN_USR','WKPROXY','WKSYS','WK_TEST'";

/** A table, view or materialized view as the catalog shows it to the source user. */
export type CatalogTable = {
  readonly view: boolean;
  readonly partitioned: boolean;
  /** Rows live in the index of the key and have no ROWID of their own. */
  readonly indexOrganized: boolean;
  readonly temporary: boolean;
  readonly external: boolean;
  /** From the statistics; null: none were gathered. */
  readonly rows: number | null;
  readonly bytes: number | null;
  readonly columns: readonly CatalogColumn[];
  /** Object-typed and other columns hide parts of themselves: those are not in `columns`. */
  readonly keys: readonly CatalogKey[];
  /** Columns of every index in order, unique or not. */
  readonly indexes: readonly (readonly string[])[];
};

export type CatalogKey = {
  readonly primary: boolean;
  readonly name: string;
  /** Two rows may share it until their transaction ends. */
  readonly deferrable: boolean;
  readonly columns: readonly string[];
};

const NAMES_AT_ONCE = 400;

export async function listSchemas(session: Session): Promise<string[]> {
  const own =
    session.facts.major >= 12
      ? "select username from all_users where oracle_maintained = 'Y'"
      : `select username from all_users where username in (${SYSTEM_SCHEMAS})`;
  const rows = await session.query(
    `select distinct owner from all_tables where owner not in (${own}) union select distinct owner from all_views where owner not in (${own})`,
  );
  return rows.map((row) => text(row[0])).sort();
}

/** null: there is no such schema. */
export async function listTables(session: Session, schema: string): Promise<Listing[] | null> {
  const rows = await session.query(
    "select table_name, partitioned, num_rows from all_tables where owner = :1 and nested = 'NO' and secondary = 'N' and table_name not like 'BIN$%' and (iot_type is null or iot_type = 'IOT')",
    [schema],
  );
  if (rows.length === 0) {
    const users = await session.query('select username from all_users where username = :1', [schema]);
    if (users.length === 0) return null;
  }
  return rows
    .map((row) => ({
      name: text(row[0]),
      kind: text(row[1]).trim() === 'YES' ? ('partitioned' as const) : ('table' as const),
      approxRows: number(row[2]) ?? 0,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** Reads tables in a few statements for all of them; undefined for those that are missing or hidden. */
export async function readTables(session: Session, refs: readonly TableRef[]): Promise<(CatalogTable | undefined)[]> {
  const found = new Map<string, CatalogTable>();
  for (let from = 0; from < refs.length; from += NAMES_AT_ONCE)
    for (const [id, table] of await readSome(session, refs.slice(from, from + NAMES_AT_ONCE))) found.set(id, table);
  return refs.map((ref) => found.get(idOf(ref.schema, ref.name)));
}

async function readSome(session: Session, refs: readonly TableRef[]): Promise<Map<string, CatalogTable>> {
  const places = refs.map((_, index) => `(:${2 * index + 1}, :${2 * index + 2})`).join(', ');
  const binds = refs.flatMap((ref) => [ref.schema, ref.name]);
  const ask = async (sql: string): Promise<Map<string, ResultRow[]>> =>
    Map.groupBy(await session.query(sql.replace('%names', places), binds), (row) => idOf(text(row[0]), text(row[1])));
  const tables = await ask(
    "select owner, table_name, partitioned, iot_type, temporary, num_rows, avg_row_len, blocks from all_tables where (owner, table_name) in (%names) and nested = 'NO'",
  );
  const views = await ask('select owner, view_name from all_views where (owner, view_name) in (%names)');
  const columns = await ask(
    "select owner, table_name, column_name, data_type, data_type_owner, char_length, data_length, char_used, data_precision, data_scale, nullable, virtual_column from all_tab_cols where (owner, table_name) in (%names) and hidden_column = 'NO' order by owner, table_name, column_id",
  );
  const constraints = await ask(
    "select c.owner, c.table_name, c.constraint_name, c.constraint_type, c.deferrable, p.column_name from all_constraints c join all_cons_columns p on p.owner = c.owner and p.constraint_name = c.constraint_name and p.table_name = c.table_name where (c.owner, c.table_name) in (%names) and c.constraint_type in ('P', 'U') and c.status = 'ENABLED' and c.validated = 'VALIDATED' order by c.owner, c.table_name, c.constraint_name, p.position",
  );
  const indexes = await ask(
    'select i.table_owner, i.table_name, i.index_name, i.uniqueness, i.index_type, p.column_name from all_indexes i join all_ind_columns p on p.index_owner = i.owner and p.index_name = i.index_name where (i.table_owner, i.table_name) in (%names) order by i.table_owner, i.table_name, i.index_name, p.column_position',
  );
  const external = await ask('select owner, table_name from all_external_tables where (owner, table_name) in (%names)');
  const found = new Map<string, CatalogTable>();
  for (const { schema, name } of refs) {
    const id = idOf(schema, name);
    const [table] = tables.get(id) ?? [];
    const isView = views.has(id);
    if (!table && !isView) continue;
    const rows = number(table?.[5]);
    const length = number(table?.[6]);
    found.set(id, {
      view: !table,
      partitioned: text(table?.[2]).trim() === 'YES',
      indexOrganized: text(table?.[3]) === 'IOT',
      temporary: text(table?.[4]) === 'Y',
      external: external.has(id),
      rows,
      bytes: rows === null || length === null ? null : rows * length,
      columns: (columns.get(id) ?? []).map(columnOf),
      keys: keysOf(constraints.get(id) ?? [], indexes.get(id) ?? []),
      indexes: [...Map.groupBy(indexes.get(id) ?? [], (row) => text(row[2])).values()].map((parts) =>
        parts.map((row) => text(row[5])),
      ),
    });
  }
  return found;
}

function columnOf(row: ResultRow): CatalogColumn {
  return {
    name: text(row[2]),
    word: text(row[3]),
    owner: text(row[4]),
    chars: number(row[5]) ?? 0,
    bytes: number(row[6]) ?? 0,
    charUsed: text(row[7]),
    precision: number(row[8]),
    scale: number(row[9]),
    nullable: text(row[10]) !== 'N',
    virtual: text(row[11]) === 'YES',
  };
}

/** The primary key first, then unique constraints, then unique indexes without one. */
function keysOf(constraints: readonly ResultRow[], indexes: readonly ResultRow[]): CatalogKey[] {
  const keys = [...Map.groupBy(constraints, (row) => text(row[2])).values()].map((parts): CatalogKey => {
    const [first] = parts as [ResultRow];
    return {
      primary: text(first[3]) === 'P',
      name: text(first[2]),
      deferrable: text(first[4]) === 'DEFERRABLE',
      columns: parts.map((row) => text(row[5])),
    };
  });
  keys.sort((a, b) => Number(b.primary) - Number(a.primary));
  const unique = indexes.filter((row) => text(row[3]) === 'UNIQUE' && !text(row[4]).startsWith('FUNCTION'));
  for (const parts of Map.groupBy(unique, (row) => text(row[2])).values()) {
    const columns = parts.map((row) => text(row[5]));
    if (keys.some((key) => key.columns.length === columns.length && key.columns.every((one) => columns.includes(one))))
      continue;
    keys.push({ primary: false, name: text(parts[0]?.[2]), deferrable: false, columns });
  }
  return keys;
}

function idOf(schema: string, name: string): string {
  return `${schema}\0${name}`;
}

function text(value: ResultRow[number] | undefined): string {
  return value === null || value === undefined ? '' : String(value);
}

function number(value: ResultRow[number] | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}
