import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Changes, Destination } from '../../src/drivers/destination.ts';
import type { Observe } from '../../src/drivers/singlestore/connection.ts';
import { type Cells, type ChangeLog, pieces, randomTransactions, seeded } from '../fakes/change-log.ts';
import { type Begun, copied } from './apply-fixture.ts';
import { type Place, position, simpleTable, startPlace } from './singlestore-fixture.ts';

const TABLES = Array.from({ length: 4 }, (_, i) => simpleTable(`t${i}`));
const randomCells = (_: number, random: () => number): Cells => [
  String(Math.floor(random() * 30)),
  `v${Math.floor(random() * 1e6)}`,
];
const NOTHING = { inserted: 0, updated: 0, deleted: 0, parked: 0, changedAt: null, writtenAt: null };

async function feed({ applier, events }: Begun, seed = 1): Promise<void> {
  for (const piece of pieces(events(), seeded(seed))) await applier.take(piece);
  await applier.flush();
}

/** What the log says of a table: counts, and the commit time of its last change. */
function said(events: readonly LogEvent[], index: number): Omit<Changes, 'writtenAt'> {
  const counts = { inserted: 0, updated: 0, deleted: 0 };
  let open = false;
  let changedAt: string | null = null;
  for (const event of events) {
    if (event.kind === 'commit') {
      if (open) changedAt = new Date(event.at).toISOString();
      open = false;
    } else if ('table' in event && event.table === index && event.kind !== 'structure') {
      open = true;
      if (event.kind === 'insert') counts.inserted++;
      if (event.kind === 'update') counts.updated++;
      if (event.kind === 'delete') counts.deleted++;
    }
  }
  return { ...counts, parked: 0, changedAt };
}

