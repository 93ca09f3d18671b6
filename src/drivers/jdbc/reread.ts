import { lineKeys, wholeRows } from '../cursor-rows.ts';
import { unescapeText } from '../load-text.ts';
import type { Batch, ChunkRead, RuleUse, Table } from '../model.ts';
import type { CatalogColumn, CatalogTable } from './catalog.ts';
import type { Pool } from './pool.ts';
import { boundKind, type Condition, EVERYTHING } from './range.ts';
import { readChunk } from './read.ts';
import type { Facts } from './session.ts';
import { quoteName } from './sql.ts';

const KEYS_AT_ONCE = 100;

/**
 * Rows by key as they are now. The database is asked for them by those key columns whose values it surely takes as they are printed; of what it
 * answers, rows of just these keys are passed on. A key without such a column means reading the whole table.
 */
export async function* rereadKeys(
  pool: Pool,
  known: (table: Table) => CatalogTable | undefined,
  table: Table,
  keys: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<Batch, ChunkRead, undefined> {
  const rules: RuleUse[] = [];
  const wanted = new Set(keys);
  const left = [...wanted];
  let rows = 0;
  while (left.length > 0) {
    const part = left.splice(0, KEYS_AT_ONCE);
    let all = false;
    const read = readChunk(pool, known, table, undefined, EVERYTHING, signal, (facts, found) => {
      const condition = keysAre(facts, found, table, part);
      all = condition === undefined;
      return condition ?? { sql: '1 = 1', parameters: [] };
    });
    const pieces = wholeRows(read);
    try {
      for (;;) {
        const next = await pieces.next();
        if (next.done) {
          rules.push(...next.value);
          break;
        }
        const those = all ? wanted : new Set(part);
        const lines = lineKeys(table, next.value.data as Buffer).filter(({ key }) => those.has(key));
        if (lines.length === 0) continue;
        rows += lines.length;
        yield { data: Buffer.concat(lines.map(({ line }) => line)), rows: lines.length };
      }
    } finally {
      await pieces.return([]);
    }
    // One reading of the whole table has found them all.
    if (all) break;
  }
  return { rows, rules };
}

/** The condition that rows of these keys meet, and perhaps others; undefined: every row may. */
function keysAre(facts: Facts, found: CatalogTable, table: Table, keys: readonly string[]): Condition | undefined {
  const texts = keys.map((key) => key.split('\t').map(plainText));
  const bound = table.key.flatMap((name, at) => {
    const kind = kindOf(facts, found, table, name);
    const fits = kind !== undefined && texts.every((key) => isValue(kind, key[at] ?? ''));
    return fits ? [{ name: quoteName(facts, name), kind, at }] : [];
  });
  if (bound.length === 0) return undefined;
  const one = `(${bound.map(({ name }) => `${name} = ?`).join(' and ')})`;
  return {
    sql: `(${keys.map(() => one).join(' or ')})`,
    parameters: texts.flatMap((key) => bound.flatMap(({ kind, at }) => [kind, key[at] ?? ''])),
  };
}

type Kind = NonNullable<ReturnType<typeof boundKind>>;

/** How a key column is bound; undefined: its text need not be what the database compares equal. */
function kindOf(facts: Facts, found: CatalogTable, table: Table, name: string): Kind | undefined {
  const column = table.columns.find((one) => one.name === name);
  const source = found.columns.find((one) => one.name === name);
  const kind = column && boundKind(column);
  if (!source || kind === undefined) return undefined;
  return kind !== 's' || isPlainText(facts, source) ? kind : undefined;
}

const VARCHAR = [12, -9];

/** Texts of a varying length; drivers say so of other types too that they print as text. */
function isPlainText({ product }: Facts, { jdbcType, typeName }: CatalogColumn): boolean {
  if (product === 'sqlite') return /char|text|clob/i.test(typeName);
  return VARCHAR.includes(jdbcType) && /char|text|^string$|^name$/i.test(typeName) && !/^bpchar/i.test(typeName);
}

function isValue(kind: Kind, text: string): boolean {
  return kind === 's' || (kind === 'l' ? /^-?\d{1,18}$/ : /^-?\d+(\.\d+)?$/).test(text);
}

/** Load text of a cell, in latin1, as the text that it stands for. */
function plainText(cell: string): string {
  return Buffer.from(unescapeText(cell), 'latin1').toString('utf8');
}
