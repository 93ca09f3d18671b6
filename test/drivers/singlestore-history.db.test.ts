import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Column, Table } from '../../src/drivers/model.ts';
import type { Observe } from '../../src/drivers/singlestore/connection.ts';
import { VERSION_COLUMNS } from '../../src/drivers/singlestore/history.ts';
import { type Cells, type ChangeLog, pieces, randomTransactions, seeded } from '../fakes/change-log.ts';
import { type Begun, copied, held, randomCells, TABLES, unpaddedCells, wanted } from './apply-fixture.ts';
import {
  BIGINT,
  column,
  cutStep,
  load,
  type Place,
  planned,
  planOf,
  position,
  simpleTable,
  sourceTable,
  startPlace,
  thrown,
} from './singlestore-fixture.ts';

const equal = (found: string[], wanted: string[], what: string) =>
  expect({ what, rows: found }).toEqual({ what, rows: wanted });

async function feed({ applier, events }: Begun, random: () => number, most?: number): Promise<void> {
  for (const piece of pieces(events(), random, most)) await applier.take(piece);
  await applier.flush();
}

/** Time of the transaction with that number in a made-up log. */
const at = (number: number) => new Date(number * 1000).toISOString().replace('T', ' ').replace('Z', '000');

type Version = { cells: Cells; from: string; to: string | null };

/** Versions by key as the log tells them, of keys whose rows it tells in full; `since`: when loaded rows began. */
function versionsOf(log: ChangeLog, table: number, loaded: readonly Cells[], since: string) {
  const versions = new Map<string, Version[]>();
  const blurred = new Set<string>();
  const came = new Set<string>();
  const open = (key: string, cells: Cells, from: string) =>
    versions.set(key, [...(versions.get(key) ?? []), { cells, from, to: null }]);
  const close = (key: string, to: string) => {
    const last = versions.get(key)?.at(-1);
    if (last?.to === null) last.to = to;
    return last?.cells;
  };
  for (const cells of loaded) open(log.keyOf(table, cells), cells, since);
  const take = (event: LogEvent, time: string) => {
    if (event.kind === 'truncate') for (const key of versions.keys()) close(key, time);
    if (event.kind !== 'insert' && event.kind !== 'update' && event.kind !== 'delete') return;
    const left = event.kind === 'delete' ? event.key : event.oldKey;
    if (left !== null && came.has(left)) blurred.add(left);
    const moved = event.oldKey === null ? undefined : close(event.oldKey, time);
    const before = close(event.key, time);
    if (event.kind === 'delete') return;
    if (event.kind === 'insert' || event.oldKey !== null) came.add(event.key);
    if (event.missing && event.oldKey !== null) blurred.add(event.key);
    const line = Buffer.from(event.data.subarray(event.from, event.to)).toString('utf8').replace(/\n$/, '').split('\t');
    const base = moved ?? before;
    open(
      event.key,
      line.map((cell, i) => (event.missing?.includes(i) ? (base?.[i] ?? '?') : cell)),
      time,
    );
  };
  let waiting: LogEvent[] = [];
  for (const event of log.events(position('0'))) {
    if (event.kind !== 'commit') {
      if (!('table' in event) || event.table === table) waiting.push(event);
      continue;
    }
    for (const one of waiting) take(one, at(Number(event.position)));
    waiting = [];
    came.clear();
  }
  for (const key of blurred) versions.delete(key);
  return { versions, blurred };
}

