/** What operators read in Temporal's Web UI: summaries of activities and Markdown details of workflows. */

import type { TableRef } from '../drivers/model.ts';
import type { StreamTotals } from './children.ts';
import type { Operation } from './messages.ts';
import type { Portion } from './portions.ts';
import type { Progress } from './progress.ts';

/** Cuts a text to what the server takes as a summary (200 bytes), at a character's border. */
export function clip(text: string, bytes = 190): string {
  let size = 0;
  let end = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    size += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (size > bytes) return `${text.slice(0, end)}…`;
    end += character.length;
  }
  return text;
}

export function nameOf(ref: TableRef): string {
  return `${ref.schema}.${ref.name}`;
}

/** What a portion is called. */
export function title(portion: Portion): string {
  const [first] = portion.items;
  if (!first) return 'load nothing';
  const name = clip(nameOf(first.ref), 100);
  if (portion.items.length > 1) return `load ${name} and ${portion.items.length - 1} more`;
  if (first.chunks <= 1) return `load ${name}`;
  const chunks = first.take.length > 1 ? `${first.take.length} chunks` : '1 chunk';
  return `load ${name}, ${chunks} of ${first.chunks}`;
}

const operations: Readonly<Record<Operation, string>> = {
  full: 'Full Extract',
  syncnew: 'Sync New Tables',
  syncstruct: 'Synchronize Structure',
  delta: 'Manual Delta',
  rollback: 'Rollback',
  validate: 'Validate',
};

/** An operation in the words of the documented answers. */
export function label(operation: Operation): string {
  return operations[operation];
}

/** What a stream has applied, as Markdown. */
export function streamDetails({ rows, position, at }: StreamTotals): string {
  return [
    `**changes**: ${number(rows.inserted)} inserted, ${number(rows.updated)} updated, ${number(rows.deleted)} deleted` +
      (rows.parked > 0 ? `, **${number(rows.parked)} parked**` : ''),
    '',
    `* position: ${position ?? 'as the run began'}`,
    `* last change of the source: ${at === null ? 'none yet' : new Date(at).toISOString()}`,
  ].join('\n');
}

/** Progress of a load as Markdown. */
export function loadDetails(progress: Progress): string {
  const lines = [
    `**${progress.phase}**: ${progress.tablesDone} of ${progress.tablesTotal} tables, ${number(progress.rows)} rows, ${megabytes(progress.bytes)}` +
      (progress.tablesFailed > 0 ? `, **${progress.tablesFailed} failed**` : ''),
  ];
  if (progress.tables.length > 0) {
    lines.push('', '| table | state | rows | chunks |', '|---|---|---:|---:|');
    for (const table of progress.tables.slice(0, 40)) {
      lines.push(
        `| ${cell(nameOf(table))} | ${table.state} | ${number(table.rows)} | ${table.chunksDone}/${table.chunks} |`,
      );
    }
    if (progress.tables.length > 40) lines.push('', `… and ${progress.tables.length - 40} more`);
  }
  return lines.join('\n');
}

function cell(text: string): string {
  return clip(text, 120).replaceAll('|', '\\|').replaceAll('\n', ' ');
}

function number(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
