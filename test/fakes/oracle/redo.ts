/** The redo log of the fake: what V$LOGMNR_CONTENTS shows for a change, written from the Oracle manuals and the shapes of real logs. */

export type FakeValue = string | number | bigint | Uint8Array | null;
export type FakeColumn = { readonly name: string; readonly type: string };

/** A row of V$LOGMNR_CONTENTS, and the log file that holds it. */
export type FakeRedo = {
  scn: bigint;
  time: string;
  xid: string;
  operation: number;
  rollback: number;
  status: number;
  info: string | null;
  owner: string | null;
  table: string | null;
  object: string | null;
  rowId: string;
  csf: number;
  sql: string | null;
  thread: number;
  sequence: number;
  container: string;
};

const SQL_CHARS = 4000;

export function isLob(type: string): boolean {
  return /^N?CLOB|^BLOB/i.test(type);
}

/** A value as LogMiner spells it under the session's formats. */
export function literal(value: FakeValue, type: string): string {
  if (value === null) return 'NULL';
  if (value instanceof Uint8Array) return `HEXTORAW('${Buffer.from(value).toString('hex').toUpperCase()}')`;
  const text = String(value);
  if (/^DATE/i.test(type)) return `TO_DATE('${text}', 'SYYYY-MM-DD HH24:MI:SS')`;
  if (/TIME ZONE$/i.test(type)) return `TO_TIMESTAMP_TZ('${text}')`;
  if (/^TIMESTAMP/i.test(type)) return `TO_TIMESTAMP('${text}')`;
  if (/^INTERVAL YEAR/i.test(type)) return `TO_YMINTERVAL('${text}')`;
  if (/^INTERVAL DAY/i.test(type)) return `TO_DSINTERVAL('${text}')`;
  if (/^BINARY_/i.test(type)) return `'${exponent(Number(value))}'`;
  if (/^NUMBER/i.test(type) && text.startsWith('0.')) return `'${text.slice(1)}'`;
  if (/^NVARCHAR2|^NCHAR/i.test(type)) return `UNISTR('${unistr(text)}')`;
  return `'${text.replaceAll("'", "''")}'`;
}

function exponent(value: number): string {
  if (Number.isNaN(value)) return 'Nan';
  if (!Number.isFinite(value)) return value < 0 ? '-Inf' : 'Inf';
  const [digits = '', power = '0'] = value.toExponential(17).split('e');
  return `${digits}E${Number(power) < 0 ? '-' : '+'}${String(Math.abs(Number(power))).padStart(3, '0')}`;
}

function unistr(text: string): string {
  return [...text]
    .map((char) => {
      if (char === '\\') return '\\\\';
      if (char === "'") return "''";
      if (char >= ' ' && char <= '~') return char;
      return Array.from(
        { length: char.length },
        (_, i) => `\\${char.charCodeAt(i).toString(16).padStart(4, '0').toUpperCase()}`,
      ).join('');
    })
    .join('');
}

const q = (name: string): string => `"${name}"`;

function conditions(columns: readonly FakeColumn[], row: readonly FakeValue[]): string {
  return columns
    .flatMap((column, i) => {
      if (isLob(column.type)) return [];
      const value = row[i] ?? null;
      return [value === null ? `${q(column.name)} IS NULL` : `${q(column.name)} = ${literal(value, column.type)}`];
    })
    .join(' and ');
}

export type Statement = { readonly operation: number; readonly sql: string };

/** The statements of a change; changes of LOBs come as operations of their own. */
export function statements(
  op: 'insert' | 'update' | 'delete',
  owner: string,
  table: string,
  columns: readonly FakeColumn[],
  before: readonly FakeValue[],
  after: readonly FakeValue[],
): Statement[] {
  const name = `${q(owner)}.${q(table)}`;
  if (op === 'delete') return [{ operation: 2, sql: `delete from ${name} where ${conditions(columns, before)};` }];
  const lobs = columns.flatMap((column, i) => {
    const value = after[i] ?? null;
    const same = op === 'update' && sameValue(before[i] ?? null, value);
    return isLob(column.type) && value !== null && !same ? [{ column, value }] : [];
  });
  const writes = lobs.flatMap(({ column, value }): Statement[] => [
    {
      operation: 9,
      sql: `DECLARE \n loc_c CLOB; \n buf_c VARCHAR2(6156); \n BEGIN\n select ${q(column.name)} into loc_c from ${name} where ${conditions(columns, after)} for update;\n`,
    },
    {
      operation: 10,
      sql: ` buf_c := '${String(value).slice(0, 100).replaceAll("'", "''")}'; \n dbms_lob.write(loc_c, 1, 1, buf_c);\nEND;\n`,
    },
  ]);
  if (op === 'insert') {
    const values = columns.map((column, i) =>
      isLob(column.type) ? (after[i] === null ? 'NULL' : 'EMPTY_CLOB()') : literal(after[i] ?? null, column.type),
    );
    return [
      {
        operation: 1,
        sql: `insert into ${name}(${columns.map((column) => q(column.name)).join(',')}) values (${values.join(',')});`,
      },
      ...writes,
    ];
  }
  const set = columns.flatMap((column, i) => {
    const [old = null, now = null] = [before[i], after[i]];
    if (sameValue(old, now)) return [];
    if (isLob(column.type)) return now === null ? [`${q(column.name)} = NULL`] : [];
    return [`${q(column.name)} = ${literal(now, column.type)}`];
  });
  const update: Statement[] =
    set.length === 0
      ? []
      : [{ operation: 3, sql: `update ${name} set ${set.join(', ')} where ${conditions(columns, before)};` }];
  return [...update, ...writes];
}

function sameValue(a: FakeValue, b: FakeValue): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return a === b;
}

/** Rows of at most 4,000 characters, all but the last with CSF = 1. */
export function splitSql(sql: string): { readonly sql: string; readonly csf: number }[] {
  const parts: { sql: string; csf: number }[] = [];
  for (let at = 0; at < sql.length; at += SQL_CHARS) parts.push({ sql: sql.slice(at, at + SQL_CHARS), csf: 1 });
  const last = parts.at(-1);
  if (last) last.csf = 0;
  return parts;
}
