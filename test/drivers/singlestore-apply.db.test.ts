import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Observe } from '../../src/drivers/singlestore/connection.ts';
import { type Cells, pieces, randomTransactions, seeded } from '../fakes/change-log.ts';
import { anotherAttempt, type Begun, copied, randomCells, TABLES, unpaddedCells } from './apply-fixture.ts';
import {
  BIGINT,
  column,
  copy as copyAgain,
  cutStep,
  PLACES,
  type Place,
  planOf,
  position,
  simpleTable,
  sourceTable,
  startPlace,
  thrown,
} from './singlestore-fixture.ts';

const equal = (found: string[], wanted: string[], what: string) =>
  expect({ what, rows: found }).toEqual({ what, rows: wanted });

/** Ends the process's connections before statement `at`; `seen` collects statements. */
function cutAt(at: number): { observe: Observe; cut: () => boolean; begin: () => void } {
  let count = 0;
  let dead = false;
  let begun = false;
  return {
    cut: () => dead,
    begin: () => {
      begun = true;
    },
    observe(_, when) {
      if (dead) throw new Error('The process is dead.');
      if (!begun || when !== 'before') return;
      count++;
      if (count < at) return;
      dead = true;
      throw new Error('The process died.');
    },
  };
}

async function feedAll({ applier, events }: Begun, random: () => number, most?: number): Promise<void> {
  for (const piece of pieces(events(), random, most)) await applier.take(piece);
  await applier.flush();
}

