import { type Effect, effect } from './effects.ts';
import { isSign, isWord, readName, skip, type Token } from './sql-tokens.ts';

type Verdict = 'keeps' | Exclude<Effect['what'], 'truncate'>;
type Rename = { readonly from: string; readonly to: string };

/** The strongest verdict on a clause is that on the table. */
const ORDER: readonly Verdict[] = ['keeps', 'defaults', 'look', 'reload'];

/** What an ALTER TABLE means for its table, and for others that it names. `strict`: the session refused values that did not fit. */
export function alterEffects(tokens: readonly Token[], strict: boolean): Effect[] {
  let at = skip(tokens, 1, 'online', 'offline', 'ignore');
  if (!isWord(tokens[at], 'table')) return [];
  const lax = !strict || tokens.slice(1, at).some((token) => isWord(token, 'ignore'));
  at = skip(tokens, at + 1, 'if', 'exists');
  const table = readName(tokens, at);
  if (!table) return [];
  const all = clauses(tokens.slice(skip(tokens, table.next, 'nowait')));
  let what: Verdict = replacesColumn(all) ? 'reload' : 'keeps';
  const reasons: string[] = [];
  const renames: Rename[] = [];
  const others: Effect[] = [];
  for (const clause of all) {
    const rename = renamedColumn(clause);
    const verdict = alterClause(clause, rename);
    if (verdict === 'keeps') continue;
    if (ORDER.indexOf(verdict) > ORDER.indexOf(what)) what = verdict;
    reasons.push(
      clause
        .slice(0, 4)
        .map((token) => token.text)
        .join(' '),
    );
    if (rename && rename.from !== rename.to) renames.push(rename);
    if (rename) continue;
    const other = clause.findIndex((token, i) => isWord(token, i === 0 ? 'rename' : 'table'));
    const name = other < 0 ? undefined : readName(clause, skip(clause, other + 1, 'to', 'as'));
    if (name) others.push(effect(name.name, 'reload', 'another table took its place or its rows (ALTER TABLE)'));
  }
  if (what === 'keeps') return [];
  const reason = `ALTER TABLE … ${reasons.join(', ')}`;
  const fills = all.some(
    (clause) => isWord(clause[0], 'add') && addedColumns(clause).some((one) => valueOfAdded(one) === 'constant'),
  );
  return [{ ...effect(table.name, what, reason), ...(renames.length > 0 ? { renames } : {}), fills, lax }, ...others];
}

/** Whether a column is dropped and one of its name added: the structure may look the same, the values are others. */
function replacesColumn(all: readonly (readonly Token[])[]): boolean {
  const dropped = all
    .filter(([first]) => isWord(first, 'drop'))
    .map((clause) => clause[skip(clause, 1, 'column', 'if', 'exists')]?.text.toLowerCase());
  return all.some(
    (clause) => isWord(clause[0], 'add') && clause.some((token) => dropped.includes(token.text.toLowerCase())),
  );
}

/** Parts between commas outside of brackets. */
function clauses(tokens: readonly Token[]): Token[][] {
  const found: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (isSign(token, '(')) depth++;
    if (isSign(token, ')')) depth--;
    if (depth === 0 && isSign(token, ',')) found.push([]);
    else found.at(-1)?.push(token);
  }
  return found.filter((clause) => clause.length > 0);
}

/** Clauses of ALTER TABLE that leave every value and every column as it is. */
const KEEPS: ReadonlySet<string> = new Set(
  'engine comment auto_increment row_format key_block_size stats_auto_recalc stats_persistent stats_sample_pages algorithm lock force enable disable order default collate character charset max_rows min_rows avg_row_length pack_keys checksum delay_key_write insert_method union connection compression encryption page_compressed page_compression_level encrypted encryption_key_id transactional page_checksum analyze check optimize repair rebuild reorganize coalesce partition remove with without nowait wait secondary_engine secondary_load secondary_unload autoextend_size engine_attribute secondary_engine_attribute'.split(
    ' ',
  ),
);

