import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Destination, Planned } from '../../src/drivers/destination.ts';
import type { TableError } from '../../src/drivers/model.ts';
import { testEndings } from './destination-endings.ts';
import {
  copy,
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

/** What every destination promises, whatever server it is (contract: `Destination`). */
export function testDestination(name: string, start: () => Promise<Place>): void {
  describe(`a destination on ${name}`, () => {
    let place: Place;
    let destination: Destination;
    let db: string;
    const contents = async (table = 't') =>
      (await place.query(`select * from \`${db}\`.\`${table}\` order by 1`)).map((row) => Object.values(row).join('|'));
    const tables = async () =>
      (await place.query(`select table_name n from information_schema.tables where table_schema = '${db}'`))
        .map((row) => row['n'] as string)
        .filter((table) => !/^_flow_[a-z]+(_[a-z]+)?$/.test(table))
        .sort();

    beforeAll(async () => {
      place = await start();
      destination = await place.open();
    });
    afterAll(async () => {
      expect(place.rejections()).toEqual([]);
      await place.stop();
    });
    const fresh = async () => {
      db = place.database();
      await destination.prepare(db);
      return db;
    };

    describe('preparation', () => {
      test('can be repeated, keeps rows and adds columns that an older version lacks', async () => {
        await fresh();
        await destination.createScope(db, 'p', { scope: 1, run: 1, ...P0 });
        await place.query(`alter table \`${db}\`._flow_checkpoints drop column part`);
        await destination.prepare(db);
        await destination.prepare(db);
        expect(await destination.scopes(db, 'p')).toHaveLength(1);
        expect(await place.query(`select part from \`${db}\`._flow_checkpoints`)).toEqual([{ part: '' }]);
      });

      test('refuses a database name beyond 64 characters with advice', async () => {
        const error = await thrown(destination.prepare('d'.repeat(65)));
        expect(error).toMatchObject({ name: 'DestinationRejected', action: expect.stringContaining('`db`') });
      });

      test('a database that does not exist has no scopes, tables or runs', async () => {
        const nowhere = place.database();
        expect(await destination.scopes(nowhere, 'p')).toEqual([]);
        expect(await destination.tables(nowhere, 'p')).toEqual([]);
        expect(await destination.runTables(nowhere, 'p', 1)).toEqual([]);
        await destination.abandon(nowhere, 'p', 1);
        await destination.remove(nowhere, 'p');
        await destination.dropScope(nowhere, 'p', 1);
      });
    });

    describe('scopes', () => {
      test('keep the first P0 of a run and give way to newer runs only', async () => {
        await fresh();
        await destination.createScope(db, 'p', { scope: 1, run: 2, ...P0 });
        await destination.createScope(db, 'p', { scope: 1, run: 2, ...P0, position: position('later') });
        expect(await destination.scopes(db, 'p')).toEqual([{ scope: 1, run: 2, ...P0 }]);
        expect(await thrown(destination.createScope(db, 'p', { scope: 1, run: 1, ...P0 }))).toMatchObject({
          name: 'Superseded',
        });
        await destination.createScope(db, 'p', { scope: 1, run: 3, ...P0, position: position('new') });
        expect(await destination.scopes(db, 'p')).toMatchObject([{ run: 3, position: 'new', token: 1 }]);
        await destination.createScope(db, 'other', { scope: 1, run: 1, ...P0 });
        await destination.dropScope(db, 'p', 1);
        await destination.dropScope(db, 'p', 1);
        expect(await destination.scopes(db, 'p')).toEqual([]);
        expect(await destination.scopes(db, 'other')).toHaveLength(1);
      });
    });

    describe('a load', () => {
      test('goes from plan to promotion, each step repeatable', async () => {
        await fresh();
        await destination.createScope(db, 'p', { scope: 1, run: 1, ...P0 });
        const plan = planOf(db, simpleTable(), { ranges: ['a', 'b'] });
        const made = await planned(destination, db, plan);
        expect(made).toMatchObject({
          load: 1,
          chunks: 2,
          rowsDone: 0,
          open: [
            { chunk: 0, range: 'a' },
            { chunk: 1, range: 'b' },
          ],
        });
        expect(await load(destination, plan, made, 0, '1\tone\n2\t\\N\n', 2)).toEqual({ rows: 2, bytes: 11 });
        expect(await destination.claimChunk(db, made.id, made.load, 0)).toBeNull();
        expect(await destination.tables(db, 'p')).toMatchObject([{ state: 'loading', rows: 2, bytes: 11 }]);
        expect(await planned(destination, db, { ...plan, ranges: ['x', 'y', 'z'] })).toEqual({
          ...made,
          open: [{ chunk: 1, range: 'b' }],
          rowsDone: 2,
        });
        expect((await thrown(destination.seal(db, made.id, made.load, position('e')))).message).toContain(
          '1 of 2 chunks',
        );
        await load(destination, plan, made, 1, '3\tthree\n', 1);
        const sealed = await destination.seal(db, made.id, made.load, position('e'));
        expect(sealed).toEqual({ rows: 3, bytes: 19, rules: {} });
        expect(await destination.seal(db, made.id, made.load, position('e'))).toEqual(sealed);
        const journal = () => destination.journal(db, 1, [{ id: made.id, load: made.load }]);
        await journal();
        await journal();
        expect(await tables()).toEqual([`_flow_${made.id}_1_shadow`]);
        for (let i = 0; i < 2; i++) await destination.promote(db, 1, 1, made.id, made.load);
        await journal();
        expect(await destination.seal(db, made.id, made.load, position('e'))).toEqual(sealed);
        expect(await planned(destination, db, plan)).toMatchObject({ load: 1, open: [], rowsDone: 3 });
        expect(await tables()).toEqual(['t']);
        expect(await contents()).toEqual(['1|one', '2|', '3|three']);
        const [record] = await destination.tables(db, 'p');
        expect(record).toMatchObject({
          state: 'loaded',
          rows: 3,
          bytes: 19,
          error: null,
          target: { database: db, table: 't' },
        });
        expect(Date.parse(record?.lastLoadedAt ?? '')).toBeGreaterThan(Date.now() - 60_000);
        expect(await destination.runTables(db, 'p', 1)).toMatchObject([{ state: 'loaded', rows: 3, error: null }]);
      });

      test('replaces its own earlier copy in a later run, which readers see until then', async () => {
        await fresh();
        const table = simpleTable();
        await copy(destination, planOf(db, table), '1\told\n', 1);
        const plan = planOf(db, table, { run: 2, scope: 2 });
        const made = await planned(destination, db, plan);
        expect(made.load).toBe(2);
        await load(destination, plan, made, 0, '1\tnew\n', 1);
        expect(await contents()).toEqual(['1|old']);
        await putInPlace(destination, plan, made);
        expect(await contents()).toEqual(['1|new']);
        expect(await tables()).toEqual(['t']);
        expect(await thrown(destination.plan(db, [planOf(db, table)]))).toMatchObject({ name: 'Superseded' });
      });

      test('begins anew when asked, once, and when structure or way of loading changed', async () => {
        await fresh();
        const plan = planOf(db, simpleTable());
        const first = await planned(destination, db, plan);
        await load(destination, plan, first, 0, '1\ta\n', 1);
        const again = await planned(destination, db, { ...plan, again: true });
        expect(again).toMatchObject({ load: 2, open: [{ chunk: 0 }] });
        expect(await planned(destination, db, { ...plan, again: true })).toMatchObject({ load: 2 });
        expect(await thrown(destination.claimChunk(db, first.id, 1, 0))).toMatchObject({ name: 'Superseded' });
        const changed = { ...plan, shape: 's2' };
        expect(await planned(destination, db, changed)).toMatchObject({ load: 3 });
        expect(await planned(destination, db, { ...changed, replace: true })).toMatchObject({ load: 4 });
        expect(await tables()).toEqual([`_flow_${first.id}_4_shadow`]);
      });

      test('makes a table without rows for skipInitial, and leaves one that is there alone', async () => {
        await fresh();
        const plan = planOf(db, simpleTable(), { ranges: [], skipInitial: true });
        await putInPlace(destination, plan, await planned(destination, db, plan));
        expect(await contents()).toEqual([]);
        await place.query(`insert into \`${db}\`.t values (7, 'loaded elsewhere')`);
        const later = { ...plan, run: 2 };
        await putInPlace(destination, later, await planned(destination, db, later));
        expect(await contents()).toEqual(['7|loaded elsewhere']);
        expect(await destination.tables(db, 'p')).toMatchObject([{ state: 'loaded', rows: 1 }]);
      });

      test('tables that are not ours are refused unless adopted; the others go on', async () => {
        await fresh();
        await place.query(`create table \`${db}\`.t (x int)`);
        const plans = [planOf(db, simpleTable('t')), planOf(db, simpleTable('u'))];
        const [refused, good] = await destination.plan(db, plans);
        expect(refused).toMatchObject({ class: 'DestinationRejected', action: expect.stringContaining('adopt') });
        expect(good).toMatchObject({ load: 1 });
        const plan = planOf(db, simpleTable('t'), { adopt: true });
        await copy(destination, plan, '1\ta\n', 1);
        expect(await contents()).toEqual(['1|a']);
        const stranger = planOf(db, simpleTable('t'), { pipeline: 'q' });
        expect((await destination.plan(db, [stranger]))[0]).toMatchObject({
          message: expect.stringContaining('pipeline "p"'),
        });
        await copy(destination, { ...stranger, adopt: true }, '2\tb\n', 1);
        expect(await contents()).toEqual(['2|b']);
        expect(await destination.tables(db, 'p')).toMatchObject([{ ref: { name: 't' }, state: 'error' }, {}]);
      });

      test('a foreign table that appears during the load is not overwritten', async () => {
        await fresh();
        const plan = planOf(db, simpleTable());
        const made = await planned(destination, db, plan);
        await load(destination, plan, made, 0, '1\ta\n', 1);
        await destination.seal(db, made.id, made.load, position('e'));
        await place.query(`create table \`${db}\`.t (x int)`);
        const journal = destination.journal(db, 1, [{ id: made.id, load: made.load }]);
        expect(await thrown(journal)).toMatchObject({ name: 'DestinationRejected' });
        expect(await tables()).toContain('t');
      });

      test('what the destination cannot hold is refused by table', async () => {
        await fresh();
        const long = 'x'.repeat(65);
        const double = simpleTable('d');
        const refusals = (await destination.plan(db, [
          planOf(db, simpleTable(long)),
          planOf(db, {
            ...double,
            columns: double.columns.map((c) => (c.name === 'id' ? { ...c, type: { kind: 'double' } } : c)),
          }),
          planOf(db, { ...simpleTable('k'), columns: [{ ...simpleTable().columns[1], name: long } as never], key: [] }),
          planOf(db, {
            ...simpleTable('twice'),
            columns: [...simpleTable().columns, { ...simpleTable().columns[1], name: 'V' } as never],
          }),
          planOf(db, simpleTable('_flow_tables')),
          planOf(db, simpleTable('good')),
        ])) as (TableError | Planned)[];
        expect(refusals.map((refusal) => ('class' in refusal ? refusal.class : refusal.load))).toEqual([
          'DestinationRejected',
          'UnsupportedValue',
          'DestinationRejected',
          'DestinationRejected',
          'DestinationRejected',
          1,
        ]);
      });
    });

    testEndings(() => ({ place, destination, fresh, contents, tables }));
  });
}
