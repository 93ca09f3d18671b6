import { describe, expect, test } from 'vitest';
import type { Destination, Planned } from '../../src/drivers/destination.ts';
import {
  copy,
  feed,
  load,
  type Place,
  planned,
  planOf,
  position,
  putInPlace,
  simpleTable,
  thrown,
} from './singlestore-fixture.ts';

const P0 = { position: position('0/1'), slot: 'slot', identity: 'id', token: 0, seq: 0 };

/** What the suite's tests work on; made before the first of them. */
type Stage = {
  readonly place: Place;
  readonly destination: Destination;
  /** Prepares a database of the test's own. */
  fresh(): Promise<string>;
  contents(table?: string): Promise<string[]>;
  tables(): Promise<string[]>;
};

/** How loads end: superseded, stopped, failed, given up, removed. Part of the destination suite. */
export function testEndings(stage: () => Stage): void {
  describe('claims', () => {
    test('an attempt whose chunk was claimed again changes nothing', async () => {
      const { destination, contents, fresh } = stage();
      const db = await fresh();
      const plan = planOf(db, simpleTable());
      const made = await planned(destination, db, plan);
      const first = await destination.claimChunk(db, made.id, made.load, 0);
      const second = await destination.claimChunk(db, made.id, made.load, 0);
      if (!first || !second) throw new Error('not claimed');
      const target = { database: db, table: plan.table, replace: false };
      const run = (claim: typeof first, text: string) =>
        destination.loadChunk(target, claim, feed(text, 1), () => {}, new AbortController().signal);
      expect(await thrown(run(first, '1\tzombie\n'))).toMatchObject({ name: 'Superseded' });
      expect(await run(second, '1\their\n')).toEqual({ rows: 1, bytes: 7 });
      expect(await thrown(run(first, '2\tzombie\n'))).toMatchObject({ name: 'Superseded' });
      expect(await thrown(run(second, '2\ttwice\n'))).toMatchObject({ name: 'Superseded' });
      expect(await contents(`_flow_${made.id}_1_shadow`)).toEqual(['1|heir']);
    });

    test('an attempt that hangs in the middle of its load is ended by the next claim and cannot come back', async () => {
      const { place, destination, contents, fresh } = stage();
      const db = await fresh();
      const plan = planOf(db, simpleTable());
      const made = await planned(destination, db, plan);
      const claim = await destination.claimChunk(db, made.id, made.load, 0);
      const gate = Promise.withResolvers<void>();
      const begun = Promise.withResolvers<void>();
      const many = Array.from({ length: 50_000 }, (_, i) => `${i + 1}\tzombie\n`).join('');
      const stopped = (async function* () {
        yield { data: Buffer.from(many), rows: 50_000 };
        begun.resolve();
        await gate.promise;
        return { rows: 50_000, rules: [] };
      })();
      const target = { database: db, table: plan.table, replace: false };
      const signal = new AbortController().signal;
      const zombie = thrown(destination.loadChunk(target, claim as never, stopped, () => {}, signal));
      await begun.promise;
      const locked = `select * from \`${db}\`.\`_flow_${made.id}_1_shadow\` where id = 1 for update nowait`;
      const isLocked = () =>
        place.query(locked).then(
          () => false,
          () => true,
        );
      while (!(await isLocked())) await new Promise((resolve) => setTimeout(resolve, 50));
      const before = performance.now();
      await load(destination, plan, made, 0, '1\their\n', 1);
      expect(performance.now() - before).toBeLessThan(10_000);
      gate.resolve();
      expect((await zombie).message).not.toContain('It should have thrown');
      await putInPlace(destination, plan, made);
      expect(await contents()).toEqual(['1|heir']);
    });

    test('sealing voids claims that are still out', async () => {
      const { destination, fresh } = stage();
      const db = await fresh();
      const plan = planOf(db, simpleTable());
      const made = await planned(destination, db, plan);
      const late = await destination.claimChunk(db, made.id, made.load, 0);
      await load(destination, plan, made, 0, '1\ta\n', 1);
      await destination.seal(db, made.id, made.load, position('e'));
      const target = { database: db, table: plan.table, replace: false };
      const loading = destination.loadChunk(
        target,
        late as never,
        feed('2\tb\n', 1),
        () => {},
        new AbortController().signal,
      );
      expect(await thrown(loading)).toMatchObject({ name: 'Superseded' });
    });
  });

  describe('the end of a run', () => {
    test('a failed table keeps its copy, shows its error, and can be loaded again', async () => {
      const { destination, contents, tables, fresh } = stage();
      const db = await fresh();
      const table = simpleTable();
      await copy(destination, planOf(db, table), '1\told\n', 1);
      const plan = planOf(db, table, { run: 2 });
      const made = await planned(destination, db, plan);
      await load(destination, plan, made, 0, '1\tnew\n', 1);
      const error = { class: 'UnsupportedValue', message: 'No.', action: 'Do.' };
      const fail = () => destination.fail(db, 'p', 2, table.ref, plan.target, error);
      await fail();
      await fail();
      expect(await tables()).toEqual(['t']);
      expect(await contents()).toEqual(['1|old']);
      expect(await destination.tables(db, 'p')).toMatchObject([{ state: 'reload', error, rows: 1 }]);
      expect(await destination.runTables(db, 'p', 2)).toMatchObject([{ state: 'failed', error }]);
      expect(await thrown(destination.claimChunk(db, made.id, made.load, 0))).toMatchObject({ name: 'Superseded' });
      await copy(destination, planOf(db, table, { run: 3 }), '1\tnew\n', 1);
      expect(await destination.tables(db, 'p')).toMatchObject([{ state: 'loaded', error: null }]);
      expect(await thrown(destination.fail(db, 'p', 2, table.ref, plan.target, error))).toMatchObject({
        name: 'Superseded',
      });
    });

    test('a table that could not even be planned can fail', async () => {
      const { destination, fresh } = stage();
      const db = await fresh();
      const error = { class: 'UnsupportedValue', message: 'No key.', action: 'Choose one.' };
      await destination.fail(db, 'p', 1, { schema: 's', name: 'x' }, { database: db, table: 'x' }, error);
      expect(await destination.tables(db, 'p')).toMatchObject([{ state: 'reload', error, lastLoadedAt: null }]);
    });

    test('an abandoned run leaves live tables and earlier states as they were', async () => {
      const { place, destination, contents, tables, fresh } = stage();
      const db = await fresh();
      await copy(destination, planOf(db, simpleTable('kept')), '1\told\n', 1);
      const plans = [planOf(db, simpleTable('kept'), { run: 2 }), planOf(db, simpleTable('new'), { run: 2 })];
      const made = (await destination.plan(db, plans)) as Planned[];
      await load(destination, plans[0] as never, made[0] as Planned, 0, '2\tnew\n', 1);
      await destination.seal(db, made[0]?.id as string, 2, position('e'));
      await destination.journal(db, 2, [{ id: made[0]?.id as string, load: 2 }]);
      await destination.abandon(db, 'p', 2);
      await destination.abandon(db, 'p', 2);
      expect(await tables()).toEqual(['kept']);
      expect(await contents('kept')).toEqual(['1|old']);
      expect(await destination.tables(db, 'p')).toMatchObject([{ ref: { name: 'kept' }, state: 'loaded', rows: 1 }]);
      expect(await place.query(`select * from \`${db}\`._flow_journal`)).toEqual([]);
      expect(await destination.runTables(db, 'p', 2)).toMatchObject([{ state: 'skipped' }, { state: 'skipped' }]);
    });

    test('two streams of a pipeline that record a rollback point at the same moment both have theirs', async () => {
      const { destination, place, fresh } = stage();
      const db = await fresh();
      for (const scope of [1, 2]) await destination.createScope(db, 'p', { ...P0, scope, run: 1, slot: '' });
      const claims = await Promise.all([1, 2].map((scope) => destination.claimScope([db], 'p', scope, 1)));
      for (let turn = 0; turn < 20; turn++) {
        const point = { position: position(`0/${turn + 10}`), sourceTime: null };
        await Promise.all(claims.map((claim) => destination.addPoint(claim, point)));
        const found = await place.query(`select point, scope from \`${db}\`._flow_points order by point`);
        expect(found.map((row) => Number(row['point']))).toEqual([1, 2]);
        expect(found.map((row) => Number(row['scope'])).sort()).toEqual([1, 2]);
        await place.query(`delete from \`${db}\`._flow_points`);
      }
    });

    test('removing a pipeline keeps its copies and the other pipelines', async () => {
      const { destination, tables, fresh } = stage();
      const db = await fresh();
      await destination.createScope(db, 'p', { scope: 1, run: 1, ...P0 });
      await copy(destination, planOf(db, simpleTable('kept')), '1\ta\n', 1);
      await planned(destination, db, planOf(db, simpleTable('half')));
      await copy(destination, planOf(db, simpleTable('other'), { pipeline: 'q' }), '1\ta\n', 1);
      await destination.remove(db, 'p');
      await destination.remove(db, 'p');
      expect(await tables()).toEqual(['kept', 'other']);
      expect(await destination.tables(db, 'p')).toEqual([]);
      expect(await destination.scopes(db, 'p')).toEqual([]);
      expect(await destination.tables(db, 'q')).toHaveLength(1);
    });
  });
}