function alterClause(clause: readonly Token[], rename: Rename | undefined): Verdict {
  const [first, second] = clause;
  const has = (...words: readonly string[]) => clause.some((token) => isWord(token, ...words));
  const verb = first?.kind === 'word' ? first.text.toLowerCase() : '';
  switch (verb) {
    case 'add':
      if (isWord(second, 'partition')) return 'keeps';
      if (isWord(second, 'index', 'key', 'unique', 'fulltext', 'spatial', 'check')) return 'keeps';
      if (isWord(second, 'constraint') && has('primary')) return 'reload';
      // Rows that a key's actions change are not in the log.
      if (isWord(second, 'foreign', 'constraint')) return has('foreign') ? 'look' : 'keeps';
      if (isWord(second, 'primary', 'period', 'system')) return 'reload';
      return addedColumns(clause).some((one) => valueOfAdded(one) === 'unknown') ? 'reload' : 'look';
    case 'drop':
      if (isWord(second, 'foreign', 'constraint')) return 'look';
      if (isWord(second, 'check')) return 'keeps';
      if (isWord(second, 'primary', 'partition', 'period', 'system')) return 'reload';
      return 'look';
    case 'modify':
    case 'change':
      if (verb === 'change' && !rename) return 'reload';
      return has('character', 'charset', 'collate', 'generated', 'as', 'auto_increment') ? 'reload' : 'look';
    case 'alter':
      return has('default') ? 'defaults' : 'keeps';
    case 'rename':
      return rename ? 'look' : isWord(second, 'index', 'key') ? 'keeps' : 'reload';
    default:
      return KEEPS.has(verb) ? 'keeps' : 'reload';
  }
}

/** The names of RENAME COLUMN a TO b and CHANGE a b …, which may be the same. */
function renamedColumn(clause: readonly Token[]): Rename | undefined {
  const renames = isWord(clause[0], 'rename') && isWord(clause[1], 'column');
  if (!renames && !isWord(clause[0], 'change')) return undefined;
  const at = skip(clause, 1, 'column', 'if', 'exists');
  const [from, to] = [clause[at], clause[at + (renames ? 2 : 1)]];
  if (!from || !to || from.kind === 'other' || to.kind === 'other') return undefined;
  if (renames && (!isWord(clause[at + 1], 'to') || clause.length !== at + 3)) return undefined;
  return { from: from.text, to: to.text };
}

/** The definitions of ADD COLUMN a …, and of ADD (a …, b …). */
function addedColumns(clause: readonly Token[]): Token[][] {
  const at = skip(clause, 1, 'column', 'if', 'not', 'exists');
  return isSign(clause[at], '(') ? clauses(clause.slice(at + 1, -1)) : [clause.slice(at)];
}

/** What rows from before hold in a new column. `constant`: what the catalog says of its default. A column that is not copied counts as NULL. */
function valueOfAdded(definition: readonly Token[]): 'null' | 'constant' | 'unknown' {
  const words = definition.map((token, i) => (token.kind === 'word' && i > 0 ? token.text.toLowerCase() : ''));
  if (words.includes('virtual')) return 'null';
  if (words.some((word) => ['as', 'generated', 'auto_increment', 'serial', 'primary'].includes(word))) return 'unknown';
  const defaults = words.flatMap((word, i) => (word === 'default' ? [definition.slice(i + 1)] : []));
  if (!defaults.every(isLiteral)) return 'unknown';
  const isNull = words.some((word, i) => word === 'null' && words[i - 1] !== 'not' && words[i - 1] !== 'default');
  // Without a word of it, a TIMESTAMP may be NOT NULL, with the time of the statement as its default.
  if (words.includes('timestamp') && defaults.length === 0 && !isNull) return 'unknown';
  return words.includes('not') || defaults.some(([first]) => !isWord(first, 'null')) ? 'constant' : 'null';
}

function isLiteral([first, second, third]: readonly Token[]): boolean {
  const isText = (token: Token | undefined) => token?.kind === 'other' && token.text.startsWith("'");
  const isNumber = (token: Token | undefined) => token?.kind === 'word' && /^\d/.test(token.text);
  if (isText(first) || isNumber(first) || isWord(first, 'null', 'true', 'false')) return true;
  if (first?.kind === 'word') return /^(x|b|n|_\w+)$/i.test(first.text) && isText(second);
  if (isSign(first, '.')) return isNumber(second);
  if (!isSign(first, '-') && !isSign(first, '+')) return false;
  return isNumber(second) || (isSign(second, '.') && isNumber(third));
}
