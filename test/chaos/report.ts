import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parts } from './fleet.ts';
import { phases } from './phases.ts';
import type { RoundRecord } from './record.ts';

/** A round in one line. */
export function lineOf(record: RoundRecord): string {
  const { card, blows, counted, outcome, retries, recoveryMs, differences, problems } = record;
  const what =
    blows.map((blow) => `${blow.victim} in ${blow.phase}${blow.busy ? '*' : ''}`).join(', ') || 'nothing hit';
  const verdict = problems.length > 0 ? `PROBLEMS ${problems.join(' | ')}` : `${record.rows} rows equal`;
  const tail = `${outcome}${record.cancel ? ` (cancel ${record.cancel})` : ''}, ${retries} retries, ${(recoveryMs / 1000).toFixed(1)} s after the blow`;
  const name = `round ${card.round}${record.attempt > 0 ? `.${record.attempt}` : ''} ${card.source} ${record.repeated ? 'repeated' : 'first'} ${card.kind}`;
  return `${name}: ${what} → ${tail}, ${differences} differences, ${verdict}${counted ? '' : ' (not counted)'}`;
}

type Summary = ReturnType<typeof summarise>;

function summarise(records: readonly RoundRecord[], seed: number) {
  const counted = records.filter((record) => record.counted);
  const failed = records.filter((record) => record.problems.length > 0);
  const blows = counted.flatMap((record) => record.blows.map((blow) => ({ ...blow, source: record.card.source })));
  const count = <T>(items: readonly T[], by: (item: T) => string): Record<string, number> =>
    Object.fromEntries([...Map.groupBy(items, by)].map(([name, own]) => [name, own.length]).sort());
  const longest = counted.reduce(
    (most, one) => (one.recoveryMs > most.recoveryMs ? one : most),
    counted[0] as RoundRecord,
  );
  return {
    seed,
    date: records[0]?.startedAt?.slice(0, 10) ?? '',
    versions: { ...versions(), servers: [...new Set(records.flatMap((record) => record.servers))].sort() },
    rounds: {
      counted: counted.length,
      playedAgain: records.length - counted.length,
      withProblems: failed.length,
      bySource: count(counted, (record) => record.card.source),
      byMode: count(counted, (record) => record.mode),
      byKind: count(counted, (record) => record.card.kind),
      firstFulls: counted.filter((record) => !record.repeated).length,
      repeatedFulls: counted.filter((record) => record.repeated).length,
      outcomes: count(counted, (record) => record.outcome),
      cancels: count(
        counted.filter((record) => record.cancel),
        (record) => String(record.cancel),
      ),
    },
    kills: blows.filter((blow) => blow.signal === 'SIGKILL').length,
    zombies: blows.filter((blow) => blow.signal === 'SIGSTOP').length,
    victimsWithActivity: blows.filter((blow) => blow.busy).length,
    blowsByVictimAndPhase: count(blows, (blow) => `${blow.victim.split(' ')[0]}/${blow.phase}`),
    blowsByVictimAndSource: count(blows, (blow) => `${blow.victim.split(' ')[0]}/${blow.source}`),
    retries: counted.reduce((sum, record) => sum + record.retries, 0),
    rowsCompared: counted.reduce((sum, record) => sum + record.rows, 0),
    differences: records.reduce((sum, record) => sum + record.differences, 0),
    settings: {
      acknowledged: counted.reduce((sum, record) => sum + (record.settings?.acknowledged ?? 0), 0),
      unanswered: counted.reduce((sum, record) => sum + (record.settings?.unanswered ?? 0), 0),
      lost: records.flatMap((record) => record.problems).filter((problem) => problem.includes('was acknowledged'))
        .length,
    },
    longestRecovery: longest && {
      seconds: Math.round(longest.recoveryMs / 100) / 10,
      round: longest.card.round,
      what: lineOf(longest).split(':')[0],
    },
  };
}

function versions(): { product: string; node: string } {
  const commit = () =>
    execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname, encoding: 'utf8' });
  let product = 'unknown';
  try {
    product = commit().trim();
  } catch {
    // Not a clone.
  }
  return { product, node: process.version };
}

/** Prints the summary and, with `out`, writes it as Markdown and JSON; true when nothing differed. */
export async function writeSummary(
  records: readonly RoundRecord[],
  seed: number,
  out: string | undefined,
): Promise<boolean> {
  const inOrder = [...records].sort((a, b) => a.card.round - b.card.round || a.attempt - b.attempt);
  const summary = summarise(inOrder, seed);
  const text = markdown(summary, inOrder);
  console.log(`\n${text}`);
  if (out !== undefined) {
    await mkdir(dirname(out), { recursive: true });
    await writeFile(`${out}.md`, text);
    await writeFile(
      `${out}.json`,
      `{"summary": ${JSON.stringify(summary, null, 2)},\n"rounds": [\n${inOrder.map((one) => JSON.stringify(one)).join(',\n')}\n]}\n`,
    );
  }
  return records.every((record) => record.problems.length === 0) && summary.rounds.counted > 0;
}

