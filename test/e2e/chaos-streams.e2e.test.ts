import { expect, it } from 'vitest';
import type { Mode, SourceName } from '../chaos/fleet.ts';
import { playStreamLane, streamLine } from '../chaos/stream-lane.ts';

/** Some rounds of `npm run chaos:streams`: one with a new table beside the stream, one with a validation that repairs a spoiled copy. */
const lanes: readonly (readonly [SourceName, Mode, readonly number[]])[] = [
  ['postgres', 'singlestore', [31]],
  ['mariadb', 'mariadb', [39]],
];

// Side by side: they mostly wait for what was killed to be missed.
it.concurrent.each(lanes)(
  'a stream from %s (%s) is exact whatever is killed meanwhile',
  { timeout: 300_000 },
  async (source, mode, seeds) => {
    const lines: string[] = [];
    const records = await playStreamLane(
      {
        source,
        mode,
        rows: 4_000,
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
      records.map(({ differences, blows, transactions, versions }) =>
        [differences === 0, blows.length, transactions, versions].every(Boolean),
      ),
      lines.join('\n'),
    ).toEqual(seeds.map(() => true));
  },
);
