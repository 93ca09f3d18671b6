import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Destination } from '../../src/drivers/destination.ts';
import { pieces, randomTransactions, seeded } from '../fakes/change-log.ts';
import { copied, randomCells, TABLES } from './apply-fixture.ts';
import { PLACES, type Place, startPlace } from './singlestore-fixture.ts';

const equal = (found: string[], wanted: string[], what: string) =>
  expect({ what, rows: found }).toEqual({ what, rows: wanted });

for (const name of PLACES) {
  describe(`applying changes on ${name}`, () => {
    let place: Place;
    let destination: Destination;
    beforeAll(async () => {
      place = await startPlace(name);
      destination = await place.open();
    });
    afterAll(async () => {
      expect(place.rejections()).toEqual([]);
      await place.stop();
    });

    test.each([1, 2, 3, 4])('random transactions, seed %i: equal to the source after every flush', async (seed) => {
      const random = seeded(seed);
      const copy = await copied(place, destination, TABLES, {
        databases: seed % 2 === 0 ? [place.database(), place.database()] : [place.database()],
      });
      await using begun = await copy.begin(destination).then((one) => ({
        ...one,
        [Symbol.asyncDispose]: () => one.applier[Symbol.asyncDispose](),
      }));
      for (let round = 0; round < 8; round++) {
        randomTransactions(copy.log, random, 1 + Math.floor(random() * 60), randomCells, { truncates: 0.01 });
        for (const piece of pieces(begun.events(), random)) await begun.applier.take(piece);
        await begun.applier.flush();
        expect(begun.applier.durable).toBe(copy.log.written());
        expect(begun.applier.pending).toBe(0);
        await copy.expectEqual(equal);
      }
    });
  });
}
