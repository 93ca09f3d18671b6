import { closing, compact, isSymbol, isWord, splitList, type Token } from './tsql.ts';

export type ColumnDefinition = {
  readonly id: number;
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  readonly fallback: string | null;
  readonly collation: string;
};

export type TableDefinition = {
  readonly id: number;
  readonly schema: string;
  readonly name: string;
  columns: ColumnDefinition[];
  key: string[];
  lastColumn: number;
  tracked: boolean;
};

/** The columns and key of `CREATE TABLE x ( … )`. */
export function parseColumns(body: readonly Token[], table: TableDefinition): void {
  for (const item of splitList(body)) {
    if (isWord(item[0], 'PRIMARY')) {
      const open = item.findIndex((token) => isSymbol(token, '('));
      table.key = splitList(item.slice(open + 1, closing(item, open))).map(([name]) => name?.text ?? '');
      continue;
    }
    addColumn(item, table);
  }
  table.columns = table.columns.map((column) =>
    table.key.includes(column.name) ? { ...column, nullable: false } : column,
  );
}

/** `name type [null | not null] [default x] [primary key]` */
export function addColumn(item: readonly Token[], table: TableDefinition): void {
  let at = 1;
  let type = (item[at++]?.text ?? '').toLowerCase();
  if (type === 'integer') type = 'int';
  if (type === 'rowversion') type = 'timestamp';
  if (isSymbol(item[at], '(')) {
    const end = closing(item, at);
    type += compact(item.slice(at, end + 1)).toLowerCase();
    at = end + 1;
  }
  const rest = item.slice(at);
  const words = rest.map((token) => token.text.toUpperCase());
  const primary = words.includes('PRIMARY');
  const fallbackAt = words.indexOf('DEFAULT');
  const name = item[0]?.text ?? '';
  if (primary) table.key = [name];
  const fallback = fallbackAt < 0 ? null : (rest[fallbackAt + 1] as Token);
  table.columns.push({
    id: ++table.lastColumn,
    name,
    type,
    nullable:
      !primary && !(words.includes('NOT') && words[words.indexOf('NOT') + 1] === 'NULL') && type !== 'timestamp',
    fallback: fallback === null ? null : fallback.kind === 'string' ? `'${fallback.text}'` : fallback.text,
    collation: /char|text/.test(type)
      ? words.includes('COLLATE')
        ? (rest[words.indexOf('COLLATE') + 1]?.text ?? '')
        : 'Latin1_General_BIN2'
      : '',
  });
}

/** What SQLite is told of a column: how it holds its values. */
export function affinity(type: string): string {
  if (/^(bit|tinyint|smallint|int|bigint)$/.test(type)) return 'INTEGER';
  if (/^(float|real)/.test(type)) return 'REAL';
  if (/^(binary|varbinary|image|timestamp)/.test(type)) return 'BLOB';
  return 'TEXT';
}

/** `max_length` of sys.columns. */
export function byteLength(type: string): number {
  const [, word = '', size = ''] = /^(\w+)(?:\((\w+))?/.exec(type) ?? [];
  if (size === 'max' || ['text', 'ntext', 'image', 'xml', 'geometry', 'geography'].includes(word)) return -1;
  if (word.startsWith('nchar') || word.startsWith('nvarchar')) return Number(size || 1) * 2;
  return Number(size || 8);
}
