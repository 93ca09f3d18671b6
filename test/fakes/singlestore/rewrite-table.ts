import { type Edit, replaceTokens } from './edit.ts';
import type { Statement } from './statement.ts';
import { readColumn, readCreateTable, readKey } from './table-definition.ts';
import { afterParenthesis, isOperator, isWord, splitCommas, type Token } from './tokens.ts';

const CLUSTER_OPTION = /^(AUTOSTATS_\w+|SQL_MODE|COMPRESSION)$/;
/** Types that MariaDB lacks, with one that keeps their text. */
const TYPES: Record<string, string> = {
  GEOGRAPHY: 'LONGTEXT',
  GEOGRAPHYPOINT: 'VARCHAR(64)',
  BSON: 'LONGBLOB',
  VECTOR: 'LONGTEXT',
};

/** Edits that take SingleStore's own parts out of a CREATE TABLE. */
export function tableEdits(statement: Statement): Edit[] {
  const definition = readCreateTable(statement);
  if (!definition) return [];
  const { tokens } = statement;
  const edits: Edit[] = definition.head
    .filter((token) => isWord(token, 'ROWSTORE', 'COLUMNSTORE', 'REFERENCE', 'GLOBAL'))
    .map((token) => replaceTokens([token], ''));
  if (definition.body >= 0) edits.push(...bodyEdits(statement, definition.body));
  const { options } = definition;
  options.forEach((token, i) => {
    if (!CLUSTER_OPTION.test(token.word)) return;
    const value = isOperator(options[i + 1], '=') ? i + 2 : i + 1;
    edits.push(replaceTokens(options.slice(i, value + 1), ''));
  });
  if (definition.like) edits.push(...copyEdits(tokens));
  return edits;
}

function bodyEdits({ tokens }: Statement, open: number): Edit[] {
  const items = splitCommas(tokens.slice(open + 1, afterParenthesis(tokens, open) - 1), 1);
  const lastKept = items.findLastIndex((item) => !isDropped(item));
  return items.flatMap((item, i) => {
    if (!isDropped(item)) return itemEdits(item);
    // A dropped item takes the comma after it along, one behind the last kept item the comma before it.
    const start = i < lastKept || i === 0 ? item[0]?.start : items[i - 1]?.at(-1)?.end;
    const end = i < lastKept ? items[i + 1]?.[0]?.start : item.at(-1)?.end;
    return [{ start: start ?? 0, end: end ?? 0, text: '' }];
  });
}

function isDropped(item: Token[]): boolean {
  const key = readKey(item);
  return (
    key !== undefined &&
    (['shard', 'sort', 'clustered', 'group'].includes(key.kind) || key.unenforced || isWord(item[0], 'VECTOR', 'MULTI'))
  );
}

/** Edits inside one column or key definition, of a CREATE TABLE or an ALTER TABLE … ADD. */
export function itemEdits(item: Token[]): Edit[] {
  const key = readKey(item);
  if (key) return key.kind === 'fulltext' ? remove(item, ['USING', 'VERSION']) : [];
  const column = readColumn(item);
  if (!column) return [];
  if (isWord(item[1], 'AS')) return computedEdits(item);
  const edits = item.flatMap((token, i) => {
    if (i > 1 && isWord(token, 'SPARSE', 'SEQUENCE')) return [replaceTokens([token], '')];
    if (i > 1 && isWord(token, 'SERIES') && isWord(item[i + 1], 'TIMESTAMP'))
      return [replaceTokens(item.slice(i, i + 2), '')];
    if (isWord(token, 'AS') && isWord(item[i + 1], 'SEQUENCE')) return [replaceTokens([token], '')];
    return [];
  });
  const type = TYPES[column.type];
  if (type && item[1]) {
    const end = isOperator(item[2], '(') ? afterParenthesis(item, 2) : 2;
    edits.push(replaceTokens(item.slice(1, end), type));
  }
  return edits;
}

/** `c AS expression PERSISTED type` becomes `c type AS (expression) PERSISTENT`. */
function computedEdits(item: Token[]): Edit[] {
  const persisted = item.findIndex((token) => isWord(token, 'PERSISTED'));
  if (persisted < 0) return [];
  const place = item.findIndex(
    (token, i) => i > persisted && isWord(token, 'FIRST', 'AFTER', 'COMMENT', 'NOT', 'NULL'),
  );
  const type = item.slice(persisted + 1, place < 0 ? undefined : place);
  const last = item[persisted - 1];
  const end = (place < 0 ? item.at(-1)?.end : item[place - 1]?.end) ?? 0;
  if (!last || persisted < 3 || type.length === 0) return [];
  const typeName = isWord(type[0], 'AUTO') ? 'LONGTEXT' : type.map((token) => token.value).join(' ');
  return [replaceTokens(item.slice(1, 2), `${typeName} AS (`), { start: last.end, end, text: ') PERSISTENT' }];
}

function remove(item: Token[], words: [string, string]): Edit[] {
  const at = item.findIndex((token, i) => isWord(token, words[0]) && isWord(item[i + 1], words[1]));
  return at < 0 ? [] : [replaceTokens(item.slice(at, at + 3), '')];
}

/** `CREATE TABLE a LIKE b WITH DEEP COPY`. */
function copyEdits(tokens: Token[]): Edit[] {
  const at = tokens.findIndex((token, i) => isWord(token, 'WITH') && isWord(tokens[i + 1], 'SHALLOW', 'DEEP'));
  return at < 0 ? [] : [replaceTokens(tokens.slice(at, at + 3), '')];
}
