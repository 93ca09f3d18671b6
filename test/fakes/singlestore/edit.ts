import type { Token } from './tokens.ts';

/** A replacement of a part of an SQL text. */
export type Edit = { start: number; end: number; text: string };

/** An edit that puts a text in place of a run of tokens. */
export function replaceTokens(tokens: Token[], text: string): Edit {
  return { start: tokens[0]?.start ?? 0, end: tokens.at(-1)?.end ?? 0, text };
}

/** An edit that inserts a text. */
export function insertAt(position: number, text: string): Edit {
  return { start: position, end: position, text };
}

/** Applies edits, which may come in any order; one that overlaps an earlier one is an error. */
export function applyEdits(text: string, edits: Edit[]): string {
  let result = '';
  let at = 0;
  for (const edit of [...edits].sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (edit.start < at) throw new Error(`edits overlap at ${edit.start}`);
    result += text.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return result + text.slice(at);
}
