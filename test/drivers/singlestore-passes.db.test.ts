import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Observe } from '../../src/drivers/singlestore/connection.ts';
import { type Cells, type ChangeLog, pieces, seeded } from '../fakes/change-log.ts';
import { type Begun, copied } from './apply-fixture.ts';
import { type Place, position, simpleTable, startPlace } from './singlestore-fixture.ts';

const equal = (found: string[], wanted: string[], what: string) =>
  expect({ what, rows: found }).toEqual({ what, rows: wanted });

/** Three tables with their staging tables and the control tables: more take several passes. */
const LIMIT = { transactionTables: 10 };
const TABLES = Array.from({ length: 7 }, (_, i) => simpleTable(`t${i}`));

async function feed({ applier, events }: Begun, seed: number): Promise<void> {
  for (const piece of pieces(events(), seeded(seed))) await applier.take(piece);
  await applier.flush();
}

/** Small transactions around one that changes every table. */
function change(log: ChangeLog, round: number): void {
  const of = (key: string, value: string): Cells => [key, value];
  for (let i = 0; i < 3; i++) {
    log.insert(i, of(String(10 * round + i), 'small'));
    log.commit();
  }
  for (let i = 0; i < TABLES.length; i++) {
    log.update(i, '1', of('1', `${round} of ${i}`));
    log.insert(i, of(String(1000 + round), 'all'));
    if (i % 2 === 0) log.delete(i, String(999 + round));
  }
  log.commit();
  log.update(5, '1', of('1', `${round} after`));
  log.delete(4, String(1000 + round));
  log.insert(4, of(String(1000 + round), 'again'));
  log.commit();
}

const rows = TABLES.map((_, i): Cells[] => [['1', 'loaded'], ...(i % 2 === 0 ? [['1000', 'loaded']] : [])]);

for (const name of ['MariaDB', 'SingleStore mode'] as const) {
  describe(`a transaction of more tables than the destination takes at once, on ${name}`, () => {
    let place: Place;
    let destination: Destination;
    beforeAll(async () => {
      place = await startPlace(name);
      destination = await place.open(undefined, {}, LIMIT);
    });
    afterAll(async () => {
      expect(place.rejections()).toEqual([]);
      await place.stop();
    });

    test('is written in passes, none of which writes too many', async () => {
      const copy = await copied(place, destination, TABLES, { rows });
      const seen: Set<string>[] = [];
      let now = new Set<string>();
      const watched = await place.open(
        (sql, when) => {
          if (when !== 'before') return;
          if (sql === 'begin') now = new Set();
          for (const [, table] of sql.matchAll(/(?:into table|update|delete from|into) (`[^`]+`\.`[^`]+`)/g))
            now.add(table as string);
          if (sql === 'commit') seen.push(now);
        },
        {},
        LIMIT,
      );
      const begun = await copy.begin(watched);
      change(copy.log, 1);
      await feed(begun, 1);
      expect(begun.applier.durable).toBe(copy.log.written());
      await copy.expectEqual(equal);
      expect(seen.length).toBeGreaterThan(2);
      for (const tables of seen) expect(tables.size).toBeLessThanOrEqual(LIMIT.transactionTables);
      expect((await copy.claim(destination)).databases[0]).not.toHaveProperty('part');
    });

    test.each([false, true])(
      'is whole after crashes before, between and in its passes; with history: %s',
      async (history) => {
        const databases = [place.database()];
        let cuts = 0;
        let between = 0;
        for (const n of [25, 40, 55, 70, Number.POSITIVE_INFINITY]) {
          const copy = await copied(place, destination, TABLES, {
            databases,
            pipeline: `${history ? 'h' : 'p'}${cuts}`,
            prefix: `${history ? 'h' : 'p'}${cuts} `,
            rows,
            history,
          });
          change(copy.log, 1);
          change(copy.log, 2);
          let count = 0;
          let dead = false;
          let begun = false;
          const observe: Observe = (_, when) => {
            if (dead) throw new Error('The process is dead.');
            if (!begun || when !== 'before' || ++count < n) return;
            dead = true;
            throw new Error('The process died.');
          };
          const dying = await place.open(observe, {}, LIMIT);
          begun = true;
          const failed = await copy
            .begin(dying)
            .then((first) => feed(first, 8))
            .then(
              () => false,
              () => true,
            );
          await dying[Symbol.asyncDispose]();
          expect(failed).toBe(dead);
          const next = await copy.begin(destination);
          if (next.claim.databases[0]?.part) between++;
          await feed(next, 9);
          await next.applier[Symbol.asyncDispose]();
          await copy.expectEqual(equal);
          expect((await copy.claim(destination)).databases[0]).not.toHaveProperty('part');
          if (history) {
            for (const [i, { ref }] of copy.log.tables.entries()) {
              const found = await place.query(
                `select v from \`${databases[0]}\`.\`${ref.name}\` where id = 1 order by _ordinal, _event`,
              );
              const later = (round: number) => (i === 5 ? [`${round} after`] : []);
              expect(found.map(({ v }) => v)).toEqual(['loaded', `1 of ${i}`, ...later(1), `2 of ${i}`, ...later(2)]);
            }
          }
          if (!failed) break;
          cuts++;
        }
        expect(cuts).toBeGreaterThan(1);
        expect(between).toBeGreaterThan(0);
      },
      300_000,
    );

    test('a table that joins the scope between two passes gets what comes after it joined', async () => {
      const copy = await copied(place, destination, TABLES, { rows });
      const [db] = copy.databases as [string];
      change(copy.log, 1);
      const followed = await destination.followed([db], 'p', 1);
      // As a crash after all passes but the last leaves it, when the last table then came from a side stream at the same place.
      const ids = followed.map(({ id }) => id).sort();
      const joined = followed.find(({ id }) => id === ids[2]);
      await place.query(`update \`${db}\`._flow_checkpoints set part = '${ids[3]}', part_until = '4'`);
      await place.query(`update \`${db}\`._flow_tables set joined = '4' where table_id = '${joined?.id}'`);
      await feed(await copy.begin(destination), 1);
      for (const { id, ref } of followed) {
        const found = await place.query(`select v from \`${db}\`.\`${ref.name}\` where id = 1`);
        const index = Number(ref.name.slice(1));
        const written = id <= (ids[3] as string) && id !== joined?.id;
        const value = index === 5 ? '1 after' : written ? 'loaded' : `1 of ${index}`;
        expect([ref.name, found[0]?.['v']]).toEqual([ref.name, value]);
      }
      expect((await copy.claim(destination)).databases[0]).toMatchObject({ position: position('5') });
    });
  });
}
