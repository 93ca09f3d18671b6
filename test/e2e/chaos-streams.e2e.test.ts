import { expect, it } from 'vitest';
import type { Mode, SourceName } from '../chaos/fleet.ts';
import { playStreamLane, streamLine } from '../chaos/stream-lane.ts';

/** Some rounds of `npm run chaos:streams`: one of them with a new table beside the stream. */
const lanes: readonly (readonly [SourceName, Mode, readonly number[]])[] = [
  ['postgres', 'singlestore', [11]],
  ['mariadb', 'mariadb', [1]],
];

it.each(lanes)(
  'a stream from %s (%s) is exact whatever is killed meanwhile',
  { timeout: 300_000 },
  async (source, mode, seeds) => {
    const lines: string[] = [];
    const records = await playStreamLane(
      {
        source,
        mode,
        rows: 10_000,
        say: (line) => lines.push(line),
        onRecord: (record) => lines.push(streamLine(record)),
      },
      seeds.map((seed, index) => ({ round: index + 1, seed })),
    );
    expect(
      records.flatMap((record) => record.problems),
      lines.join('\n'),
    ).toEqual([]);
    expect(
      records.map(({ differences, blows, transactions }) => [differences, blows.length > 0, transactions > 0]),
      lines.join('\n'),
    ).toEqual(seeds.map(() => [0, true, true]));
  },
);
