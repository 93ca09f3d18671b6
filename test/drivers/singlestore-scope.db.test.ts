import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Followed } from '../../src/drivers/apply.ts';
import type { Carry } from '../../src/drivers/changes.ts';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Column, Table } from '../../src/drivers/model.ts';
import { tableId } from '../../src/drivers/singlestore/names.ts';
import { pieces, seeded } from '../fakes/change-log.ts';
import { anotherAttempt, type Begun, copied, held, wanted } from './apply-fixture.ts';
import {
  BIGINT,
  column,
  cutStep,
  load,
  PLACES,
  type Place,
  planned,
  planOf,
  position,
  simpleTable,
  startPlace,
  thrown,
} from './singlestore-fixture.ts';

const equal = (found: string[], rows: string[], what: string) => expect({ what, rows: found }).toEqual({ what, rows });

async function feed({ applier, events }: Begun): Promise<void> {
  for (const piece of pieces(events(), seeded(1))) await applier.take(piece);
  await applier.flush();
}

for (const name of PLACES) {
  describe(`what a scope follows on ${name}`, () => {
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
    const states = (db: string) =>
      place.query(`select source_name n, state, scope from \`${db}\`._flow_tables order by 1`);

    test('live tables with their newest structure, in the order of databases and ids', async () => {
      const databases = [place.database(), place.database()].sort();
      const copy = await copied(place, destination, [simpleTable('a'), simpleTable('b'), simpleTable('c')], {
        databases,
      });
      const found = await destination.followed([...databases].reverse(), 'p', 1);
      expect(found.map(({ target }) => target.database)).toEqual([databases[0], databases[0], databases[1]]);
      const [a] = found.filter(({ ref }) => ref.name === 'a');
      expect(a).toMatchObject({ place: 'a', load: 1, followFrom: null, aheadUntil: '0', table: copy.log.tables[0] });
      expect(await destination.followed(databases, 'p', 2)).toEqual([]);
      expect(await destination.followed([place.database()], 'p', 1)).toEqual([]);
    });

    test('tables that leave keep their copies and are followed no more; an older claim may not do that', async () => {
      const copy = await copied(place, destination, [simpleTable('a'), simpleTable('b')], { rows: [[['1', 'x']]] });
      const [db] = copy.databases as [string];
      const old = await copy.claim(destination);
      const claim = await copy.claim(destination);
      const error = { class: 'StructureChanged', message: "It's 'new'.", action: 'Load.' };
      const leaving = [
        { id: tableId('p', { schema: 'src', name: 'a' }), database: db, state: 'reload' as const, error },
      ];
      expect(await thrown(destination.leave(old, leaving))).toMatchObject(anotherAttempt);
      expect(await destination.followed([db], 'p', 1)).toHaveLength(2);
      await destination.leave(claim, leaving);
      await destination.leave(claim, leaving);
      expect((await destination.followed([db], 'p', 1)).map(({ ref }) => ref.name)).toEqual(['b']);
      expect(await states(db)).toMatchObject([
        { n: 'a', state: 'reload' },
        { n: 'b', state: 'loaded' },
      ]);
      expect((await destination.tables(db, 'p'))[0]).toMatchObject({ error });
      expect(await place.query(`select * from \`${db}\`.a`)).toHaveLength(1);
    });

    test('a copy whose newer load was given up is followed with the structure it has', async () => {
      const copy = await copied(place, destination, [simpleTable('a')]);
      const [db] = copy.databases as [string];
      const wider = simpleTable('a', { columns: [...simpleTable().columns, column('w', BIGINT)], structure: 's2' });
      const plan = planOf(db, wider, { run: 2, scope: 2 });
      const made = await planned(destination, db, plan);
      expect(made.load).toBe(2);
      expect(await destination.followed([db], 'p', 1)).toMatchObject([{ load: 1, table: { structure: 's1' } }]);
      await load(destination, plan, made, 0, '1\ta\t2\n', 1);
      await destination.abandon(db, 'p', 2);
      expect(await destination.followed([db], 'p', 1)).toMatchObject([
        { place: 'a', load: 1, table: { structure: 's1' } },
      ]);
    });

    test('a side stream catches up in its shadow and is handed over with the position from which main follows', async () => {
      const copy = await copied(place, destination, [simpleTable('a')], { rows: [[['1', 'x']]], promote: false });
      const [db] = copy.databases as [string];
      const { log } = copy;
      const begun = await copy.begin(destination);
      const [shadow] = begun.followed as [Followed];
      expect(shadow.place).toMatch(/^_flow_.*_1_shadow$/);
      expect(shadow.aheadUntil).toBe('0');
      log.insert(0, ['2', 'y']);
      log.update(0, '3', ['3', '\\N'], [1]);
      log.contents[0]?.set('3', ['3', 'z']);
      log.commit();
      const first = begun.events();
      log.delete(0, '1');
      const end = log.commit();
      await begun.applier.take(first);
      await begun.applier.flush();
      expect(begun.applier.caughtUp.size).toBe(0);
      expect(await place.query(`select load_until u from \`${db}\`._flow_tables`)).toEqual([{ u: end }]);
      await feed(begun);
      expect(begun.applier.caughtUp.size).toBe(1);
      equal(await held(place, db, shadow.place, log.tables[0] as Table), wanted(log, 0), 'shadow');
      await begun.applier[Symbol.asyncDispose]();
      await destination.createScope(db, 'p', {
        scope: 7,
        run: 1,
        token: 0,
        seq: 0,
        position: end,
        slot: '',
        identity: '',
      });
      await destination.journal(db, 1, [{ id: shadow.id, load: shadow.load }]);
      for (let i = 0; i < 2; i++) await destination.promote(db, 1, 7, shadow.id, shadow.load, end);
      expect(await destination.followed([db], 'p', 1)).toEqual([]);
      expect(await destination.followed([db], 'p', 7)).toMatchObject([
        { place: 'a', load: 1, followFrom: end, aheadUntil: null },
      ]);
      await copy.expectEqual(equal);
    });

    const [id, v] = simpleTable().columns as [Column, Column];
    const longer = { ...v, type: { kind: 'varchar', length: 3000 } } as Column;
    const restructured = async (
      now: Partial<Table>,
      carry?: Carry,
      rows: readonly (readonly string[])[] = [
        ['1', 'x'],
        ['2', '\\N'],
      ],
    ) => {
      const copy = await copied(place, destination, [simpleTable('a')], { rows: [rows] });
      const [db] = copy.databases as [string];
      const claim = await copy.claim(destination);
      const [table] = (await destination.followed([db], 'p', 1)) as [Followed];
      const next = { ...table.table, structure: 's2', ...now };
      const request = { claim, table, now: next, from: position('0'), alter: true, ...(carry ? { carry } : {}) };
      const again = () => destination.restructure(request);
      await again();
      return { copy, db, again, next, table, claim };
    };
    const columnsOf = async (db: string) =>
      (
        await place.query(
          `select column_name c, column_type t, is_nullable n from information_schema.columns where table_schema = '${db}' and table_name = 'a' order by 1`,
        )
      ).map(({ c, t, n }) => `${c} ${t} ${n}`);

    test('a structure that only adds, widens and frees columns is brought to the copy, twice as well as once', async () => {
      const w = column('new `col`', { kind: 'binary', length: 5 });
      const { db, again, next, table } = await restructured({ columns: [w, id, longer] });
      expect(await columnsOf(db)).toEqual(
        expect.arrayContaining(
          ['id bigint(20) NO', 'new `col` varbinary(5) YES', 'v varchar(3000) YES'].map((one) =>
            name === 'MySQL' ? one.replace('(20)', '') : one,
          ),
        ),
      );
      expect(await place.query(`select id, v from \`${db}\`.a order by id`)).toEqual([
        { id: '1', v: 'x' },
        { id: '2', v: null },
      ]);
      await again();
      expect(await place.query(`select serial, valid_from from \`${db}\`._flow_structures order by serial`)).toEqual([
        { serial: '0', valid_from: '0' },
        { serial: '1', valid_from: '0' },
      ]);
      expect((await destination.followed([db], 'p', 1))[0]).toMatchObject({ load: table.load, table: next });
    });

    test('changes go on with the new structure, staging table included', async () => {
      const { copy, db, next } = await restructured({ columns: [id, longer, column('w', BIGINT)] });
      const rows = copy.log.contents[0] as Map<string, readonly string[]>;
      for (const [key, cells] of rows) rows.set(key, [...cells, '\\N']);
      (copy.log.tables as Table[])[0] = next;
      const begun = await copy.begin(destination);
      const long = 'y'.repeat(3000);
      copy.log.update(0, '1', ['1', long, '\\N'], [2]);
      copy.log.update(0, '2', ['2', '\\N', '5'], [1]);
      copy.log.insert(0, ['3', 'q', '7']);
      copy.log.delete(0, '99');
      copy.log.commit();
      await feed(begun);
      equal(await held(place, db, 'a', next), wanted(copy.log, 0), 'a');
      expect(begun.capture.rereads).toEqual([]);
    });

    test('a dropped column goes', async () => {
      const { db, again } = await restructured({ columns: [id] });
      expect(await columnsOf(db)).toHaveLength(1);
      await again();
    });

    test.each<[string, Partial<Table>]>([
      ['its key', { key: ['v'] }],
      ['lossy types', { columns: [id, { ...v, type: { kind: 'varchar', length: 5 } }] }],
      ['other kinds of types', { columns: [id, { ...v, type: { kind: 'int', bytes: 8, unsigned: false } }] }],
      ['key types', { columns: [{ ...id, type: { kind: 'decimal', precision: 30, scale: 0 } }, v] }],
      ['renamed columns', { columns: [id, { ...v, name: 'renamed' }] }],
      ['columns that may have been renamed', { columns: [id, { ...v, name: 'other', type: BIGINT }] }],
      ['columns with values', { columns: [id, v, { ...v, name: 'filled', nullable: false }] }],
    ])('%s need a reload', async (_, now) => {
      expect(await thrown(restructured(now))).toMatchObject({ name: 'StructureChanged' });
    });

    const FILLS: readonly (readonly [Column, fill: string])[] = [
      [column('i', { kind: 'int', bytes: 4, unsigned: false }, false), '-5'],
      [column('u', { kind: 'int', bytes: 8, unsigned: true }, false), '18446744073709551615'],
      [column('d', { kind: 'decimal', precision: 10, scale: 3 }), '1.500'],
      [column('g', { kind: 'double' }), '0.1'],
      [column('c', { kind: 'char', length: 3 }, false), 'a'],
      [column('empty', { kind: 'varchar', length: 3 }, false), ''],
      [column('n', { kind: 'varchar', length: 30 }), '\\N'],
      [column("it`s 'odd'", { kind: 'varchar', length: 300 }, false), 'it\'s a "`%\\\\\\t\\n\\r\\0'],
      [column('text in name', { kind: 'varchar', length: 300 }, false), 'plain'],
      [column('w', { kind: 'varchar', length: 30 }), 'ü🙂'],
      [column('long', { kind: 'text', size: 'long' }, false), 'x'.repeat(70_000)],
      ...(name === 'SingleStore mode'
        ? []
        : [[column('wide', { kind: 'varchar', length: 16_000 }, false), 'falls to text'] as const]),
      [column('b', { kind: 'binary', length: 5 }, false), '00FF5C'],
      [column('bb', { kind: 'blob', size: 'long' }), ''],
      [column('day', { kind: 'date' }, false), '2020-02-29'],
      [column('at', { kind: 'datetime', fraction: 6 }), '2020-02-29 01:02:03.000001'],
      [column('time', { kind: 'time', fraction: 6 }), '-838:59:59.000000'],
      [column('y', { kind: 'year' }, false), '1999'],
      [column('j', { kind: 'json' }, false), '{"a": "\\\\"\\\\\\\\"}'],
    ];

    test('new columns get the value that rows from before have, as a load would bring it, whatever their types', async () => {
      const columns = [id, ...FILLS.map(([one]) => one), v];
      const fills = new Map(FILLS.map(([one, fill]) => [one.name, Buffer.from(fill).toString('latin1')]));
      const { db, again, next, copy } = await restructured({ columns }, { fills, renames: new Map() });
      await again();
      const line = (key: string, last: string) => [key, ...FILLS.map(([, fill]) => fill), last];
      const rows = copy.log.contents[0] as Map<string, readonly string[]>;
      for (const [key, [, last]] of rows) rows.set(key, line(key, last as string));
      (copy.log.tables as Table[])[0] = next;
      equal(await held(place, db, 'a', next), wanted(copy.log, 0), 'a');
      // The same cells, by a load.
      copy.log.insert(0, line('3', 'loaded'));
      copy.log.commit();
      const begun = await copy.begin(destination);
      await feed(begun);
      const cells = FILLS.map(([{ name }]) => `\`${name.replaceAll('`', '``')}\``).join(', ');
      expect(await place.query(`select count(*) n from (select distinct ${cells} from \`${db}\`.a) x`)).toEqual([
        { n: '1' },
      ]);
      await begun.applier[Symbol.asyncDispose]();
    });

    test('a renamed column keeps its values, also when others come and go with it', async () => {
      const renamed = { ...v, name: 'Odd `name`' };
      const carry = { fills: new Map([['n', '7']]), renames: new Map([[renamed.name, 'v']]) };
      const { db, again, next, copy } = await restructured(
        { columns: [renamed, column('n', BIGINT, false), id] },
        carry,
      );
      await again();
      const expected = ['"x"\t"7"\t"1"', 'NULL\t"7"\t"2"'];
      expect(await held(place, db, 'a', next)).toEqual(expected);
      await place.query(`alter table \`${db}\`.a add column v int`);
      // Both names: one of them is not ours.
      expect(await thrown(again())).toMatchObject({ name: 'StructureChanged' });
      await copy.claim(destination);
      expect(await thrown(again())).toMatchObject(anotherAttempt);
    });

    test.each<[string, Partial<Table>, Carry['renames']]>([
      ['of a key', { columns: [{ ...id, name: 'k' }, v], key: ['k'] }, new Map([['k', 'id']])],
      ['of a key that stays', { columns: [{ ...id, name: 'k' }, v] }, new Map([['k', 'id']])],
      ['to a name that is taken', { columns: [id] }, new Map([['id', 'v']])],
      ['with another type', { columns: [id, { ...v, name: 'k', type: BIGINT }] }, new Map([['k', 'v']])],
    ])('a rename %s needs a reload', async (_, now, renames) => {
      expect(await thrown(restructured(now, { fills: new Map(), renames }))).toMatchObject({
        name: 'StructureChanged',
      });
    });

    test('what users made of a column may keep it from being dropped: reload', async () => {
      const copy = await copied(place, destination, [simpleTable('a')]);
      const [db] = copy.databases as [string];
      const [table] = (await destination.followed([db], 'p', 1)) as [Followed];
      await place.query(`alter table \`${db}\`.a add column upper varchar(100) as (upper(v)) stored`);
      const claim = await copy.claim(destination);
      const request = { claim, table, now: { ...table.table, columns: [id] }, from: position('0'), alter: true };
      expect(await thrown(destination.restructure(request))).toMatchObject({
        name: expect.stringMatching(/StructureChanged|DestinationRejected/),
      });
    });

    test('an attempt whose claim is void changes nothing', async () => {
      const { copy, db, table, claim } = await restructured({});
      await copy.claim(destination);
      const now = { ...table.table, columns: [id], structure: 's3' };
      const late = destination.restructure({ claim, table, now, from: position('0'), alter: true });
      expect(await thrown(late)).toMatchObject(anotherAttempt);
      expect(await columnsOf(db)).toHaveLength(2);
    });

    test('a crash at any statement of a change of structure: repeated, it is complete', async () => {
      const five = column('five', BIGINT, false);
      const long = column('long', { kind: 'text', size: 'long' }, false);
      const db = place.database();
      for (let n = 1; ; n += cutStep(name)) {
        const copy = await copied(place, destination, [simpleTable('a')], {
          databases: [db],
          pipeline: `p${n}`,
          prefix: `${n}`,
          rows: [
            [
              ['1', 'x'],
              ['2', '\\N'],
            ],
          ],
        });
        let count = 0;
        let dead = false;
        let begun = false;
        const dying = await place.open((_, when) => {
          if (dead) throw new Error('The process is dead.');
          if (!begun || when !== 'before' || ++count < n) return;
          dead = true;
          throw new Error('The process died.');
        });
        const change = async (by: Destination) => {
          const claim = await copy.claim(by);
          const [table] = (await by.followed([db], `p${n}`, 1)) as [Followed];
          const now = { ...table.table, columns: [id, { ...longer, name: 'r' }, column('w', BIGINT), five, long] };
          const carry = {
            fills: new Map([
              ['five', '5'],
              ['long', 'text'],
            ]),
            renames: new Map([['r', 'v']]),
          };
          if (by === dying) begun = true;
          await by.restructure({ claim, table, now, from: position('0'), alter: true, carry });
          return now;
        };
        const failed = await change(dying).then(
          () => false,
          () => true,
        );
        expect(failed).toBe(dead);
        await dying[Symbol.asyncDispose]();
        const now = await change(destination);
        const found = await held(place, db, `${n}a`, now as Table);
        expect(found).toEqual(['"1"\t"x"\tNULL\t"5"\t"text"', '"2"\tNULL\tNULL\t"5"\t"text"']);
        if (!failed) break;
        expect(n).toBeLessThan(60);
      }
    });
  });
}
