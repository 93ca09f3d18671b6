import { type Edit, insertAt, replaceTokens } from './edit.ts';
import { findLoadSet, isLoad, loadListStart, loadTarget } from './rules-write.ts';
import { type Session, tableInfo } from './session.ts';
import type { Statement } from './statement.ts';
import { afterParenthesis, findWords, isOperator, isWord, type Token } from './tokens.ts';

/** Edits that take SingleStore's own clauses out of a LOAD DATA. */
export function loadEdits(statement: Statement, session: Session): Edit[] {
  if (!isLoad(statement)) return [];
  const { tokens } = statement;
  const edits: Edit[] = [];
  const drop = (at: number, count: number, text = '') => {
    if (at >= 0) edits.push(replaceTokens(tokens.slice(at, at + count), text));
  };
  const skip = findWords(tokens, ['SKIP']);
  if (skip >= 0) {
    const errors = findWords(tokens, ['ERRORS'], 0, skip);
    drop(skip, errors - skip + 1, 'IGNORE');
  }
  drop(findWords(tokens, ['TRAILING', 'NULLCOLS']), 2);
  const max = findWords(tokens, ['MAX_ERRORS']);
  drop(max, isOperator(tokens[max + 1], '=') ? 3 : 2);
  drop(findWords(tokens, ['ERRORS', 'HANDLE']), 3);
  drop(findWords(tokens, ['COMPRESSION']), 2);
  drop(findWords(tokens, ['FORMAT', 'CSV']), 2);
  const nulls = findWords(tokens, ['NULL', 'DEFINED', 'BY']);
  if (nulls >= 0) {
    drop(nulls, isWord(tokens[nulls + 4], 'OPTIONALLY') ? 6 : 4);
    edits.push(...nullEdits(statement, session, tokens[nulls + 3]));
  }
  return edits;
}

/**
 * `NULL DEFINED BY 'x'`: each plain column becomes a load variable and `SET c = NULLIF(@…, 'x')`. Without a column list the
 * catalog gives the columns; without both the clause has no effect.
 */
function nullEdits(statement: Statement, session: Session, marker: Token | undefined): Edit[] {
  const { tokens, text } = statement;
  const literal = marker && text.slice(marker.start, marker.end);
  const open = loadListStart(tokens);
  const target = loadTarget(statement);
  const known = target && tableInfo(session, target);
  const edits: Edit[] = [];
  const assignments: string[] = [];
  const variable = (column: string) => {
    const name = `@_null_${assignments.length}`;
    assignments.push(`${column} = NULLIF(${name}, ${literal})`);
    return name;
  };
  let end = tokens.at(-1)?.end ?? 0;
  if (open >= 0) {
    const close = afterParenthesis(tokens, open);
    for (const token of tokens.slice(open + 1, close - 1)) {
      if (token.kind === 'word' || token.kind === 'identifier')
        edits.push(replaceTokens([token], variable(text.slice(token.start, token.end))));
    }
    end = tokens[close - 1]?.end ?? end;
  } else if (known) {
    const names = [...known.columns.keys()].map((column) => variable(`\`${column.replaceAll('`', '``')}\``));
    edits.push(insertAt(end, ` (${names.join(', ')})`));
  }
  if (assignments.length === 0) return [];
  const set = findLoadSet(tokens);
  if (set >= 0) edits.push(insertAt(tokens[set]?.end ?? end, ` ${assignments.join(', ')},`));
  else edits.push(insertAt(tokens.at(-1)?.end ?? end, ` SET ${assignments.join(', ')}`));
  return edits;
}
