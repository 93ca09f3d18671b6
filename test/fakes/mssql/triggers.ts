import type { TableDefinition } from './definition.ts';
import { quoted, tableName } from './rewrite.ts';

/** A capture instance: its change table, and the columns that it was made with. */
export type FakeInstance = {
  readonly name: string;
  readonly id: number;
  readonly table: TableDefinition;
  readonly columns: readonly string[];
};

const LARGE = /^(n?text|image|xml)$|\(max\)$/;
const NEXT = '(SELECT version + 1 FROM "$meta")';

/** Statements that make a table tell of its changes, as change tracking and CDC of a real server do. */
export function triggersOf(table: TableDefinition, instances: readonly FakeInstance[]): string[] {
  const name = `${table.schema}.${table.name}`;
  const made: string[] = [
    `drop trigger if exists ${tableName(`$rv ${name}`)}`,
    `drop trigger if exists ${tableName(`$rvi ${name}`)}`,
  ];
  for (const event of ['insert', 'update', 'delete'] as const) {
    made.push(`drop trigger if exists ${tableName(`$${event} ${name}`)}`);
    const body = [
      ...(table.tracked ? tracking(table, event) : []),
      ...instances.flatMap((instance) => capture(instance, event)),
      ...(table.tracked || instances.length > 0 ? ['update "$meta" set dirty = 1'] : []),
    ];
    if (body.length > 0)
      made.push(
        `create trigger ${tableName(`$${event} ${name}`)} after ${event} on ${tableName(name)} begin ${body.join('; ')}; end`,
      );
  }
  const version = table.columns.find(({ type }) => type === 'timestamp');
  if (version) {
    const body = `update "$meta" set row_version = row_version + 1; update ${tableName(name)} set ${quoted(version.name)} = tsql_bytes((select row_version from "$meta")) where rowid = new.rowid;`;
    made.push(
      `create trigger ${tableName(`$rvi ${name}`)} after insert on ${tableName(name)} begin ${body} end`,
      `create trigger ${tableName(`$rv ${name}`)} after update on ${tableName(name)} when new.${quoted(version.name)} is old.${quoted(version.name)} begin ${body} end`,
    );
  }
  return made;
}

export function trackingTable(table: TableDefinition): string {
  return `$ct ${table.schema}.${table.name}`;
}

function tracking(table: TableDefinition, event: 'insert' | 'update' | 'delete'): string[] {
  const into = tableName(trackingTable(table));
  const keys = table.key.map(quoted);
  const put = (row: 'old' | 'new', gone: 0 | 1, created: string): string =>
    `insert or replace into ${into} (${keys.join(', ')}, "$gone", "$created", "$last") values (${keys.map((key) => `${row}.${key}`).join(', ')}, ${gone}, ${created}, ${NEXT})`;
  if (event === 'insert') return [put('new', 0, NEXT)];
  if (event === 'delete') return [put('old', 1, '0')];
  const same = keys.map((key) => `old.${key} is new.${key}`).join(' and ');
  const before = `coalesce((select "$created" from ${into} where ${keys.map((key) => `${key} is new.${key}`).join(' and ')} and not "$gone"), 0)`;
  // A key that changed is one row gone and another one new.
  const moved = `insert or replace into ${into} (${keys.join(', ')}, "$gone", "$created", "$last") select ${keys.map((key) => `old.${key}`).join(', ')}, 1, 0, ${NEXT} where not (${same})`;
  return [moved, put('new', 0, `case when ${same} then ${before} else ${NEXT} end`)];
}

function capture({ name, table, columns }: FakeInstance, event: 'insert' | 'update' | 'delete'): string[] {
  const into = tableName(`cdc.${name}_CT`);
  const list = columns.map(quoted).join(', ');
  const alive = (column: string) => table.columns.some((one) => one.name === column);
  const large = (column: string) => LARGE.test(table.columns.find((one) => one.name === column)?.type ?? '');
  const bits = columns
    .map((column) => (alive(column) ? `old.${quoted(column)} is not new.${quoted(column)}` : '0'))
    .join(', ');
  const row = (operation: number, from: 'old' | 'new', when: string, unchanged: boolean): string => {
    const values = columns.map((column) => {
      const value = `${from}.${quoted(column)}`;
      if (!alive(column)) return 'null';
      // Large values are there only where the statement set them.
      return unchanged && large(column)
        ? `case when old.${quoted(column)} is not new.${quoted(column)} then ${value} end`
        : value;
    });
    const mask = event === 'update' ? `tsql_mask(${bits})` : "X'FF'";
    return `insert into ${into} ("__$start_lsn", "__$command_id", "__$seqval", "__$operation", "__$update_mask", ${list}) select tsql_lsn(${NEXT}), 1, tsql_lsn((select coalesce(max(rowid), 0) from ${into})), ${operation}, ${mask}, ${values.join(', ')} where ${when}`;
  };
  if (event === 'insert') return [row(2, 'new', '1', false)];
  if (event === 'delete') return [row(1, 'old', '1', false)];
  const same = table.key.map((key) => `old.${quoted(key)} is new.${quoted(key)}`).join(' and ') || '1';
  return [
    row(1, 'old', `not (${same})`, false),
    // The log of a row that moves need not hold what was not set.
    row(2, 'new', `not (${same})`, true),
    row(3, 'old', same, true),
    row(4, 'new', same, true),
  ];
}
