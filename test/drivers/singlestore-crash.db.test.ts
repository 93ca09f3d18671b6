import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Observe } from '../../src/drivers/singlestore/connection.ts';
import {
  copy,
  load,
  type Place,
  planned,
  planOf,
  position,
  putInPlace,
  simpleTable,
  startPlace,
} from './singlestore-fixture.ts';

/** Both sides of a cut: the statement did not reach the server, or its answer did not reach us. */
const SIDES = ['before', 'after'] as const;

/** Ends the process's connections at statement `at`, as a crash would. */
function cutAt(at: number, side: 'before' | 'after'): { observe: Observe; cut: () => boolean } {
  let count = 0;
  let dead = false;
  return {
    cut: () => dead,
    observe(_, when) {
      if (dead) throw new Error('The process is dead.');
      if (when !== side) return;
      count++;
      if (count < at) return;
      dead = true;
      throw new Error('The process died.');
    },
  };
}

for (const name of ['MariaDB', 'SingleStore mode'] as const) {
  describe(`a crash at any statement, on ${name}`, () => {
    let place: Place;
    let healthy: Destination;
    beforeAll(async () => {
      place = await startPlace(name);
      healthy = await place.open();
    });
    afterAll(async () => {
      expect(place.rejections()).toEqual([]);
      await place.stop();
    });

    const names = async (db: string) =>
      (await place.query(`select table_name n from information_schema.tables where table_schema = '${db}'`))
        .map((row) => row['n'] as string)
        .filter((table) => !/^_flow_[a-z]+(_[a-z]+)?$/.test(table))
        .sort();
    const contents = async (db: string, table = 't') =>
      (await place.query(`select * from \`${db}\`.\`${table}\` order by 1`)).map((row) => Object.values(row).join('|'));

    /** Runs `body` with a cut at each of its statements, and after each `check` with a destination that works. */
    async function everywhere(
      arrange: (db: string) => Promise<unknown>,
      body: (destination: Destination, db: string) => Promise<unknown>,
      check: (db: string) => Promise<unknown>,
    ): Promise<number> {
      let cuts = 0;
      for (const side of SIDES) {
        for (let at = 1; ; at++) {
          const db = place.database();
          await healthy.prepare(db);
          await arrange(db);
          const { observe, cut } = cutAt(at, side);
          const dying = await place.open(observe);
          let failed = false;
          try {
            await body(dying, db);
          } catch {
            failed = true;
          }
          await dying[Symbol.asyncDispose]();
          // Cut after the last answer: nothing was left to do, so nothing failed.
          expect(failed).toBe(cut());
          await check(db);
          await place.query(`drop database \`${db}\``);
          if (!failed) break;
          cuts++;
        }
      }
      return cuts;
    }

    const first = simpleTable();
    const second = { ...simpleTable(), structure: 's2' };

    test('preparing a database', async () => {
      const cuts = await everywhere(
        async (db) => place.query(`drop database \`${db}\``),
        (dying, db) => dying.prepare(db),
        async (db) => {
          await healthy.prepare(db);
          await copy(healthy, planOf(db, first), '1\ta\n', 1);
        },
      );
      expect(cuts).toBeGreaterThan(20);
    });

    test('planning: the next attempt plans, loads and ends with one table', async () => {
      const cuts = await everywhere(
        (db) => copy(healthy, planOf(db, first), '1\told\n', 1),
        (dying, db) => dying.plan(db, [planOf(db, second, { run: 2 })]),
        async (db) => {
          expect(await contents(db)).toEqual(['1|old']);
          await copy(healthy, planOf(db, second, { run: 2 }), '2\tnew\n', 1);
          expect(await contents(db)).toEqual(['2|new']);
          expect(await names(db)).toEqual(['t']);
        },
      );
      expect(cuts).toBeGreaterThan(10);
    });

    test('loading a chunk: nothing of it stays, or all of it', async () => {
      const plan = (db: string) => planOf(db, first);
      const cuts = await everywhere(
        (db) => planned(healthy, db, plan(db)),
        async (dying, db) => load(dying, plan(db), await planned(dying, db, plan(db)), 0, '1\ta\n2\tb\n', 2),
        async (db) => {
          const made = await planned(healthy, db, plan(db));
          if (made.open.length > 0) await load(healthy, plan(db), made, 0, '1\ta\n2\tb\n', 2);
          await putInPlace(healthy, plan(db), made);
          expect(await contents(db)).toEqual(['1|a', '2|b']);
        },
      );
      expect(cuts).toBeGreaterThan(10);
    });

    for (const before of ['a copy', 'nothing', 'an adopted table'] as const) {
      test(`sealing, journalling and promoting over ${before}: one table, all of it new`, async () => {
        const plan = (db: string) => planOf(db, second, { run: 2, adopt: before === 'an adopted table' });
        let made: Awaited<ReturnType<typeof planned>>;
        const finish = async (destination: Destination, db: string) => {
          await destination.seal(db, made.id, made.load, position('e'));
          await destination.journal(db, 2, [{ id: made.id, load: made.load }]);
          await destination.promote(db, 2, 5, made.id, made.load);
        };
        const cuts = await everywhere(
          async (db) => {
            if (before === 'a copy') await copy(healthy, planOf(db, first), '1\told\n', 1);
            if (before === 'an adopted table') await place.query(`create table \`${db}\`.t (theirs int)`);
            made = await planned(healthy, db, plan(db));
            await load(healthy, plan(db), made, 0, '2\tnew\n', 1);
          },
          finish,
          async (db) => {
            await finish(healthy, db);
            expect(await contents(db)).toEqual(['2|new']);
            expect(await names(db)).toEqual(['t']);
            expect(await healthy.tables(db, 'p')).toMatchObject([{ state: 'loaded', rows: 1 }]);
            expect(await place.query(`select scope from \`${db}\`._flow_tables`)).toEqual([{ scope: '5' }]);
            expect(await place.query(`select * from \`${db}\`._flow_journal`)).toEqual([]);
          },
        );
        expect(cuts).toBeGreaterThan(30);
      });
    }

    for (const ending of ['fail', 'abandon', 'remove'] as const) {
      test(`${ending} in the middle of a load: repeated, it leaves the old copy and nothing else`, async () => {
        const error = { class: 'UnsupportedValue', message: 'No.', action: 'Do.' };
        const end = async (destination: Destination, db: string) => {
          if (ending === 'fail') await destination.fail(db, 'p', 2, first.ref, { database: db, table: 't' }, error);
          if (ending === 'abandon') await destination.abandon(db, 'p', 2);
          if (ending === 'remove') await destination.remove(db, 'p');
        };
        await everywhere(
          async (db) => {
            await copy(healthy, planOf(db, first), '1\told\n', 1);
            const plan = planOf(db, second, { run: 2 });
            const made = await planned(healthy, db, plan);
            await load(healthy, plan, made, 0, '2\tnew\n', 1);
            await healthy.seal(db, made.id, made.load, position('e'));
            await healthy.journal(db, 2, [{ id: made.id, load: made.load }]);
          },
          end,
          async (db) => {
            await end(healthy, db);
            expect(await names(db)).toEqual(['t']);
            expect(await contents(db)).toEqual(['1|old']);
            const states = { fail: [{ state: 'reload' }], abandon: [{ state: 'loaded' }], remove: [] };
            expect(await healthy.tables(db, 'p')).toMatchObject(states[ending]);
            expect(await place.query(`select * from \`${db}\`._flow_journal`)).toEqual([]);
          },
        );
      });
    }

    test('a failure after the renames have begun brings the new copy in before the table is marked', async () => {
      const error = { class: 'UnsupportedValue', message: 'No.', action: 'Do.' };
      const plan = (db: string) => planOf(db, second, { run: 2 });
      let made: Awaited<ReturnType<typeof planned>>;
      await everywhere(
        async (db) => {
          await copy(healthy, planOf(db, first), '1\told\n', 1);
          made = await planned(healthy, db, plan(db));
          await load(healthy, plan(db), made, 0, '2\tnew\n', 1);
          await healthy.seal(db, made.id, made.load, position('e'));
          await healthy.journal(db, 2, [{ id: made.id, load: made.load }]);
        },
        (dying, db) => dying.promote(db, 2, 5, made.id, made.load),
        async (db) => {
          await healthy.fail(db, 'p', 2, first.ref, { database: db, table: 't' }, error);
          expect(await names(db)).toEqual(['t']);
          expect(['1|old', '2|new']).toContain((await contents(db))[0]);
          expect(await healthy.tables(db, 'p')).toMatchObject([{ state: 'reload', error }]);
        },
      );
    });
  });
}
