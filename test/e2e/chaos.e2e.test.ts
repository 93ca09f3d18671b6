import { expect, it } from 'vitest';
import type { Card } from '../chaos/deck.ts';
import { playLane } from '../chaos/lane.ts';
import { lineOf } from '../chaos/report.ts';

/** Every part of the system is killed once; `npm run chaos` does it at random, for as long as one likes. */
const common = { source: 'postgres', kind: 'double', share: 0.3, downMs: 500, seed: 1 } as const;
const cards: readonly Card[] = [
  { ...common, round: 1, first: true, victims: ['worker', 'api'], phase: 'loading' },
  { ...common, round: 2, first: false, victims: ['source', 'destination', 'temporal'], phase: 'loading' },
];

it('a full extract is exact whatever is killed meanwhile', { timeout: 300_000 }, async () => {
  const lines: string[] = [];
  const records = await playLane(
    {
      source: 'postgres',
      mode: 'singlestore',
      rows: 20_000,
      say: (line) => lines.push(line),
      onRecord: (record) => lines.push(lineOf(record)),
    },
    cards,
  );
  expect(
    records.flatMap((record) => record.problems),
    lines.join('\n'),
  ).toEqual([]);
  const counted = records.filter((record) => record.counted);
  expect(
    counted.map((record) => [record.outcome, record.differences]),
    lines.join('\n'),
  ).toEqual([
    ['succeeded', 0],
    ['succeeded', 0],
  ]);
  const victims = counted.flatMap((record) => record.blows.map((blow) => blow.victim.split(' ')[0]));
  expect(victims.sort()).toEqual(['api', 'destination', 'source', 'temporal', 'worker']);
});
