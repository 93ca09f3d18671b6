import { escapeText } from '../load-text.ts';
import type { Column } from '../model.ts';
import type { Charsets } from './charsets.ts';
import type { MappedColumn } from './table-map.ts';

/** Labels of an ENUM or SET as load text: those in the log, else those of the described type; undefined for a type that has none. */
export function labelsOf(
  column: Column,
  mapped: MappedColumn,
  charset: string | undefined,
  charsets: Charsets,
): Buffer[] | undefined {
  if (mapped.labels && charset !== undefined) {
    const decode = charsets.decoder(charset);
    return mapped.labels.map((label) =>
      Buffer.from(escapeText((decode ? decode(label, 0, label.length) : label).toString('utf8'))),
    );
  }
  return labelsOfType(column.sourceType)?.map((label) => Buffer.from(escapeText(label)));
}

/** The labels in `enum('a','b''c')`, as COLUMN_TYPE spells it; undefined for what is none. */
export function labelsOfType(type: string): string[] | undefined {
  const list = /^(?:enum|set)\((.*)\)/is.exec(type)?.[1];
  if (list === undefined) return undefined;
  const labels: string[] = [];
  for (const [, label = ''] of list.matchAll(/'((?:[^'\\]|''|\\.)*)'(?:,|$)/gs))
    labels.push(
      label.replace(/''|\\(.)/gs, (_, letter: string | undefined) => (letter ? (LETTERS[letter] ?? letter) : "'")),
    );
  return labels;
}

const LETTERS: Readonly<Record<string, string>> = { '0': '\0', n: '\n', r: '\r' };