function markdown(summary: Summary, records: readonly RoundRecord[]): string {
  const { rounds, versions } = summary;
  const list = (counts: Record<string, number>) =>
    Object.entries(counts)
      .map(([name, n]) => `${name} ${n}`)
      .join(', ');
  const table = (columns: readonly string[], counts: Record<string, number>) => [
    `| killed | ${columns.join(' | ')} | all |`,
    `|---|${columns.map(() => '---:|').join('')}---:|`,
    ...parts.map((part) => {
      const cells = columns.map((column) => counts[`${part}/${column}`] ?? 0);
      return `| ${part} | ${cells.join(' | ')} | ${cells.reduce((sum, one) => sum + one, 0)} |`;
    }),
  ];
  return `${[
    '# Full extracts that were killed',
    '',
    `Written by \`npm run chaos\`, seed ${summary.seed}, ${summary.date}, product at ${versions.product}, Node ${versions.node}; ${versions.servers.join(', ')}.`,
    '',
    'Each round: a full extract of eleven tables is requested over HTTP, and at a seeded moment parts of the system get `kill -9` (or a worker',
    'SIGSTOP and, later, SIGCONT). They come back on the same port and data. When the run has ended, every table is compared with its source in',
    'both directions by a comparer that shares no code with the product; then nothing may be left behind: shadow tables, journal or open chunk',
    'rows, more than one scope row, sessions, a slot too many. A round counts only if the run ended after its blows. `singlestore`: through the',
    'proxy that rejects what SingleStore rejects.',
    '',
    `**${rounds.counted} rounds, ${summary.differences} differences** in ${summary.rowsCompared.toLocaleString('en-US')} rows compared cell by cell, ${rounds.withProblems} rounds with any other problem.`,
    '',
    '| | |',
    '|---|---|',
    `| rounds by source | ${list(rounds.bySource)} |`,
    `| rounds by destination | ${list(rounds.byMode)} |`,
    `| rounds by kind | ${list(rounds.byKind)} |`,
    `| first fulls, fulls that replaced live copies | ${rounds.firstFulls}, ${rounds.repeatedFulls} |`,
    `| how the runs ended | ${list(rounds.outcomes)} |`,
    `| cancels | ${list(rounds.cancels) || 'none'} |`,
    `| kill -9 | ${summary.kills} |`,
    `| workers stopped for 36 to 42 s and woken | ${summary.zombies} |`,
    `| blows at a process that held an activity of the run | ${summary.victimsWithActivity} |`,
    `| attempts of activities beyond the first | ${summary.retries} |`,
    `| settings acknowledged while the API was killed, unanswered, lost | ${summary.settings.acknowledged}, ${summary.settings.unanswered}, ${summary.settings.lost} |`,
    `| longest time from the last blow to the end of the run | ${summary.longestRecovery?.seconds} s (${summary.longestRecovery?.what}) |`,
    `| played again because the run had ended before the blow | ${rounds.playedAgain} |`,
    '',
    '## Blows by victim and phase',
    '',
    'The phase is taken from the run’s own history: the activity that was under way when the signal was sent.',
    '',
    ...table([...phases, 'taking back'], summary.blowsByVictimAndPhase),
    '',
    '## Blows by victim and source',
    '',
    ...table(['postgres', 'mysql', 'mariadb'], summary.blowsByVictimAndSource),
    '',
    '## Rounds',
    '',
    '`*`: the victim held an activity of the run. Seen: what `GET status` had answered last before the signal.',
    '',
    '| round | source | full | kind | blows | seen | ended | retries | s | differences |',
    '|---:|---|---|---|---|---|---|---:|---:|---:|',
    ...records.filter((record) => record.counted).map(row),
    '',
  ].join('\n')}`;
}

function row(record: RoundRecord): string {
  const { card, blows } = record;
  const what = blows.map((blow) => `${blow.victim} in ${blow.phase}${blow.busy ? '*' : ''}`).join('; ');
  const seen = blows.map(({ seen }) =>
    seen ? `${seen.state}/${seen.phase}, ${seen.rows} rows, ${seen.ageMs} ms before` : '–',
  );
  const ended = `${record.outcome}${record.cancel ? ` (cancel ${record.cancel})` : ''}`;
  return `| ${card.round} | ${card.source} | ${record.repeated ? 'repeated' : 'first'} | ${card.kind} | ${what} | ${seen.join('; ')} | ${ended} | ${record.retries} | ${(record.recoveryMs / 1000).toFixed(1)} | ${record.differences} |`;
}