/** Compares the versions of a table with what the log says; returns how many there are. */
async function expectVersions(place: Place, database: string, log: ChangeLog, index: number, loaded: readonly Cells[]) {
  const table = log.tables[index] as Table;
  const name = table.ref.name.replaceAll('`', '``');
  const [since] = await place.query(
    `select started_at t from \`${database}\`._flow_tables where source_name = '${table.ref.name}'`,
  );
  const { versions, blurred } = versionsOf(log, index, loaded, String(since?.['t']));
  const found = await place.query(`select * from \`${database}\`.\`${name}\` order by _ordinal, _event`);
  const chains = new Map<string, typeof found>();
  const keyColumns = table.key.map((word) => table.columns.find((one) => one.name === word) as Column);
  for (const row of found) {
    const chain = keyColumns.map((one) => String(row[one.name])).join('\t');
    chains.set(chain, [...(chains.get(chain) ?? []), row]);
  }
  for (const chain of chains.values())
    chain.forEach((row, i) => {
      const next = chain[i + 1];
      expect(row['_is_current'] === '1', JSON.stringify(row)).toBe(row['_valid_to'] === null);
      expect(row['_ordinal_to'] === null).toBe(row['_valid_to'] === null);
      if (!next) return;
      expect(row['_is_current'], JSON.stringify(chain)).toBe('0');
      expect(Number(next['_ordinal'])).toBeGreaterThanOrEqual(Number(row['_ordinal_to']));
      expect(Number(row['_ordinal_to'])).toBeGreaterThanOrEqual(Number(row['_ordinal']));
    });
  const plain = {
    ...table,
    columns: [...table.columns, ...VERSION_COLUMNS.filter(({ name: n }) => n === '_valid_from' || n === '_valid_to')],
  };
  const isBlurred = (line: string) => [...blurred].some((key) => keyOfLine(table, line) === key);
  const lines = (await held(place, database, table.ref.name, plain)).filter((line) => !isBlurred(line));
  const shown = [...versions.values()].flat().map(({ cells, from, to }) => [...cells, from, to ?? '\\N']);
  const wantedLog = {
    tables: [plain],
    contents: [new Map(shown.map((cells, i) => [String(i), cells]))],
  } as unknown as ChangeLog;
  equal(
    lines,
    wanted(wantedLog, 0).filter((line) => !isBlurred(line)),
    `${table.ref.name} versions`,
  );
  return lines.length;
}

function keyOfLine({ columns, key }: Table, line: string): string {
  const cells = line.split('\t');
  return key
    .map((word) => JSON.parse(cells[columns.findIndex(({ name }) => name === word)] as string) as string)
    .map((text) =>
      Buffer.from(
        text.replace(
          /[\\\t\n\r\0]/g,
          (c) => ({ '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r', '\0': '\\0' })[c] as string,
        ),
        'utf8',
      ).toString('latin1'),
    )
    .join('\t');
}

