import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { expect, inject, test } from 'vitest';
import type { LogEvent } from '../../../src/drivers/changes.ts';
import { describeOne, playground } from '../mysql-fixture.ts';
import { isRow, openAt, readLines, rereadLines, rowText, startAt } from './capture-fixture.ts';

const WRITERS = 4;
const WRITE_MS = 6_000;

/** A random number below `most`, from a seed, so that a failure can be had again. */
function randomOf(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * most);
  };
}

test.each(['mysql9', 'mariadb'] as const)(
  'random transactions on %s, read by a reader that is ended again and again, add up to the table at every commit',
  async (name) => {
    await using ground = await playground(name);
    await using source = await ground.open();
    await ground.sql('create table t (k int primary key, writer int, amount bigint, note varchar(40))');
    const table = await describeOne(source, ground.database, 't');
    const keys = 200;
    await ground.sql(
      `insert into t values ${Array.from({ length: keys }, (_, i) => `(${i}, -1, 1000, 'start')`).join(',')}`,
    );
    const rows = new Map((await readLines(source, table)).map((line) => [line.split('\t')[0] as string, line]));
    const total = () => [...rows.values()].reduce((sum, line) => sum + Number(line.split('\t')[2]), 0);
    const start = await startAt(source, [table]);

    let stopped = false;
    const info = inject(name);
    const writers = Array.from({ length: WRITERS }, async (_, writer) => {
      const random = randomOf(writer + 1);
      const session = await mysql.createConnection({
        host: info.host,
        port: info.port,
        user: info.user,
        password: info.password,
        database: ground.database,
      });
      for (let n = 0; !stopped; n++) {
        const [a, b] = [random(keys), random(keys)];
        const amount = random(100);
        try {
          await session.query('begin');
          // Money only moves: the sum is the same after every commit.
          await session.query(
            `update t set amount = amount - ${amount}, writer = ${writer}, note = 'n${n}' where k = ${a}`,
          );
          await session.query(`update t set amount = amount + ${amount} where k = ${b}`);
          const kind = random(6);
          if (kind === 0 && a !== b) {
            await session.query(`update t set k = -${a + 1} where k = ${a}`);
            await session.query(`update t set k = ${a} where k = ${b}`);
            await session.query(`update t set k = ${b} where k = -${a + 1}`);
          } else if (kind === 1) {
            const [found] = (await session.query(`select * from t where k = ${a} for update`)) as unknown as [
              { amount: number }[],
            ];
            await session.query(`delete from t where k = ${a}`);
            await session.query(`insert into t values (${a}, ${writer}, ${found[0]?.amount}, 'again')`);
          } else if (kind === 2)
            await session.query(`replace into t select k, writer, amount, 'replaced' from t where k = ${b}`);
          await session.query(random(5) === 0 ? 'rollback' : 'commit');
          if (random(150) === 0) await session.query('flush binary logs');
        } catch (error) {
          if (!/deadlock|lock wait/i.test((error as Error).message)) throw error;
          await session.query('rollback');
        }
      }
      await session.end();
    });

    let position = start.position;
    let commits = 0;
    let reads = 0;
    const random = randomOf(99);
    const apply = (events: readonly LogEvent[]) => {
      for (const event of events) {
        if (!isRow(event)) throw new Error(`an event that nothing has caused: ${event.kind}`);
        if (event.kind === 'delete') expect(rows.delete(event.key)).toBe(true);
        else {
          if (event.oldKey !== null) expect(rows.delete(event.oldKey)).toBe(true);
          rows.set(event.key, rowText(event));
        }
      }
    };
    const follow = async (until: 'written' | 'forever', ms: number) => {
      const stop = new AbortController();
      await using capture = await openAt(source, [table], { ...start, position }, { until }, stop.signal);
      const timer = ms > 0 ? setTimeout(() => stop.abort(new Error('enough')), ms) : undefined;
      let open: LogEvent[] = [];
      try {
        for await (const piece of capture.events())
          for (const event of piece) {
            if (event.kind === 'commit') {
              apply(open);
              open = [];
              commits++;
              expect([rows.size, total()]).toEqual([keys, keys * 1000]);
            }
            if (event.kind === 'commit' || event.kind === 'progress') position = event.position;
            else open.push(event);
          }
        if (until === 'written') {
          // What is read again now is what the log said, since nobody writes any more.
          const again = await rereadLines(capture, 0, [...rows.keys()]);
          expect(again.sort()).toEqual([...rows.values()].sort());
          reads++;
        }
      } catch (error) {
        if ((error as Error).message !== 'enough') throw error;
      } finally {
        clearTimeout(timer);
      }
    };
    for (const until = performance.now() + WRITE_MS; performance.now() < until; ) {
      await follow('forever', 200 + random(900));
      await sleep(random(100));
    }
    stopped = true;
    await Promise.all(writers);
    await follow('written', 0);
    expect([...rows.values()].sort()).toEqual((await readLines(source, table)).sort());
    expect(reads).toBe(1);
    expect(commits).toBeGreaterThan(50);
  },
  120_000,
);
