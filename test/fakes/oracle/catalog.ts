import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { declared, oracleType, quote, uncased } from './dialect.ts';
import type { FakeColumn } from './redo.ts';

/** The views on tables, columns, keys and indexes, filled from what SQLite has, and triggers that tell of each change. */
export type FakeCatalog = {
  readonly columnsOf: Map<string, FakeColumn[]>;
  /** After DDL. */
  refresh(): void;
  /** Rows and sizes as they are now. */
  refreshSizes(): void;
  objectOf(table: string): string | null;
  /** Triggers go before DDL, which they would be in the way of. */
  unwatch(): void;
};

const TABLES = `
attach ':memory:' as cat;
create table cat.dual (dummy text); insert into cat.dual values ('X');
create table cat.all_users (username text, oracle_maintained text); insert into cat.all_users values ('SYS','Y'), ('main','N');
create table cat.all_tables (owner text, table_name text, partitioned text, iot_type text, temporary text, num_rows int, avg_row_len int, blocks int, nested text, secondary text);
create table cat.all_views (owner text, view_name text);
create table cat.all_external_tables (owner text, table_name text);
create table cat.all_objects (owner text, object_name text, object_type text, object_id int, data_object_id int, last_ddl_time text);
create table cat.all_tab_cols (owner text, table_name text, column_name text, data_type text, data_type_owner text, char_length int, data_length int, char_used text, data_precision int, data_scale int, nullable text, virtual_column text, hidden_column text, column_id int);
create table cat.all_constraints (owner text, table_name text, constraint_name text, constraint_type text, "deferrable" text, status text, validated text);
create table cat.all_cons_columns (owner text, table_name text, constraint_name text, column_name text, position int);
create table cat.all_indexes (owner text, table_owner text, table_name text, index_name text, uniqueness text, index_type text);
create table cat.all_ind_columns (index_owner text, index_name text, column_name text, column_position int);
create table cat.all_log_groups (owner text, table_name text, log_group_type text);
`;

export function createCatalog(db: DatabaseSync): FakeCatalog {
  db.exec(TABLES);
  let objects = 70_000;
  const objectIds = new Map<string, string | null>();
  const columnsOf = new Map<string, FakeColumn[]>();

  function refreshCatalog(): void {
    db.exec(
      'delete from cat.all_tables; delete from cat.all_tab_cols; delete from cat.all_constraints; delete from cat.all_cons_columns; delete from cat.all_indexes; delete from cat.all_ind_columns; delete from cat.all_views',
    );
    const masters = db
      .prepare("select type, name from main.sqlite_schema where type in ('table', 'view') and name not like 'sqlite_%'")
      .all();
    const put = (sql: string, ...values: SQLInputValue[]) => db.prepare(sql).run(...values);
    for (const { type, name: kept } of masters as { type: string; name: string }[]) {
      const name = uncased(kept);
      const info = db.prepare('select name, type, "notnull" as required, pk from pragma_table_info(?)').all(kept);
      const columns = (info as { name: string; type: string; required: number; pk: number }[]).map((column) => ({
        ...column,
        name: uncased(column.name),
      }));
      if (type === 'view') put('insert into cat.all_views values (?, ?)', 'main', name);
      else put("insert into cat.all_tables values ('main', ?, 'NO', null, 'N', 0, 0, 0, 'NO', 'N')", name);
      for (const [index, column] of columns.entries()) {
        const { word, chars, bytes, used, precision, scale } = oracleType(column.type);
        put(
          "insert into cat.all_tab_cols values ('main', ?, ?, ?, null, ?, ?, ?, ?, ?, ?, 'NO', 'NO', ?)",
          ...[
            name,
            column.name,
            word,
            chars,
            bytes,
            used,
            precision,
            scale,
            column.required || column.pk ? 'N' : 'Y',
            index + 1,
          ],
        );
      }
      const key = columns.filter((column) => column.pk > 0).sort((a, b) => a.pk - b.pk);
      if (key.length > 0)
        put(
          "insert into cat.all_constraints values ('main', ?, ?, 'P', 'NOT DEFERRABLE', 'ENABLED', 'VALIDATED')",
          name,
          `pk_${name}`,
        );
      for (const [index, column] of key.entries())
        put("insert into cat.all_cons_columns values ('main', ?, ?, ?, ?)", name, `pk_${name}`, column.name, index + 1);
      if (type === 'view') continue;
      if (!columnsOf.has(name))
        put(
          "insert into cat.all_objects values ('main', ?, 'TABLE', ?, ?, ?)",
          name,
          ++objects,
          objects,
          '2020-01-01 00:00:00',
        );
      columnsOf.set(
        name,
        columns.map((column) => ({ name: column.name, type: declared(column.type) })),
      );
      watch(
        name,
        columns.map((column) => column.name),
      );
    }
  }

  /** Triggers that tell the journal of each change. */
  function watch(table: string, columns: readonly string[]): void {
    const name = quote(table);
    const cells = (row: string) => columns.map((column) => `${row}.${quote(column)}`).join(', ');
    const text = `'${table.replaceAll("'", "''")}'`;
    for (const [op, list] of [
      ['insert', cells('new')],
      ['update', `${cells('old')}, ${cells('new')}`],
      ['delete', cells('old')],
    ] as const) {
      const trigger = quote(`flow_${op}_${table}`);
      db.exec(`drop trigger if exists temp.${trigger}`);
      const row = op === 'delete' ? 'old' : 'new';
      db.exec(
        `create temp trigger ${trigger} after ${op} on main.${name} begin select flow_journal('${op}', ${text}, ${row}.rowid, ${list}); end`,
      );
    }
  }
  function refreshSizes(): void {
    const put = (sql: string, ...values: SQLInputValue[]) => db.prepare(sql).run(...values);
    for (const [name] of columnsOf) {
      const exists =
        db.prepare("select 1 from main.sqlite_schema where type = 'table' and name = ?").all(quote(name).slice(1, -1))
          .length > 0;
      if (!exists) continue;
      const [row] = db.prepare(`select count(*) as n from main.${quote(name)}`).all() as { n: number }[];
      const [length] = db
        .prepare(
          `select avg(${(columnsOf.get(name) ?? []).map((column) => `coalesce(length(${quote(column.name)}), 1)`).join(' + ')}) as n from (select * from main.${quote(name)} limit 50)`,
        )
        .all() as { n: number | null }[];
      put(
        'update cat.all_tables set num_rows = ?, avg_row_len = ? where table_name = ?',
        row?.n ?? 0,
        Math.ceil(length?.n ?? 1),
        name,
      );
    }
  }
  return {
    columnsOf,
    refresh: refreshCatalog,
    refreshSizes,
    objectOf(table) {
      // Once for a table: it is asked for with every row.
      if (!objectIds.has(table)) {
        const [row] = db.prepare('select object_id from cat.all_objects where object_name = ?').all(table);
        objectIds.set(table, row ? String(row['object_id']) : null);
      }
      return objectIds.get(table) ?? null;
    },
    unwatch() {
      for (const [name] of columnsOf)
        for (const op of ['insert', 'update', 'delete'])
          db.exec(`drop trigger if exists temp.${quote(`flow_${op}_${name}`)}`);
    },
  };
}
