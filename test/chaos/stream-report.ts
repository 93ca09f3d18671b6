import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { StreamRecord } from './stream-round.ts';

/** Prints what all rounds came to, and writes it as Markdown and JSON beside `out`. True when nothing went wrong. */
export async function writeStreamSummary(
  records: readonly StreamRecord[],
  seed: number,
  out?: string,
): Promise<boolean> {
  const text = summaryText(records, seed);
  console.log(text);
  if (out !== undefined) {
    await mkdir(dirname(out), { recursive: true });
    await writeFile(`${out}.md`, text);
    await writeFile(`${out}.json`, `[\n${records.map((record) => JSON.stringify(record)).join(',\n')}\n]\n`);
  }
  return records.length > 0 && records.every((record) => record.problems.length === 0);
}

function summaryText(records: readonly StreamRecord[], seed: number): string {
  const blows = records.flatMap((record) => record.blows.map((blow) => ({ ...blow, source: record.source })));
  const sum = (value: (record: StreamRecord) => number) => records.reduce((total, one) => total + value(one), 0);
  const failed = records.filter((record) => record.problems.length > 0);
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const settle = records.map((record) => record.settleMs / 1000).sort((a, b) => a - b);
  const at = (share: number) =>
    (settle[Math.min(settle.length - 1, Math.floor(settle.length * share))] ?? 0).toFixed(1);
  return `# Streams under kill -9

Made by \`npm run chaos:streams -- --rounds ${records.length} --seed ${seed}\` at commit ${commit}. One pipeline per lane goes on through all rounds: transactions over
eighteen tables are written to the source all the time, parts of the system are killed, operators' requests come in between, and after each round the copy is compared with the
source cell by cell in both directions.

| | |
|---|---:|
| rounds | ${records.length} |
| rounds with a difference or another problem | ${failed.length} |
| differences | ${sum((record) => record.differences)} |
| kills (SIGKILL) | ${blows.filter((blow) => blow.signal === 'SIGKILL').length} |
| workers asleep for longer than a heartbeat may stay away (SIGSTOP) | ${blows.filter((blow) => blow.signal === 'SIGSTOP').length} |
| source transactions written meanwhile | ${sum((record) => record.transactions)} |
| rows compared | ${sum((record) => record.rows)} |
| sums of all accounts read at the destination while changes came in | ${sum((record) => record.sums)} |
| versions of rows in history mode whose order and times were checked | ${sum((record) => record.versions ?? 0)} |
| rows compared by \`validate\` while all this went on; of them spoiled on purpose, found and repaired | ${sum((record) => record.validated?.checked ?? 0)}; ${sum((record) => record.validated?.repaired ?? 0)} |
| seconds until the copy was equal after the last write: median, 9 of 10, longest | ${at(0.5)}, ${at(0.9)}, ${at(1)} |

${table(
  'Kills by part and source',
  blows,
  (blow) => blow.victim.split(' ')[0] ?? '',
  (blow) => blow.source,
)}
${table(
  'Kills by part and what the pipeline was at',
  blows,
  (blow) => blow.victim.split(' ')[0] ?? '',
  (blow) => blow.during,
)}
${table(
  'Rounds by operation and source',
  records,
  (record) => record.operation,
  (record) => `${record.source} → ${record.mode}`,
)}
${failed.map((record) => `* round ${record.round}: ${record.problems.join(' | ')}`).join('\n')}
`;
}

function table<T>(title: string, items: readonly T[], row: (item: T) => string, column: (item: T) => string): string {
  const columns = [...new Set(items.map(column))].sort();
  const rows = [...new Set(items.map(row))].sort();
  const lines = rows.map((name) => {
    const cells = columns.map((other) => items.filter((item) => row(item) === name && column(item) === other).length);
    return `| ${name} | ${cells.join(' | ')} |`;
  });
  return `## ${title}\n\n| | ${columns.join(' | ')} |\n|---|${columns.map(() => '---:').join('|')}|\n${lines.join('\n')}\n`;
}