// MySQL speaks the same dialect as MariaDB here; the suites of scopes and of loads run on it.
for (const name of ['MariaDB', 'SingleStore mode'] as const) {
  describe(`history mode on ${name}`, () => {
    let place: Place;
    let destination: Destination;
    const cells = name === 'SingleStore mode' ? unpaddedCells : randomCells;
    const loaded = (random: () => number) =>
      TABLES.map((table, i) => {
        const rows = Array.from({ length: 6 }, () => cells(i, random));
        const seen = new Map(
          rows.map((row) => [table.key.map((k) => row[table.columns.findIndex((c) => c.name === k)]).join('\t'), row]),
        );
        return [...seen.values()];
      });
    beforeAll(async () => {
      place = await startPlace(name);
      destination = await place.open(undefined, { max_updates: '-1' });
    });
    afterAll(async () => {
      expect(place.rejections()).toEqual([]);
      await place.stop();
    });

    test.each([1, 2, 3, 4])(
      'random transactions, seed %i: every version that the log tells, and the source’s rows are current',
      async (seed) => {
        const random = seeded(seed);
        const rows = loaded(random);
        const copy = await copied(place, destination, TABLES, { history: true, rows });
        const begun = await copy.begin(destination);
        let count = 0;
        for (let round = 0; round < 4; round++) {
          randomTransactions(copy.log, random, 1 + Math.floor(random() * 40), cells, { truncates: 0.01 });
          await feed(begun, random);
          await copy.expectEqual(equal);
          count = 0;
          for (const [index, list] of rows.entries())
            count += await expectVersions(place, copy.databases[0] as string, copy.log, index, list);
        }
        expect(count).toBeGreaterThan(20);
        await begun.applier[Symbol.asyncDispose]();
      },
    );

    const small = simpleTable('t', {
      columns: [...simpleTable().columns, column('w', { kind: 'varchar', length: 20 })],
    });
    const one = async (rows: readonly Cells[] = [], more: Parameters<typeof copied>[3] = {}, by = destination) => {
      const copy = await copied(place, destination, [small], { history: true, rows: [rows], ...more });
      return { copy, log: copy.log, begun: await copy.begin(by), db: copy.databases[0] as string };
    };
    const shown = async (
      db: string,
      columns = 'id, v, w, _valid_from f, _valid_to t, _is_current c, _ordinal o, _ordinal_to p',
    ) => {
      const [since] = await place.query(`select started_at t from \`${db}\`._flow_tables`);
      const found = await place.query(`select ${columns} from \`${db}\`.t order by id, _ordinal, _event`);
      return found.map((row) =>
        Object.values(row)
          .map((cell) => (cell === since?.['t'] ? 'load' : (cell ?? '-')))
          .join(' '),
      );
    };

    test('a crash at any statement: no version twice, none lost', async () => {
      const databases = [place.database()];
      let cuts = 0;
      for (let n = 1; ; n += cutStep(name)) {
        const random = seeded(5);
        const rows = loaded(random);
        const copy = await copied(place, destination, TABLES.slice(0, 2), {
          databases,
          pipeline: `p${n}`,
          prefix: `${n} `,
          history: true,
          rows,
        });
        randomTransactions(copy.log, random, 12, cells, { truncates: 0.02 });
        let count = 0;
        let dead = false;
        let begun = false;
        const observe: Observe = (_, when) => {
          if (dead) throw new Error('The process is dead.');
          if (!begun || when !== 'before' || ++count < n) return;
          dead = true;
          throw new Error('The process died.');
        };
        const dying = await place.open(observe, { max_updates: '-1' });
        begun = true;
        const failed = await copy
          .begin(dying)
          .then(async (first) => {
            const events = first.events();
            const half = events.findIndex(({ kind }, i) => kind === 'commit' && i > events.length / 2) + 1;
            for (const piece of pieces(events.slice(0, half), seeded(8))) await first.applier.take(piece);
            await first.applier.flush();
            await feed(first, seeded(8));
          })
          .then(
            () => false,
            () => true,
          );
        await dying[Symbol.asyncDispose]();
        expect(failed).toBe(dead);
        const next = await copy.begin(destination);
        await feed(next, seeded(9));
        await next.applier[Symbol.asyncDispose]();
        await copy.expectEqual(equal);
        for (const [index, list] of rows.slice(0, 2).entries())
          await expectVersions(place, databases[0] as string, copy.log, index, list);
        if (!failed) break;
        cuts++;
      }
      expect(cuts * cutStep(name)).toBeGreaterThan(40);
    }, 300_000);

    test('a change closes the version and opens the next, a delete only closes, TRUNCATE closes all, a key change does both', async () => {
      const { log, begun, db } = await one([
        ['1', 'a', 'A'],
        ['2', 'b', 'B'],
        ['3', 'c', 'C'],
      ]);
      log.update(0, '1', ['1', 'aa', 'A'], [2]);
      log.update(0, '1', ['1', 'aa', 'AA'], [1]);
      log.commit();
      log.delete(0, '2');
      log.update(0, '3', ['4', 'c', 'C']);
      log.commit();
      log.truncate(0);
      log.insert(0, ['1', 'new', '\\N']);
      log.commit();
      await feed(begun, seeded(1));
      const [one_, two, three] = [at(1), at(2), at(3)];
      expect(await shown(db)).toEqual([
        `1 a A load ${one_} 0 0 1`,
        `1 aa A ${one_} ${one_} 0 1 1`,
        `1 aa AA ${one_} ${three} 0 1 3`,
        `1 new - ${three} - 1 3 -`,
        `2 b B load ${two} 0 0 2`,
        `3 c C load ${two} 0 0 2`,
        `4 c C ${two} ${three} 0 2 3`,
      ]);
    });

    test('changes that the loaded rows may hold make no versions; the first after them does, in the same batch', async () => {
      const { log, begun, db } = await one(
        [
          ['1', 'loaded', 'x'],
          ['2', 'b', 'b'],
        ],
        { until: position('2') },
      );
      log.insert(0, ['3', 'early', '\\N']);
      log.delete(0, '2');
      log.commit();
      log.update(0, '1', ['1', 'early', 'x'], [2]);
      log.commit();
      log.update(0, '1', ['1', 'late', 'x'], [2]);
      log.commit();
      await begun.applier.take(begun.events());
      await begun.applier.flush();
      expect(await shown(db, 'id, v, _valid_from f, _valid_to t')).toEqual([
        `1 early load ${at(3)}`,
        `1 late ${at(3)} -`,
        '3 early load -',
      ]);
      await begun.applier[Symbol.asyncDispose]();
    });

    test('a shadow that catches up makes no versions; put in place, it does', async () => {
      const { copy, log, begun, db } = await one([['1', 'a', 'a']], { promote: false });
      log.update(0, '1', ['1', 'b', 'b']);
      log.insert(0, ['2', 'x', 'x']);
      log.commit();
      await feed(begun, seeded(1));
      await begun.applier[Symbol.asyncDispose]();
      const { id, load: number } = begun.followed[0] as { id: string; load: number };
      await destination.journal(db, 1, [{ id, load: number }]);
      await destination.promote(db, 1, 1, id, number, position('1'));
      log.update(0, '1', ['1', 'c', 'c']);
      log.commit();
      await feed(await copy.begin(destination), seeded(1));
      expect(await shown(db, 'id, v, _valid_from f, _valid_to t')).toEqual([
        `1 b load ${at(2)}`,
        `1 c ${at(2)} -`,
        '2 x load -',
      ]);
    });

    test('a transaction that is written in parts brings versions of one number and one time', async () => {
      const { log, begun, db } = await one([
        ['1', 'a', 'A'],
        ['2', 'b', 'B'],
      ]);
      log.update(0, '1', ['1', 'first', 'A'], [2]);
      log.delete(0, '2');
      for (let i = 10; i < 120_010; i++) log.insert(0, [String(i), 'x', '\\N']);
      log.update(0, '1', ['1', 'last', 'A'], [2]);
      log.commit();
      await feed(begun, seeded(1), 4000);
      expect((await shown(db)).slice(0, 5)).toEqual([
        `1 a A load ${at(1)} 0 0 1`,
        `1 first A ${at(1)} ${at(1)} 0 1 1`,
        `1 last A ${at(1)} - 1 1 -`,
        `2 b B load ${at(1)} 0 0 1`,
        `10 x - ${at(1)} - 1 1 -`,
      ]);
      expect(
        await place.query(
          `select count(*) n, count(distinct _ordinal) o, max(_valid_from) f from \`${db}\`.t where _ordinal > 0`,
        ),
      ).toEqual([{ n: '120002', o: '1', f: at(1) }]);
    }, 120_000);

    test('beyond twice `max_updates` the changes of a row in a batch are one', async () => {
      const { log, begun, db } = await one([['1', 'v0', 'x']], {}, await place.open(undefined, { max_updates: '2' }));
      for (let i = 1; i <= 9; i++) {
        log.update(0, '1', ['1', `v${i}`, 'x'], i % 2 === 0 ? [2] : []);
        log.commit();
      }
      await begun.applier.take(begun.events());
      await begun.applier.flush();
      expect(await shown(db, 'id, v, _valid_from f, _valid_to t')).toEqual([
        `1 v0 load ${at(1)}`,
        ...[1, 2].map((i) => `1 v${i} ${at(i)} ${at(i + 1)}`),
        `1 v3 ${at(3)} ${at(9)}`,
        `1 v9 ${at(9)} -`,
      ]);
    });

    test('a rollback takes later versions away, and the stream brings them again', async () => {
      const { copy, log, begun, db } = await one([
        ['1', 'a', 'a'],
        ['2', 'b', 'b'],
        ['3', 'c', 'c'],
      ]);
      log.update(0, '1', ['1', 'aa', 'a']);
      log.delete(0, '2');
      log.commit();
      await feed(begun, seeded(1));
      await destination.addPoint(begun.claim, { position: position('1'), sourceTime: null });
      const then = await shown(db);
      log.update(0, '1', ['1', 'aaa', 'a']);
      log.delete(0, '3');
      log.insert(0, ['2', 'again', 'b']);
      log.commit();
      await feed(begun, seeded(1));
      const later = await shown(db, 'id, v, w, _valid_from f, _valid_to t, _is_current c');
      await begun.applier[Symbol.asyncDispose]();
      for (let twice = 0; twice < 2; twice++) {
        const claim = await copy.claim(destination);
        const reached = (a: string, b: string) => Number(a) >= Number(b);
        await destination.rollBack({ claim, to: position('1'), tables: begun.followed, reached });
        expect(await shown(db)).toEqual(then);
      }
      const next = await copy.begin(destination);
      await feed(next, seeded(1));
      expect(await shown(db, 'id, v, w, _valid_from f, _valid_to t, _is_current c')).toEqual(later);
      const ordinals = await place.query(`select max(_ordinal) o from \`${db}\`.t`);
      expect(Number(ordinals[0]?.['o'])).toBeGreaterThan(2);
      await next.applier[Symbol.asyncDispose]();
      // Where no point says what belongs to a position, the table waits for a reload.
      await destination.rollBack({
        claim: await copy.claim(destination),
        to: position('0'),
        tables: next.followed,
        reached: (a, b) => Number(a) >= Number(b),
      });
      expect(await destination.tables(db, 'p')).toMatchObject([
        { state: 'reload', error: { class: 'StructureChanged' } },
      ]);
    });

    test('a row that the log does not say all of becomes a version as it is at the source', async () => {
      const { log, begun, db, copy } = await one([
        ['1', 'a', 'A'],
        ['2', 'b', 'B'],
      ]);
      log.update(0, '1', ['10', 'a', 'A'], [2]);
      await place.query(`delete from \`${db}\`.t where id = 2`);
      log.update(0, '2', ['2', 'bb', 'B'], [2]);
      log.commit();
      await feed(begun, seeded(1));
      expect(await shown(db, 'id, v, w, _valid_from f, _valid_to t')).toEqual([
        `1 a A load ${at(1)}`,
        `2 bb B ${at(1)} -`,
        `10 a A ${at(1)} -`,
      ]);
      await copy.expectEqual(equal);
    });

    test('a version that the destination refuses is a gap, and a letter if it is the last', async () => {
      const LONG = 'much too long for twenty characters';
      const { log, begun, db } = await one([
        ['1', 'a', 'a'],
        ['2', 'b', 'b'],
      ]);
      log.update(0, '1', ['1', LONG, 'a']);
      log.update(0, '2', ['2', LONG, 'b']);
      log.commit();
      log.update(0, '1', ['1', 'fits', 'a']);
      log.commit();
      await begun.applier.take(begun.events());
      await begun.applier.flush();
      const letters = () => place.query(`select key_text k from \`${db}\`._flow_dead_letters`);
      expect(await shown(db, 'id, v, _valid_from f, _valid_to t')).toEqual([
        `1 a load ${at(1)}`,
        `1 fits ${at(2)} -`,
        `2 b load ${at(1)}`,
      ]);
      expect(await letters()).toEqual([{ k: '2' }]);
      log.update(0, '2', ['2', 'fits', 'b']);
      log.commit();
      await feed(begun, seeded(1));
      expect(await letters()).toEqual([]);
      expect((await shown(db, 'id, v, _valid_from f, _valid_to t')).at(-1)).toBe(`2 fits ${at(3)} -`);
    });

    test('new columns come to all versions; one with a name that history needs is a reload', async () => {
      const { copy, log, begun, db } = await one([['1', 'a', 'a']]);
      log.update(0, '1', ['1', 'b', 'a']);
      log.commit();
      await feed(begun, seeded(1));
      await begun.applier[Symbol.asyncDispose]();
      const [followed] = begun.followed;
      if (!followed) throw new Error('It is not followed.');
      const now = { ...followed.table, columns: [...followed.table.columns, column('n', BIGINT)] };
      const claim = await copy.claim(destination);
      await destination.restructure({ claim, table: followed, now, from: position('1'), alter: true });
      expect(await shown(db, 'id, v, n')).toEqual(['1 a -', '1 b -']);
      const taken = { ...now, columns: [...now.columns, column('_VALID_to', BIGINT)] };
      const again = { claim, table: { ...followed, table: now }, now: taken, from: position('1'), alter: true };
      expect(await thrown(destination.restructure(again))).toMatchObject({
        name: 'StructureChanged',
        message: expect.stringContaining('_VALID_to'),
      });
    });

    test('tables that can keep no versions are refused by name; a copy changes its mode with a load only', async () => {
      const { db } = await one([['1', 'a', 'a']]);
      const refused = async (table: Table, more = {}) =>
        (await destination.plan(db, [planOf(db, table, { history: true, run: 2, scope: 2, ...more })]))[0];
      expect(
        await refused(sourceTable('u', [column('id', BIGINT, false), column('_is_current', BIGINT)])),
      ).toMatchObject({
        class: 'UnsupportedValue',
        message: expect.stringContaining('_is_current'),
      });
      expect(await refused(sourceTable('v', [column('id', BIGINT)], { key: [] }))).toMatchObject({
        class: 'UnsupportedValue',
        message: expect.stringContaining('no key'),
      });
      expect(await refused(small, { history: false, skipInitial: true, ranges: [] })).toMatchObject({
        class: 'DestinationRejected',
        message: expect.stringContaining('keeps versions'),
      });
      const plan = planOf(db, small, { run: 2, scope: 2 });
      const made = await planned(destination, db, plan);
      await load(destination, plan, made, 0, '1\tplain\tx\n', 1);
      await destination.seal(db, made.id, made.load, position('end'));
      // This run again, with the mode changed: another load.
      const other = await planned(destination, db, { ...plan, history: true });
      expect(other.load).toBe(made.load + 1);
    });

    test('the table is sharded by the source’s key and keyed by key, ordinal and event', async () => {
      const { db } = await one();
      const [found] = await place.query(`show create table \`${db}\`.t`);
      expect(found?.['Create Table']).toContain('PRIMARY KEY (`id`,`_ordinal`,`_event`)');
    });
  });
}
