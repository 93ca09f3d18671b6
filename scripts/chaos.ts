// Kills parts of a running system at random moments of full extracts and compares what came out, cell by cell:
// npm run chaos -- --rounds 60 --seed 1 [--source postgres|mysql|mariadb] [--mode mariadb|singlestore|both] [--rows 200000]
//   [--parallel] [--records file.jsonl] [--out docs/proof/full-kills]
// --records appends each round to a file; --report file.jsonl … writes the summary of such files without playing.
import { appendFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { makeDeck } from '../test/chaos/deck.ts';
import type { Mode, SourceName } from '../test/chaos/fleet.ts';
import { playLane } from '../test/chaos/lane.ts';
import type { RoundRecord } from '../test/chaos/record.ts';
import { lineOf, writeSummary } from '../test/chaos/report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    source: { type: 'string' },
    mode: { type: 'string', default: 'both' },
    rows: { type: 'string', default: '200000' },
    from: { type: 'string', default: '1' },
    parallel: { type: 'boolean', default: false },
    records: { type: 'string' },
    keep: { type: 'string' },
    out: { type: 'string' },
    report: { type: 'boolean', default: false },
  },
});
const say = (line: string) => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
const records: RoundRecord[] = [];

if (values.report) {
  for (const file of positionals)
    for (const line of (await readFile(file, 'utf8')).trim().split('\n')) records.push(JSON.parse(line) as RoundRecord);
} else {
  const all = ['postgres', 'mysql', 'mariadb'] as const;
  const sources = values.source === undefined ? all : all.filter((name) => name === values.source);
  if (sources.length === 0) throw new Error(`--source must be one of ${all.join(', ')}`);
  const modes = values.mode === 'both' ? (['mariadb', 'singlestore'] as const) : [values.mode as Mode];
  const deck = makeDeck(Number(values.seed), Number(values.rounds), sources).slice(Number(values.from) - 1);
  const options = { rows: Number(values.rows), ...(values.keep === undefined ? {} : { keep: values.keep }), say };
  const onRecord = (record: RoundRecord) => {
    records.push(record);
    say(lineOf(record));
    if (values.records !== undefined) appendFileSync(values.records, `${JSON.stringify(record)}\n`);
  };
  const play = async (source: SourceName) => {
    const cards = deck.filter((card) => card.source === source);
    for (const [index, mode] of modes.entries()) {
      const [from, to] = [index, index + 1].map((part) => Math.ceil((cards.length * part) / modes.length));
      await playLane({ source, mode, ...options, onRecord }, cards.slice(from, to));
    }
  };
  if (values.parallel) await Promise.all(sources.map(play));
  else for (const source of sources) await play(source);
}

const good = await writeSummary(records, Number(values.seed), values.out);
process.exitCode = good ? 0 : 1;