// MySQL speaks the same dialect as MariaDB here; the suites of scopes and of loads run on it.
for (const name of PLACES.filter((one) => one !== 'MySQL')) {
  describe(`applying changes on ${name}`, () => {
    let place: Place;
    let destination: Destination;
    const cells = name === 'SingleStore mode' ? unpaddedCells : randomCells;
    beforeAll(async () => {
      place = await startPlace(name);
      destination = await place.open();
    });
    afterAll(async () => {
      expect(place.rejections()).toEqual([]);
      await place.stop();
    });
    const table = async (columns: Parameters<typeof sourceTable>[1], more = {}, rows: readonly Cells[] = []) => {
      const copy = await copied(place, destination, [sourceTable('t', columns, more)], { rows: [rows] });
      return { copy, begun: await copy.begin(destination), db: copy.databases[0] as string };
    };

    test.each([1, 2, 3, 4, 5, 6])(
      'random transactions, seed %i: equal to the source after every flush',
      async (seed) => {
        const random = seeded(seed);
        const copy = await copied(place, destination, TABLES, {
          databases: seed % 2 === 0 ? [place.database(), place.database()] : [place.database()],
        });
        const begun = await copy.begin(destination);
        let changes = 0;
        for (let round = 0; round < 6; round++) {
          randomTransactions(copy.log, random, 1 + Math.floor(random() * 60), cells);
          changes += begun.events().filter(({ kind }) => kind !== 'commit' && kind !== 'truncate').length;
          await feedAll(begun, random);
          expect(begun.applier.durable).toBe(copy.log.written());
          expect(begun.applier.durableAt).toBe(Number(copy.log.written()) * 1000);
          expect(begun.applier.pending).toBe(0);
          await copy.expectEqual(equal);
        }
        const counted = begun.applier.applied.map((one) => one.inserted + one.updated + one.deleted);
        expect(counted.reduce((a, b) => a + b, 0)).toBe(changes);
        await begun.applier[Symbol.asyncDispose]();
      },
    );

    test('a crash at any statement: the next claim goes on from what is durable, nothing twice and nothing lost', async () => {
      let apart = 0;
      let cuts = 0;
      const databases = [place.database(), place.database()];
      for (let n = 1; ; n += cutStep(name)) {
        const random = seeded(7);
        const copy = await copied(place, destination, TABLES, { databases, pipeline: `p${n}`, prefix: `${n} ` });
        randomTransactions(copy.log, random, 60, cells, { truncates: 0.005 });
        const { observe, cut, begin } = cutAt(n);
        const dying = await place.open(observe);
        begin();
        const failed = await copy
          .begin(dying)
          .then((begun) => feedAll(begun, seeded(8)))
          .then(
            () => false,
            () => true,
          );
        await dying[Symbol.asyncDispose]();
        expect(failed).toBe(cut());
        const begun = await copy.begin(destination);
        const positions = new Set(begun.claim.databases.map((one) => one.position));
        if (positions.size > 1) apart++;
        await feedAll(begun, seeded(9));
        await copy.expectEqual(equal);
        await begun.applier[Symbol.asyncDispose]();
        if (!failed) break;
        cuts++;
      }
      expect(cuts * cutStep(name)).toBeGreaterThan(25);
      expect(apart).toBeGreaterThan(0);
    }, 300_000);

    test('an attempt whose scope was claimed again is fenced at every statement', async () => {
      const db = place.database();
      for (let n = 1; ; n += cutStep(name)) {
        const copy = await copied(place, destination, TABLES, { databases: [db], pipeline: `z${n}`, prefix: `z${n} ` });
        randomTransactions(copy.log, seeded(n), 30, cells, { truncates: 0 });
        let count = 0;
        let claimed: Promise<unknown> | undefined;
        let begun = false;
        const old = await place.open((_, when) => {
          if (!begun || when !== 'before' || ++count !== n) return;
          // The heir claims while the zombie goes on; every other time it can't end the zombie's connection.
          const forget = `update \`${db}\`._flow_checkpoints set connections = null`;
          claimed = (n % 2 === 0 ? place.query(forget).catch(() => []) : Promise.resolve([])).then(() =>
            copy.claim(destination),
          );
        });
        const zombie = await copy.begin(old);
        begun = true;
        const answer = await feedAll(zombie, seeded(2)).then(
          () => 'all',
          () => 'ended',
        );
        if (claimed === undefined) break;
        await claimed;
        if (answer === 'ended') expect(await thrown(zombie.applier.flush())).toBeInstanceOf(Error);
        await old[Symbol.asyncDispose]();
        const heir = await copy.begin(destination);
        expect(['0', copy.log.written()]).toContain(heir.claim.databases[0]?.position);
        await feedAll(heir, seeded(3));
        await copy.expectEqual(equal);
        await heir.applier[Symbol.asyncDispose]();
        expect(n).toBeLessThan(80);
      }
    }, 300_000);

    test('a zombie that the heir could not end finds its token void', async () => {
      const { copy, begun, db } = await table(simpleTable().columns);
      await place.query(`update \`${db}\`._flow_checkpoints set connections = null`);
      copy.log.insert(0, ['1', 'zombie']);
      copy.log.commit();
      await begun.applier.take(begun.events());
      await copy.claim(destination);
      expect(await thrown(begun.applier.flush())).toMatchObject(anotherAttempt);
      expect(await thrown(begun.applier.take([]))).toMatchObject(anotherAttempt);
      expect(await place.query(`select * from \`${db}\`.t`)).toEqual([]);
    });

    test('a checkpoint row that someone else has written ends the attempt', async () => {
      const { copy, begun, db } = await table(simpleTable().columns);
      await place.query(`update \`${db}\`._flow_checkpoints set seq = seq + 5`);
      copy.log.insert(0, ['1', 'x']);
      copy.log.commit();
      expect(await thrown(feedAll(begun, seeded(1)))).toMatchObject(anotherAttempt);
      expect(await place.query(`select * from \`${db}\`.t`)).toEqual([]);
    });

    test('a claim ends the connection of an attempt that hangs in the middle of a transaction', async () => {
      const { copy, begun, db } = await table(simpleTable().columns, {}, [['1', 'a']]);
      const gate = Promise.withResolvers<void>();
      const hanging = { ...begun.capture };
      const zombie = await copy.begin(destination, {
        capture: {
          ...hanging,
          // biome-ignore lint/correctness/useYield: It never comes to that.
          async *reread() {
            await gate.promise;
            return { rows: 0, rules: [] };
          },
        },
      });
      copy.log.update(0, '2', ['2', '\\N'], [1]);
      copy.log.contents[0]?.set('2', ['2', 'x']);
      copy.log.commit();
      await zombie.applier.take(zombie.events());
      const flushed = thrown(zombie.applier.flush());
      const isLocked = () =>
        place.query(`select * from \`${db}\`._flow_checkpoints for update nowait`).then(
          () => false,
          () => true,
        );
      while (!(await isLocked())) await new Promise((resolve) => setTimeout(resolve, 20));
      const before = performance.now();
      const heir = await copy.begin(destination);
      expect(performance.now() - before).toBeLessThan(20_000);
      gate.resolve();
      await flushed;
      await feedAll(heir, seeded(1));
      await copy.expectEqual(equal);
    });

    test('claims are refused to older runs and of scopes that are gone', async () => {
      const { copy } = await table(simpleTable().columns);
      await destination.claimScope(copy.databases, 'p', 1, 3);
      expect(await thrown(destination.claimScope(copy.databases, 'p', 1, 2))).toMatchObject({ name: 'Superseded' });
      expect(await thrown(destination.claimScope(copy.databases, 'p', 9, 9))).toMatchObject({ name: 'Superseded' });
      expect(await thrown(destination.claimScope([place.database()], 'p', 1, 3))).toMatchObject({ name: 'Superseded' });
    });

    test('a row that the log does not say all of is read from the source, and the table is ahead until there', async () => {
      const columns = [...simpleTable().columns, column('w', { kind: 'varchar', length: 20 })];
      const { copy, begun, db } = await table(columns, {}, [
        ['1', 'a', 'A'],
        ['2', 'b', 'B'],
        ['3', 'c', 'C'],
      ]);
      const { log } = copy;
      // A key change without all columns; a part of a row that is not there; a part of one that has gone at the source.
      log.update(0, '1', ['10', 'a', 'A'], [2]);
      await place.query(`delete from \`${db}\`.t where id in (2, 3)`);
      log.update(0, '2', ['2', 'bb', 'B'], [2]);
      log.update(0, '3', ['3', 'cc', 'C'], [2]);
      log.commit();
      const early = begun.events();
      log.delete(0, '3');
      log.commit();
      log.insert(0, ['5', 'late', '\\N']);
      log.commit();
      await begun.applier.take(early);
      await begun.applier.flush();
      expect(begun.capture.rereads.flatMap(([, keys]) => keys).sort()).toEqual(['10', '2', '3']);
      expect(await place.query(`select * from \`${db}\`.t order by id`)).toEqual([
        { id: '2', v: 'bb', w: 'B' },
        { id: '10', v: 'a', w: 'A' },
      ]);
      expect(begun.applier.caughtUp.size).toBe(0);
      const state = `select state, ahead_until from \`${db}\`._flow_tables`;
      expect(await place.query(state)).toEqual([{ state: 'loaded', ahead_until: '3' }]);
      await feedAll(begun, seeded(1));
      expect([...begun.applier.caughtUp]).toEqual([0]);
      expect(await place.query(state)).toEqual([{ state: 'consistent', ahead_until: null }]);
      await copy.expectEqual(equal);
    });

    test('what is known of a row in the batch is put together without asking the source', async () => {
      const columns = [...simpleTable().columns, column('w', { kind: 'varchar', length: 20 })];
      const { copy, begun } = await table(columns, {}, [['1', 'a', 'A']]);
      const { log } = copy;
      log.update(0, '1', ['1', 'b', 'A'], [2]);
      log.update(0, '1', ['1', 'b', 'C'], [1]);
      log.insert(0, ['2', 'x', '\\N']);
      log.commit();
      log.update(0, '2', ['2', 'y', '\\N'], [2]);
      log.update(0, '2', ['3', 'y', '\\N'], [1, 2]);
      log.commit();
      await feedAll(begun, seeded(1));
      expect(begun.capture.rereads).toEqual([]);
      await copy.expectEqual(equal);
    });

    test('NULL, empty and odd cells stay what they are through parts of rows', async () => {
      const columns = [...(TABLES[1]?.columns ?? [])];
      const rows = [
        ['\\N', '00', 'a', '\\N', '1.5'],
        ['', '', '', '', '\\N'],
      ] as const;
      const { copy, begun } = await table(columns, { key: ['a', 'b'], textKey: true }, rows);
      const { log } = copy;
      log.update(0, log.keyOf(0, rows[0]), ['', '00', 'a', '', '1.5'], [4]);
      log.update(0, log.keyOf(0, rows[1]), ['\\N', '', '', '\\N', '\\N'], [4]);
      log.commit();
      await feedAll(begun, seeded(1));
      await copy.expectEqual(equal);
      log.update(0, log.keyOf(0, rows[0]), ['\\N', '00', 'a', '', '\\N'], [3]);
      log.commit();
      await feedAll(begun, seeded(1));
      await copy.expectEqual(equal);
      expect(begun.capture.rereads).toEqual([]);
    });

    test('more than 63 columns need more than one mask', async () => {
      const columns = [column('id', BIGINT, false), ...Array.from({ length: 130 }, (_, i) => column(`c${i}`, BIGINT))];
      const before = ['1', ...Array.from({ length: 130 }, (_, i) => String(i))];
      const { copy, begun } = await table(columns, {}, [before]);
      const unknown = [1, 62, 63, 64, 126, 127, 130];
      const after = before.map((cell, i) => (i === 0 || unknown.includes(i) ? cell : String(Number(cell) + 1000)));
      copy.log.update(0, '1', after, unknown);
      copy.log.commit();
      await feedAll(begun, seeded(1));
      await copy.expectEqual(equal);
    });

    test('a transaction beyond a batch is written in parts and seen whole or not at all', async () => {
      const { copy, begun, db } = await table(simpleTable().columns, {}, [
        ['1', 'a'],
        ['2', 'b'],
      ]);
      const { log } = copy;
      log.insert(0, ['-1', 'first']);
      log.commit();
      // These two swap their keys at once; the first half is in another part than the second.
      log.update(0, '1', ['2', 'a']);
      log.contents[0]?.set('1', ['1', 'b']);
      for (let i = 3; i < 130_000; i++) log.insert(0, [String(i), `row ${i}`]);
      log.update(0, '2', ['1', 'b']);
      log.contents[0]?.set('2', ['2', 'a']);
      log.update(0, '77', ['77', '\\N'], [1]);
      log.contents[0]?.set('77', ['77', 'row 77']);
      for (let i = 3; i < 60_000; i += 2) log.update(0, String(i), [String(i), 'again']);
      log.commit();
      log.insert(0, ['-2', 'last']);
      log.commit();
      const all = begun.events();
      const last = all.slice(-3);
      for (const piece of pieces(all.slice(0, -3), seeded(1), 5000)) {
        await begun.applier.take(piece);
        const seen = await place.query(`select count(*) n from \`${db}\`.t`);
        expect(['2', '3']).toContain(seen[0]?.['n']);
      }
      await begun.applier.flush();
      expect(begun.applier.durable).toBe('1');
      expect(await place.query(`select count(*) n from \`${db}\`.t`)).toEqual([{ n: '3' }]);
      await begun.applier.take(last.slice(0, 1));
      await begun.applier.flush();
      const stored = `select position, ordinal from \`${db}\`._flow_checkpoints`;
      expect(await place.query(stored)).toEqual([{ position: '2', ordinal: '2' }]);
      await begun.applier.take(last.slice(1));
      await begun.applier.flush();
      expect(begun.applier.durable).toBe('3');
      expect(begun.applier.pending).toBe(0);
      await copy.expectEqual(equal);
      expect(begun.capture.rereads).toEqual([[0, ['2']]]);
    }, 120_000);

    test('a cell of 24 MB arrives whole', async () => {
      const columns = [column('id', BIGINT, false), column('v', { kind: 'text', size: 'long' }), column('n', BIGINT)];
      const { copy, begun, db } = await table(columns, {}, [['1', 'a', '1']]);
      const huge = 'häß'.repeat(5_000_000);
      copy.log.insert(0, ['2', huge, '2']);
      copy.log.update(0, '2', ['2', huge, '3'], [1]);
      copy.log.commit();
      copy.log.update(0, '1', ['1', huge, '1'], [2]);
      copy.log.commit();
      await feedAll(begun, seeded(1), 1);
      const found = await place.query(`select id, n, length(v) l, sha2(v, 256) h from \`${db}\`.t order by id`);
      const { createHash } = await import('node:crypto');
      const h = createHash('sha256').update(huge).digest('hex');
      const l = String(Buffer.byteLength(huge));
      expect(found).toEqual([
        { id: '1', n: '1', l, h },
        { id: '2', n: '3', l, h },
      ]);
    }, 120_000);

    test('databases without changes get their position with every flush, and progress moves all', async () => {
      const copy = await copied(place, destination, [simpleTable('a'), simpleTable('b')], {
        databases: [place.database(), place.database()],
      });
      const begun = await copy.begin(destination);
      copy.log.insert(0, ['1', 'x']);
      copy.log.commit();
      await feedAll(begun, seeded(1));
      expect(begun.applier.durable).toBe('1');
      await begun.applier.take([{ kind: 'progress', position: position('9'), atEnd: true }]);
      await begun.applier.flush();
      expect(begun.applier.durable).toBe('9');
      await begun.applier[Symbol.asyncDispose]();
      const { databases } = await copy.claim(destination);
      expect(databases.map((one) => one.position)).toEqual(['9', '9']);
      expect(databases.map((one) => one.seq)).toEqual([2, 2]);
    });

    test('without a flush all databases get their position every ten seconds', async () => {
      const { begun, copy } = await table(simpleTable().columns);
      copy.log.insert(0, ['1', 'x']);
      copy.log.commit();
      const clock = vi.spyOn(Date, 'now');
      try {
        await begun.applier.take(begun.events());
        expect(begun.applier.durable).toBe('0');
        clock.mockImplementation(() => performance.timeOrigin + performance.now() + 11_000);
        await begun.applier.take([{ kind: 'progress', position: position('5'), atEnd: false }]);
        expect(begun.applier.durable).toBe('5');
      } finally {
        clock.mockRestore();
      }
      await copy.expectEqual(equal);
    });

    test('a capture that breaks its promises is not believed', async () => {
      const copy = await copied(place, destination, [simpleTable('a'), simpleTable('b')], {
        databases: [place.database(), place.database()],
      });
      const [first, second] = copy.databases as [string, string];
      await place.query(`update \`${second}\`._flow_checkpoints set position = '5'`);
      copy.log.insert(1, ['1', 'held already']);
      copy.log.commit();
      const begun = await copy.begin(destination, { capture: copy.log.capture() });
      const twice = begun.applier.take(copy.log.events(position('0')));
      expect((await thrown(twice)).message).toContain('holds already');
      const other = await copy.begin(destination);
      const [insert] = copy.log.events(position('0'));
      const torn = [insert as LogEvent, { kind: 'progress' as const, position: position('3'), atEnd: true }];
      expect((await thrown(other.applier.take(torn))).message).toContain('inside a transaction');
      expect(await place.query(`select position from \`${first}\`._flow_checkpoints`)).toEqual([{ position: '0' }]);
    });

    test('takes pieces while an earlier batch is written, and waits when a second one is full', async () => {
      const { copy } = await table([...simpleTable().columns, column('w', BIGINT)], {}, [['1', 'a', '1']]);
      const gate = Promise.withResolvers<void>();
      const { log } = copy;
      const base = log.capture();
      const begun = await copy.begin(destination, {
        capture: {
          ...base,
          async *reread(index, keys) {
            await gate.promise;
            return yield* base.reread(index, keys);
          },
        },
      });
      log.update(0, '1', ['2', 'a', '1'], [2]);
      for (let i = 10; i < 50_010; i++) log.insert(0, [String(i), 'x', '1']);
      log.commit();
      for (let t = 0; t < 3; t++) {
        for (let i = 0; i < 50_000; i++) log.insert(0, [String(100_000 * (t + 1) + i), 'y', '2']);
        log.commit();
      }
      const transactions = pieces(begun.events(), () => 0.999999, 100_000).flat();
      const ends = transactions.flatMap(({ kind }, i) => (kind === 'commit' ? [i + 1] : []));
      const part = (i: number) => transactions.slice(ends[i - 1] ?? 0, ends[i]);
      await begun.applier.take(part(0));
      let third = 'waits';
      await begun.applier.take(part(1).slice(0, -1).slice(0, 20_000));
      const rest = begun.applier.take(part(1).slice(20_000)).then(() => {
        third = 'taken';
      });
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(third).toBe('waits');
      expect(begun.applier.pending).toBe(100_001);
      gate.resolve();
      await rest;
      await begun.applier.take(part(2));
      await begun.applier.take(part(3));
      await begun.applier.flush();
      await copy.expectEqual(equal);
    }, 120_000);

    describe('a row that the destination refuses', () => {
      const LONG = 'much too long for twenty characters';
      const letters = (db: string) =>
        place.query(`select key_text k, reason r, letter l from \`${db}\`._flow_dead_letters order by 1`);
      const rowsOf = async (db: string) =>
        (await place.query(`select id, v from \`${db}\`.t order by 1`)).map(({ id, v }) => `${id} ${v}`);

      test('is named, and nothing of its transaction stays, when it is to end the run', async () => {
        const { copy, db } = await table(simpleTable().columns);
        const begun = await copy.begin(await place.open(undefined, { on_row_error: 'pipeline' }));
        copy.log.insert(0, ['1', 'fine']);
        copy.log.insert(0, ['2', LONG]);
        copy.log.commit();
        await begun.applier.take(begun.events());
        const error = await thrown(begun.applier.flush());
        expect(error).toMatchObject({ name: 'DestinationRejected', action: expect.stringContaining('types') });
        expect(error.message).toMatch(/src\.t .*id = 2, column v.*too long/);
        expect(await rowsOf(db)).toEqual([]);
        expect((await copy.claim(destination)).databases).toMatchObject([{ position: '0' }]);
      });

      test('ends the copy of its table only, when that is asked for', async () => {
        const copy = await copied(place, destination, [simpleTable('t'), simpleTable('u')]);
        const [db] = copy.databases as [string];
        const begun = await copy.begin(await place.open(undefined, { on_row_error: 'table' }));
        expect(begun.applier.gaveUp).toBe(false);
        copy.log.insert(0, ['1', LONG]);
        copy.log.insert(1, ['1', 'fine']);
        copy.log.commit();
        await feedAll(begun, seeded(1));
        expect(begun.applier.durable).toBe('1');
        expect(begun.applier.gaveUp).toBe(true);
        copy.log.insert(0, ['2', 'later']);
        copy.log.insert(1, ['2', 'fine']);
        copy.log.commit();
        await feedAll(begun, seeded(1));
        expect(await rowsOf(db)).toEqual([]);
        expect(await place.query(`select * from \`${db}\`.u`)).toHaveLength(2);
        expect(await destination.tables(db, 'p')).toMatchObject([
          { state: 'error', error: { class: 'DestinationRejected', message: expect.stringContaining('id = 1') } },
          { state: 'consistent', error: null },
        ]);
        expect(await destination.followed([db], 'p', 1)).toHaveLength(1);
      });

      test('is put aside with its reason, the others go on, and a state that fits takes the letter away', async () => {
        const { copy, begun, db } = await table(simpleTable().columns, {}, [
          ['1', 'a'],
          ['2', 'b'],
          ['3', 'c'],
        ]);
        const { log } = copy;
        log.update(0, '2', ['2', LONG]);
        for (let i = 10; i < 60; i++) log.insert(0, [String(i), i % 25 === 0 ? LONG : 'x']);
        log.update(0, '3', ['3', 'cc']);
        log.commit();
        await feedAll(begun, seeded(1));
        expect(begun.applier.durable).toBe('1');
        expect(begun.applier.applied).toMatchObject([{ parked: 3 }]);
        expect(await letters(db)).toEqual(
          ['2', '25', '50'].map((k) => ({
            k,
            r: expect.stringMatching(/src\.t .*column v.*too long/),
            l: `${k}\t${LONG}\n`,
          })),
        );
        expect(await rowsOf(db)).toHaveLength(50);
        expect(await rowsOf(db)).toEqual(expect.arrayContaining(['1 a', '3 cc', '10 x', '59 x']));
        // A later attempt knows of them: still too long, gone, a key change, and one that fits.
        const next = await copy.begin(destination);
        log.update(0, '2', ['2', `${LONG}!`]);
        log.delete(0, '25');
        log.update(0, '50', ['70', 'fits']);
        log.commit();
        await feedAll(next, seeded(1));
        expect((await letters(db)).map(({ k, l }) => [k, l])).toEqual([['2', `2\t${LONG}!\n`]]);
        log.update(0, '2', ['2', 'fits']);
        log.commit();
        await feedAll(next, seeded(1));
        expect(await letters(db)).toEqual([]);
        await copy.expectEqual(equal);
      });

      test('is found in parts of rows and in what is read again', async () => {
        const columns = [...simpleTable().columns, column('w', { kind: 'varchar', length: 20 })];
        const { copy, begun, db } = await table(columns, {}, [
          ['1', 'a', 'A'],
          ['2', 'b', 'B'],
        ]);
        const { log } = copy;
        log.update(0, '1', ['1', LONG, 'A'], [2]);
        log.update(0, '2', ['3', LONG, 'B'], [2]);
        log.insert(0, ['4', 'd', 'D']);
        log.commit();
        await feedAll(begun, seeded(1));
        expect((await letters(db)).map(({ k }) => k)).toEqual(['1', '3']);
        expect(await rowsOf(db)).toEqual(['4 d']);
        log.update(0, '1', ['1', 'short', 'A'], [2]);
        log.update(0, '3', ['3', 'short', 'B'], [2]);
        log.commit();
        await feedAll(begun, seeded(1));
        expect(await letters(db)).toEqual([]);
        await copy.expectEqual(equal);
      });

      test('in a transaction that is written in parts is put aside by the next attempt', async () => {
        const { copy, db } = await table(simpleTable().columns, {}, [['7', 'before']]);
        const { log } = copy;
        log.update(0, '7', ['7', LONG]);
        for (let i = 10; i < 120_010; i++) log.insert(0, [String(i), i === 110_000 ? LONG : 'x']);
        log.delete(0, '7');
        log.commit();
        let attempts = 0;
        for (; attempts < 5; attempts++) {
          const begun = await copy.begin(destination);
          const failed = await (async () => {
            for (const piece of pieces(begun.events(), seeded(1), 4000)) await begun.applier.take(piece);
            await begun.applier.flush();
          })().then(
            () => undefined,
            (error: Error) => error,
          );
          await begun.applier[Symbol.asyncDispose]();
          if (failed === undefined) break;
          expect(failed.message).toContain('written again without it');
          expect(await rowsOf(db)).toEqual(['7 before']);
        }
        expect(attempts).toBe(1);
        expect(await letters(db)).toMatchObject([{ k: '110000' }]);
        log.contents[0]?.delete('110000');
        await copy.expectEqual(equal);
      }, 120_000);

      test('is put aside whole or not at all, wherever the attempt dies', async () => {
        const db = place.database();
        let cuts = 0;
        for (let n = 1; ; n += cutStep(name)) {
          const copy = await copied(place, destination, [simpleTable('t')], {
            databases: [db],
            pipeline: `p${n}`,
            prefix: `${n}`,
            rows: [
              [
                ['1', 'a'],
                ['2', 'b'],
              ],
            ],
          });
          const { log } = copy;
          log.update(0, '1', ['1', LONG]);
          log.insert(0, ['3', 'c']);
          log.update(0, '2', ['2', 'bb']);
          log.commit();
          const { observe, cut, begin } = cutAt(n);
          const dying = await place.open(observe);
          begin();
          const failed = await copy
            .begin(dying)
            .then((begun) => feedAll(begun, seeded(8)))
            .then(
              () => false,
              () => true,
            );
          await dying[Symbol.asyncDispose]();
          expect(failed).toBe(cut());
          const begun = await copy.begin(destination);
          await feedAll(begun, seeded(9));
          await begun.applier[Symbol.asyncDispose]();
          const id = begun.followed[0]?.id;
          const kept = await place.query(
            `select key_text k from \`${db}\`._flow_dead_letters where table_id = '${id}'`,
          );
          expect(kept).toEqual([{ k: '1' }]);
          log.contents[0]?.delete('1');
          await copy.expectEqual(equal);
          if (!failed) break;
          cuts++;
        }
        expect(cuts * cutStep(name)).toBeGreaterThan(25);
      }, 120_000);

      // A connection per refusal: long, and the same on every server.
      if (name === 'MariaDB')
        test('more than a thousand of a table are an error of the table', async () => {
          const { copy, begun, db } = await table(simpleTable().columns);
          for (let i = 0; i < 1001; i++) copy.log.insert(0, [String(i), LONG]);
          copy.log.commit();
          await feedAll(begun, seeded(1));
          expect(begun.applier.durable).toBe('1');
          expect(await destination.tables(db, 'p')).toMatchObject([{ state: 'error' }]);
          expect(await letters(db)).toEqual([]);
        }, 120_000);

      test('is read again after a change of structure', async () => {
        const { copy, begun, db } = await table(simpleTable().columns, {}, [
          ['1', 'a'],
          ['2', 'b'],
        ]);
        const { log } = copy;
        log.update(0, '1', ['1', LONG]);
        log.insert(0, ['3', `${LONG}!`]);
        log.commit();
        await feedAll(begun, seeded(1));
        await begun.applier[Symbol.asyncDispose]();
        log.delete(0, '3');
        log.commit();
        const [followed] = begun.followed;
        const claim = await copy.claim(destination);
        const wider = {
          ...simpleTable('t'),
          columns: [column('id', BIGINT, false), column('v', { kind: 'varchar', length: 200 })],
        };
        if (!followed) throw new Error('It is not followed.');
        await destination.restructure({ claim, table: followed, now: wider, from: position('1'), alter: true });
        const next = await copy.begin(destination);
        expect(await rowsOf(db)).toEqual([`1 ${LONG}`, '2 b']);
        expect(await letters(db)).toEqual([]);
        expect(await place.query(`select * from \`${db}\`._flow_rereads`)).toEqual([]);
        expect(await place.query(`select state, ahead_until from \`${db}\`._flow_tables`)).toEqual([
          { state: 'loaded', ahead_until: '2' },
        ]);
        await feedAll(next, seeded(1));
        await copy.expectEqual(equal);
      });

      test('goes with its letter when the table is loaded anew', async () => {
        const { copy, begun, db } = await table(simpleTable().columns);
        copy.log.insert(0, ['1', LONG]);
        copy.log.commit();
        await feedAll(begun, seeded(1));
        expect(await letters(db)).toHaveLength(1);
        await copyAgain(destination, planOf(db, simpleTable(), { run: 2, scope: 2 }), '1\tshort\n', 1);
        expect(await letters(db)).toEqual([]);
      });
    });

    test('keys are compared as bytes; what the destination holds equal is refused, never mixed', async () => {
      const columns = [column('k', { kind: 'varchar', length: 20 }, false), column('v', BIGINT)];
      const { copy, begun, db } = await table(columns, { textKey: true }, [
        ['a', '1'],
        ['b', '2'],
      ]);
      const { log } = copy;
      log.insert(0, ['A', '3']);
      log.insert(0, ['gone ', '4']);
      log.delete(0, 'gone ');
      log.delete(0, 'b ');
      log.update(0, 'a', ['á', '5']);
      log.insert(0, ['a ', '6']);
      log.commit();
      await feedAll(begun, seeded(1));
      await copy.expectEqual(equal);
      log.insert(0, ['a', '7']);
      log.commit();
      if (name !== 'SingleStore mode') {
        await feedAll(begun, seeded(1));
        await copy.expectEqual(equal);
        return;
      }
      expect((await thrown(feedAll(begun, seeded(1)))).message).toMatch(/Two rows of src\.t have/);
      expect((await place.query(`select * from \`${db}\`.t where v = 6`)).length).toBe(1);
    });

    test('a staging table of another structure, or with rows of a stranger, is made anew or does no harm', async () => {
      const { copy, begun, db } = await table(simpleTable().columns, {}, [
        ['1', 'a'],
        ['2', 'b'],
      ]);
      const stage = `\`${db}\`.\`_flow_${begun.followed[0]?.id}_stage\``;
      await place.query(`create table ${stage} (other int)`);
      copy.log.delete(0, '1');
      copy.log.commit();
      await feedAll(begun, seeded(1));
      await copy.expectEqual(equal);
      expect(await place.query(`select * from ${stage}`)).toEqual([]);
      await place.query(`drop table ${stage}`);
      copy.log.delete(0, '2');
      copy.log.commit();
      expect((await thrown(feedAll(begun, seeded(1)))).message).toContain('was replaced');
      const next = await copy.begin(destination);
      await feedAll(next, seeded(1));
      await copy.expectEqual(equal);
    });
  });
}