for (const name of ['MariaDB', 'SingleStore mode'] as const) {
  describe(`what runs have applied, on ${name}`, () => {
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

    /** By table name: its record's counts, and the run's. */
    async function counted(log: ChangeLog, databases: readonly string[], pipeline: string, run = 1) {
      const tables = (await Promise.all(databases.map((database) => destination.tables(database, pipeline)))).flat();
      const ofRun = (
        await Promise.all(databases.map((database) => destination.runTables(database, pipeline, run)))
      ).flat();
      return log.tables.map(({ ref }) => {
        const record = tables.find((one) => one.ref.name === ref.name);
        const mine = ofRun.find((one) => one.ref.name === ref.name);
        return { table: record?.changes, run: mine?.changes };
      });
    }

    async function expectSaid(log: ChangeLog, databases: readonly string[], pipeline: string): Promise<void> {
      const found = await counted(log, databases, pipeline);
      const events = log.events(position('0'));
      let sum = 0;
      for (const [i, { table, run }] of found.entries()) {
        const wanted = said(events, i);
        expect({ i, ...table }).toMatchObject({ i, ...wanted });
        expect({ i, ...run }).toMatchObject({ i, ...wanted });
        expect(table?.writtenAt === null).toBe(wanted.changedAt === null);
        sum += wanted.inserted;
      }
      expect((await destination.runTotals(databases, pipeline, 1)).inserted).toBe(sum);
    }

    test.each([false, true])(
      'are the changes of the log, with the last commit of each; history: %s',
      async (history) => {
        const prefix = history ? 'h ' : 'a ';
        const copy = await copied(place, destination, TABLES, { pipeline: prefix.trim(), prefix, history });
        const { log, databases } = copy;
        const begun = await copy.begin(destination);
        randomTransactions(log, seeded(7), 60, randomCells, { truncates: 0.03 });
        // Only the first table: the others keep the time of their own last change.
        log.insert(0, ['9999', 'last']);
        log.commit();
        await feed(begun);
        await expectSaid(log, databases, prefix.trim());
        const before = await counted(log, databases, prefix.trim());
        await begun.applier.flush();
        expect(await counted(log, databases, prefix.trim())).toEqual(before);
        const { tables } = await destination.runTotals(databases, prefix.trim(), 1);
        expect(tables).toHaveLength(4);
        expect(tables[0]).toMatchObject({ ref: { schema: log.tables[0]?.ref.schema }, changedAt: expect.any(String) });
        await begun.applier[Symbol.asyncDispose]();
      },
    );

    test('are neither lost nor doubled by crashes at any statement, over two databases', async () => {
      const databases = [place.database(), `${place.database()}_2`];
      let crashes = 0;
      for (let round = 0; round < 14; round++) {
        const pipeline = `c${round}`;
        const copy = await copied(place, destination, TABLES, { databases, pipeline, prefix: `${pipeline} ` });
        randomTransactions(copy.log, seeded(100 + round), 25, randomCells, { truncates: 0.02 });
        let count = 0;
        let dead = true;
        const observe: Observe = (sql, when) => {
          if (sql === 'commit' || sql.startsWith('insert into')) count++;
          if (dead && count > 0 && count === round + 1 && when === (round % 2 === 0 ? 'before' : 'after'))
            throw new Error('The process died.');
        };
        const dying = await place.open(observe);
        count = 0;
        const failed = await copy.begin(dying).then(
          (first) => feedSlowly(first, round),
          () => true,
        );
        dead = false;
        await dying[Symbol.asyncDispose]();
        if (failed) crashes++;
        const next = await copy.begin(destination);
        await feed(next, round);
        await next.applier[Symbol.asyncDispose]();
        await expectSaid(copy.log, databases, pipeline);
      }
      expect(crashes).toBeGreaterThan(5);
      await place.query(`drop database \`${databases[1]}\``);
    });

    /** Several writes, one for some events each; true: it failed. */
    async function feedSlowly({ applier, events }: Begun, seed: number): Promise<boolean> {
      try {
        for (const piece of pieces(events(), seeded(seed))) {
          await applier.take(piece);
          if (piece.at(-1)?.kind === 'commit') await applier.flush();
        }
        await applier.flush();
        return false;
      } catch {
        return true;
      } finally {
        await applier[Symbol.asyncDispose]();
      }
    }

    test('are right in passes and in a transaction that is written in parts', async () => {
      const limited = await place.open(undefined, {}, { transactionTables: 11 });
      const copy = await copied(place, destination, TABLES, { pipeline: 'passes', prefix: 'passes ' });
      const { log } = copy;
      for (let i = 0; i < 4; i++) for (let n = 0; n <= i; n++) log.insert(i, [String(n), 'x']);
      log.commit();
      const begun = await copy.begin(limited);
      await feed(begun);
      await begun.applier[Symbol.asyncDispose]();
      await expectSaid(log, copy.databases, 'passes');

      for (let n = 0; n < 55_000; n++) log.insert(0, [String(1000 + n), 'many']);
      for (let n = 0; n < 55_000; n += 2) log.delete(0, String(1000 + n));
      log.update(1, '0', ['0', 'once']);
      log.commit();
      const next = await copy.begin(destination);
      for (const piece of pieces(next.events(), seeded(3), 5_000)) await next.applier.take(piece);
      await next.applier.flush();
      await next.applier[Symbol.asyncDispose]();
      await expectSaid(log, copy.databases, 'passes');
    });

    test('tell of rows that were put aside, and not of rows that were only read again', async () => {
      const copy = await copied(place, destination, [TABLES[0] as (typeof TABLES)[number]], {
        pipeline: 'parked',
        prefix: 'parked ',
        rows: [[['1', 'one']]],
      });
      const [db] = copy.databases as [string];
      copy.log.insert(0, ['2', 'x'.repeat(500)]);
      copy.log.insert(0, ['3', 'fine']);
      copy.log.commit();
      const begun = await copy.begin(destination);
      await feed(begun);
      await begun.applier[Symbol.asyncDispose]();
      const [after] = await counted(copy.log, [db], 'parked');
      expect(after?.table).toMatchObject({ inserted: 2, parked: 1 });
      const id = (await destination.tables(db, 'parked'))[0]?.id as string;
      await place.query(`insert into \`${db}\`._flow_rereads (table_id, row_key, key_text) values ('${id}', 'k', '1')`);
      const again = await copy.begin(destination);
      await again.applier.flush();
      await again.applier[Symbol.asyncDispose]();
      expect(await place.query(`select * from \`${db}\`._flow_rereads where table_id = '${id}'`)).toEqual([]);
      expect((await counted(copy.log, [db], 'parked'))[0]).toEqual(after);
    });

    test('of old runs are kept as sums; a removed pipeline leaves none', async () => {
      const copy = await copied(place, destination, TABLES, { pipeline: 'old', prefix: 'old ' });
      const { log, databases } = copy;
      const [db] = databases as [string];
      log.insert(0, ['1', 'x']);
      log.commit();
      log.insert(2, ['1', 'x']);
      log.commit();
      const begun = await copy.begin(destination);
      await feed(begun);
      await begun.applier[Symbol.asyncDispose]();
      const before = await counted(log, databases, 'old');
      // The load's own run has its record for ever; the rows become those of runs of the stream.
      await place.query(`update \`${db}\`._flow_runs set state = 'streamed' where pipeline = 'old'`);
      const columns = 'pipeline, table_id, source_schema, source_name, target_table, state';
      for (let run = 2; run <= 102; run++)
        await place.query(
          `insert into \`${db}\`._flow_runs (run, ${columns}, updated) select ${run}, ${columns}, 1 from \`${db}\`._flow_runs where pipeline = 'old' and run = 1`,
        );
      // Two streams of the pipeline find them at once.
      const side = { scope: 2, run: 1, token: 0, seq: 0, position: position('0'), slot: 's', identity: 'i' };
      await destination.createScope(db, 'old', side);
      const [next, beside] = await Promise.all([
        copy.begin(destination),
        destination.claimScope([db], 'old', 2, 1).then((claim) =>
          destination.apply({
            ...{ claim, tables: [], capture: log.capture(), reached: () => true, written: async () => log.written() },
            signal: new AbortController().signal,
          }),
        ),
      ]);
      await next.applier[Symbol.asyncDispose]();
      await beside[Symbol.asyncDispose]();
      const left = await place.query(
        `select distinct run from \`${db}\`._flow_runs where pipeline = 'old' order by run`,
      );
      expect(left.map(({ run }) => Number(run))).toEqual(Array.from({ length: 100 }, (_, i) => i + 3));
      const after = await counted(log, databases, 'old');
      for (const [i, { table }] of after.entries()) expect(table).toEqual({ ...before[i]?.table, updated: 101 });
      await destination.remove(db, 'old');
      for (const control of ['_flow_runs', '_flow_tables', '_flow_checkpoints'])
        expect(await place.query(`select * from \`${db}\`.${control} where pipeline = 'old'`)).toEqual([]);
    });

    test('an attempt that has lost its claim counts nothing', async () => {
      const copy = await copied(place, destination, TABLES, { pipeline: 'zombie', prefix: 'zombie ' });
      const zombie = await copy.begin(destination);
      copy.log.insert(0, ['1', 'x']);
      copy.log.commit();
      await copy.claim(destination);
      await expect(feed(zombie)).rejects.toThrow();
      await zombie.applier[Symbol.asyncDispose]();
      expect((await counted(copy.log, copy.databases, 'zombie')).map(({ table }) => table)).toEqual(
        TABLES.map(() => NOTHING),
      );
    });
  });
}
