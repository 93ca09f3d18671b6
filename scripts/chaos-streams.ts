// Kills parts of a running system while it follows its source, and compares what came out, cell by cell:
// npm run chaos:streams -- --rounds 200 --seed 1 [--source postgres|mysql|mariadb] [--mode mariadb|singlestore|both] [--rows 20000]
//   [--parallel] [--records file.jsonl] [--keep folder] [--out docs/proof/stream-kills]
// --records appends each round to a file; --report file.jsonl … writes the summary of such files without playing.
import { appendFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import type { Mode, SourceName } from '../test/chaos/fleet.ts';
import { playStreamLane, streamLine } from '../test/chaos/stream-lane.ts';
import { writeStreamSummary } from '../test/chaos/stream-report.ts';
import type { StreamRecord } from '../test/chaos/stream-round.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    source: { type: 'string' },
    mode: { type: 'string', default: 'both' },
    rows: { type: 'string', default: '20000' },
    parallel: { type: 'boolean', default: false },
    records: { type: 'string' },
    keep: { type: 'string' },
    out: { type: 'string' },
    report: { type: 'boolean', default: false },
  },
});
const say = (line: string) => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
const seed = Number(values.seed);
const records: StreamRecord[] = [];
let ended = true;

if (values.report) {
  for (const file of positionals)
    for (const line of (await readFile(file, 'utf8')).trim().split('\n'))
      records.push(JSON.parse(line) as StreamRecord);
} else {
  const all = ['postgres', 'mysql', 'mariadb'] as const;
  const sources = values.source === undefined ? all : all.filter((name) => name === values.source);
  if (sources.length === 0) throw new Error(`--source must be one of ${all.join(', ')}`);
  const modes = values.mode === 'both' ? (['mariadb', 'singlestore'] as const) : [values.mode as Mode];
  const onRecord = (record: StreamRecord) => {
    records.push(record);
    say(streamLine(record));
    if (values.records !== undefined) appendFileSync(values.records, `${JSON.stringify(record)}\n`);
  };
  const rounds = Array.from({ length: Number(values.rounds) }, (_, index) => ({
    round: index + 1,
    seed: seed * 100_000 + index,
    source: sources[index % sources.length] as SourceName,
    mode: modes[Math.floor((index * modes.length) / Number(values.rounds))] as Mode,
  }));
  const options = {
    rows: Number(values.rows),
    ...(values.keep === undefined ? {} : { keep: values.keep }),
    say,
    onRecord,
  };
  const play = async (source: SourceName) => {
    for (const mode of modes) {
      const own = rounds.filter((one) => one.source === source && one.mode === mode);
      if (own.length === 0) continue;
      // A server that its kill has broken for good ends its own rounds, not those of the others.
      await playStreamLane({ source, mode, ...options }, own).catch((error: unknown) => {
        ended = false;
        say(`the rounds of ${source}/${mode} ended early: ${String(error)}`);
      });
    }
  };
  if (values.parallel) await Promise.all(sources.map(play));
  else for (const source of sources) await play(source);
}
process.exitCode = (await writeStreamSummary(records, seed, values.out)) && ended ? 0 : 1;
