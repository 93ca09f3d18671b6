import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Destination, TablePlan } from '../../src/drivers/destination.ts';
import type { Observe } from '../../src/drivers/singlestore/connection.ts';
import { tableId } from '../../src/drivers/singlestore/names.ts';
import {
  copy,
  cutStep,
  load,
  type Place,
  planned,
  planOf,
  position,
  putInPlace,
  simpleTable,
  startPlace,
} from './singlestore-fixture.ts';

/** Ends the process's connections before statement `at`, as a crash would. To the server that is the same as after the one before. */
function cutAt(at: number): { observe: Observe; cut: () => boolean } {
  let count = 0;
  let dead = false;
  return {
    cut: () => dead,
    observe(_, when) {
      if (dead) throw new Error('The process is dead.');
      if (when !== 'before') return;
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

    /** A table and a pipeline of its own for each cut, in one database, because making databases is slow. */
    type Case = {
      readonly db: string;
      readonly pipeline: string;
      readonly table: string;
      plan(run: number, more?: Partial<TablePlan>): TablePlan;
    };
    const caseOf = (db: string, n: number): Case => ({
      db,
      pipeline: `p${n}`,
      table: `t${n}`,
      plan: (run, more) =>
        planOf(db, simpleTable(`t${n}`, { structure: `s${run}` }), { pipeline: `p${n}`, run, ...more }),
    });
    const contents = async ({ db, table }: Case) =>
      (await place.query(`select * from \`${db}\`.\`${table}\` order by 1`)).map((row) => Object.values(row).join('|'));
    /** The table itself, and whatever derived tables are left of it. */
    const expectOnlyTable = async ({ db, table, plan }: Case) => {
      const id = tableId(plan(1).pipeline, plan(1).ref);
      const found = await place.query(
        `select table_name n from information_schema.tables where table_schema = '${db}' and (table_name = '${table}' or table_name like '%${id}%')`,
      );
      expect(found).toEqual([{ n: table }]);
    };

    /** Runs `body` with a cut at each of its statements, and after each `check` with a destination that works. */
    async function everywhere(
      arrange: (at: Case) => Promise<unknown>,
      body: (destination: Destination, at: Case) => Promise<unknown>,
      check: (at: Case) => Promise<unknown>,
    ): Promise<number> {
      const db = place.database();
      await healthy.prepare(db);
      for (let n = 1; ; n += cutStep(name)) {
        const at = caseOf(db, n);
        await arrange(at);
        const { observe, cut } = cutAt(n);
        const dying = await place.open(observe);
        const failed = await body(dying, at).then(
          () => false,
          () => true,
        );
        await dying[Symbol.asyncDispose]();
        expect(failed).toBe(cut());
        await check(at);
        if (!failed) return n - 1;
      }
    }

    test('preparing a database', async () => {
      for (let n = 1; ; n++) {
        const db = place.database();
        const { observe, cut } = cutAt(n);
        const dying = await place.open(observe);
        await dying.prepare(db).catch(() => undefined);
        await healthy.prepare(db);
        if (n % 5 === 0) await copy(healthy, planOf(db, simpleTable()), '1\ta\n', 1);
        if (!cut()) break;
        expect(n).toBeLessThan(40);
      }
    });

    test('planning: the next attempt plans, loads and ends with one table', async () => {
      const cuts = await everywhere(
        (at) => copy(healthy, at.plan(1), '1\told\n', 1),
        (dying, at) => dying.plan(at.db, [at.plan(2)]),
        async (at) => {
          expect(await contents(at)).toEqual(['1|old']);
          await copy(healthy, at.plan(2), '2\tnew\n', 1);
          expect(await contents(at)).toEqual(['2|new']);
          await expectOnlyTable(at);
        },
      );
      expect(cuts).toBeGreaterThan(10);
    });

    test('loading a chunk: nothing of it stays, or all of it', async () => {
      const cuts = await everywhere(
        (at) => planned(healthy, at.db, at.plan(1)),
        async (dying, at) => load(dying, at.plan(1), await planned(dying, at.db, at.plan(1)), 0, '1\ta\n2\tb\n', 2),
        async (at) => {
          const made = await planned(healthy, at.db, at.plan(1));
          if (made.open.length > 0) await load(healthy, at.plan(1), made, 0, '1\ta\n2\tb\n', 2);
          await putInPlace(healthy, at.plan(1), made);
          expect(await contents(at)).toEqual(['1|a', '2|b']);
        },
      );
      expect(cuts).toBeGreaterThan(10);
    });

    for (const before of ['a copy', 'nothing', 'an adopted table'] as const) {
      test(`sealing, journalling and promoting over ${before}: one table, all of it new`, async () => {
        const plan = (at: Case) => at.plan(2, { adopt: before === 'an adopted table', scope: 5 });
        const cuts = await everywhere(
          async (at) => {
            if (before === 'a copy') await copy(healthy, at.plan(1), '1\told\n', 1);
            if (before === 'an adopted table')
              await place.query(`create table \`${at.db}\`.\`${at.table}\` (theirs int)`);
            await load(healthy, plan(at), await planned(healthy, at.db, plan(at)), 0, '2\tnew\n', 1);
          },
          async (dying, at) => putInPlace(dying, plan(at), await planned(healthy, at.db, plan(at))),
          async (at) => {
            await putInPlace(healthy, plan(at), await planned(healthy, at.db, plan(at)));
            expect(await contents(at)).toEqual(['2|new']);
            await expectOnlyTable(at);
            expect(await healthy.tables(at.db, at.pipeline)).toMatchObject([{ state: 'loaded', rows: 1 }]);
            const scope = `select scope from \`${at.db}\`._flow_tables where pipeline = '${at.pipeline}'`;
            expect(await place.query(scope)).toEqual([{ scope: '5' }]);
            expect(await place.query(`select * from \`${at.db}\`._flow_journal`)).toEqual([]);
          },
        );
        expect(cuts).toBeGreaterThan(30);
      });
    }

    const error = { class: 'UnsupportedValue', message: 'No.', action: 'Do.' };
    const journalled = async (at: Case) => {
      await copy(healthy, at.plan(1), '1\told\n', 1);
      const made = await planned(healthy, at.db, at.plan(2));
      await load(healthy, at.plan(2), made, 0, '2\tnew\n', 1);
      await healthy.seal(at.db, made.id, made.load, position('e'));
      await healthy.journal(at.db, 2, [{ id: made.id, load: made.load }]);
    };

    for (const ending of ['fail', 'abandon', 'remove'] as const) {
      test(`${ending} in the middle of a run: repeated, it leaves the old copy and nothing else`, async () => {
        const end = async (destination: Destination, at: Case) => {
          const { ref, target } = at.plan(2);
          if (ending === 'fail') await destination.fail(at.db, at.pipeline, 2, ref, target, error);
          if (ending === 'abandon') await destination.abandon(at.db, at.pipeline, 2);
          if (ending === 'remove') await destination.remove(at.db, at.pipeline);
        };
        await everywhere(journalled, end, async (at) => {
          await end(healthy, at);
          await expectOnlyTable(at);
          expect(await contents(at)).toEqual(['1|old']);
          const states = { fail: [{ state: 'reload', error }], abandon: [{ state: 'loaded' }], remove: [] };
          expect(await healthy.tables(at.db, at.pipeline)).toMatchObject(states[ending]);
          expect(await place.query(`select * from \`${at.db}\`._flow_journal`)).toEqual([]);
        });
      });
    }

    test('a failure after the renames have begun brings the new copy in before the table is marked', async () => {
      await everywhere(
        journalled,
        async (dying, at) => {
          const made = await planned(healthy, at.db, at.plan(2));
          await dying.promote(at.db, 2, 5, made.id, made.load);
        },
        async (at) => {
          await healthy.fail(at.db, at.pipeline, 2, at.plan(2).ref, at.plan(2).target, error);
          await expectOnlyTable(at);
          expect(['1|old', '2|new']).toContain((await contents(at))[0]);
          expect(await healthy.tables(at.db, at.pipeline)).toMatchObject([{ state: 'reload', error }]);
        },
      );
    });
  });
}
