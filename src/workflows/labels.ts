/** What operators read in Temporal's Web UI: summaries of activities and Markdown details of workflows. */

import type { TableRef } from '../drivers/model.ts';
import type { StreamTotals } from './children.ts';
import type { Operation, RowCounts } from './messages.ts';
import type { Portion } from './portions.ts';
import type { Progress, Sight } from './progress.ts';
import { heldUpTo } from './sight.ts';

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

/** What a stream has applied, as Markdown; `tables`: those that it changed most. */
export function streamDetails(totals: StreamTotals, tables: Sight['tables'] = []): string {
  const { position, at, applied } = totals;
  const rows = totals.total ?? totals.rows;
  const source = applied ? applied.changedAt : at === null ? null : new Date(at).toISOString();
  const lines = [
    `**changes**: ${changes(rows)}`,
    '',
    `* position: ${position ?? 'as the run began'}`,
    `* last change of the source: ${source ?? 'none yet'}`,
    ...(applied ? [`* last write to the destination: ${applied.writtenAt ?? 'none yet'}`] : []),
    ...heldDetails(totals),
  ];
  if (tables.length > 0) {
    lines.push('', '| table | inserted | updated | deleted | parked | last change |', '|---|---:|---:|---:|---:|---|');
    for (const table of tables)
      lines.push(
        `| ${cell(nameOf(table))} | ${number(table.inserted)} | ${number(table.updated)} | ${number(table.deleted)} | ${number(table.parked)} | ${table.changedAt ?? ''} |`,
      );
  }
  return lines.join('\n');
}

/** Up to when a copy is whole, and how long the source keeps what it still needs, as lines of a Markdown list. */
export function heldDetails({
  log,
  ...known
}: Parameters<typeof heldUpTo>[0] & Pick<Sight, 'applied' | 'log'>): string[] {
  const written = known.applied?.writtenAt;
  const held = heldUpTo({ ...known, writtenAt: written ? Date.parse(written) : null });
  const kept = log?.hoursLeft ?? null;
  return [
    ...(held === null ? [] : [`* holds everything up to: ${new Date(held).toISOString()}`]),
    ...(kept === null ? [] : [`* the source’s log is kept for: ${kept.toFixed(1)} hours more`]),
  ];
}

/** Counts in words. */
export function changes({ inserted, updated, deleted, parked }: Omit<RowCounts, 'loaded'>): string {
  const words = `${number(inserted)} inserted, ${number(updated)} updated, ${number(deleted)} deleted`;
  return parked > 0 ? `${words}, **${number(parked)} parked**` : words;
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
