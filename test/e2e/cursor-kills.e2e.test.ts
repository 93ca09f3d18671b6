import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { compareTables, describeDifferences } from '../../scripts/compare.ts';
import type { Run } from '../../src/workflows/messages.ts';
import { type Api, configure, createPipeline, requestFull, runEnd } from '../chaos/api.ts';
import { type Fleet, type Mode, type Part, type SourceName, startFleet, victimOf } from '../chaos/fleet.ts';

/** What is killed in which round of deltas. */
const BLOWS: readonly Part[] = ['worker', 'destination', 'source', 'worker', 'temporal', 'worker'];
const ROWS = 30_000;

let fleet: Fleet | undefined;
afterEach(() => fleet?.stop());

/** A session at the source that is made anew when the server was killed. */
function session({ sourceName, source: { host, port, user, password } }: Fleet) {
  return async (sql: string): Promise<void> => {
    if (sourceName === 'postgres') {
      const client = new pg.Client({ host, port, user, password, database: 'postgres' });
      client.on('error', () => {});
      await client.connect();
      await client.query(sql).finally(() => client.end());
    } else {
      const client = await mysql.createConnection({ host, port, user, password, multipleStatements: true });
      client.on('error', () => {});
      await client.query(`use shop; ${sql}`).finally(() => client.destroy());
    }
  };
}

async function seed(
  { sourceName, source: { host, port, user, password } }: Fleet,
  run: (sql: string) => Promise<void>,
) {
  if (sourceName === 'postgres')
    return run(`create table followed (id int primary key, v text, at timestamptz(3) not null default clock_timestamp());
      insert into followed select i, 'row ' || i from generate_series(1, ${ROWS}) i; create index on followed (at);
      create function touch() returns trigger language plpgsql as 'begin new.at = clock_timestamp(); return new; end';
      create trigger touch before update on followed for each row execute function touch()`);
  const client = await mysql.createConnection({ host, port, user, password });
  await client.query('create database shop');
  client.destroy();
  return run(`create table followed (id int primary key, v text,
      at timestamp(3) not null default current_timestamp(3) on update current_timestamp(3), index (at));
    insert into followed (id, v) select seq, concat('row ', seq) from seq_1_to_${ROWS}`);
}

/** Transactions that commit some time after they wrote, or roll back; what a kill ended is nobody's. */
function startWriter({ sourceName }: Fleet, run: (sql: string) => Promise<void>) {
  let on = true;
  let turns = 0;
  const sleep = sourceName === 'postgres' ? 'select pg_sleep(0.3)' : 'do sleep(0.3)';
  const write = async (): Promise<void> => {
    while (on) {
      const turn = ++turns;
      const from = (turn * 7919) % ROWS;
      await run(
        `begin; update followed set v = concat('turn ', ${turn}) where id between ${from} and ${from + 300};
         insert into followed (id, v) values (${ROWS + turn}, 'new'); ${sleep}; ${turn % 7 === 0 ? 'rollback' : 'commit'}`,
      ).catch(() => delay(200));
    }
  };
  const done = Promise.all([write(), write()]);
  return {
    turns: () => turns,
    async stop() {
      on = false;
      await done;
    },
  };
}

async function delta(api: Api): Promise<Run> {
  for (;;) {
    const answer = await api.send<{ success: boolean; run?: Run }>('POST', '/ops/extract/delta');
    if (answer.run) return answer.run;
    await delay(300);
  }
}

const cases: [SourceName, Mode][] = [
  ['postgres', 'mariadb'],
  ['mariadb', 'singlestore'],
];

describe.skipIf(!process.env['FLOW_MATRIX']).each(cases)('%s, followed by cursors, in %s', (sourceName, mode) => {
  it('is exact, whatever is killed during its deltas', { timeout: 600_000 }, async () => {
    fleet = await startFleet(sourceName, mode);
    const { source, destination, address } = fleet;
    const run = session(fleet);
    await seed(fleet, run);
    const api = await createPipeline(fleet.url, 'cursors');
    const db = 'copy';
    const postgres = sourceName === 'postgres';
    const schema = postgres ? 'public' : 'shop';
    const params = {
      host: source.host,
      port: String(source.port),
      uid: source.user,
      pwd: source.password,
      capture: 'cursor',
    };
    const path = [postgres ? 'postgres' : 'default', schema];
    await configure(
      api,
      {
        params: { ...params, type: postgres ? 'rds.pgres' : 'rds.mysql', ...(postgres ? { db: 'postgres' } : {}) },
        path,
        tables: ['followed'],
      },
      {
        host: address.host,
        port: String(address.port),
        uid: destination.user,
        pwd: destination.password,
        type: 'rds.sstorem',
        db,
      },
    );
    await api.send('PATCH', `/config-tab/${path.join('/')}/followed`, { cursor: ['at'] });
    expect(await runEnd(api, (await requestFull(api)).id, 120_000)).toMatchObject({ state: 'succeeded' });

    const writer = startWriter(fleet, run);
    for (const [round, part] of BLOWS.entries()) {
      const begun = await delta(api);
      await delay(100 + round * 150);
      // All workers at once: nobody is left to end the delta in order.
      const victims = part === 'worker' ? [0, 1] : [0];
      const killed = victims.map((index) => victimOf(fleet as Fleet, part, index));
      await Promise.all(killed.map((one) => one.kill9()));
      await delay(500);
      await Promise.all(killed.map((one) => one.restart()));
      await fleet.ready();
      expect(await runEnd(api, begun.id, 180_000), `${round}: ${part}`).toMatchObject({ error: null });
    }
    await writer.stop();
    expect(writer.turns()).toBeGreaterThan(20);
    expect(await runEnd(api, (await delta(api)).id, 180_000)).toMatchObject({ state: 'succeeded' });
    const { host, port, user, password } = source;
    const compared = await compareTables(
      postgres
        ? { kind: 'postgres', database: 'postgres', host, port, user, password }
        : { kind: 'mysql', host, port, user, password },
      { host: destination.host, port: destination.port, user: destination.user, password: destination.password },
      [{ source: { schema, name: 'followed' }, destination: { schema: db, name: 'followed' } }],
    );
    expect(compared.flatMap(describeDifferences)).toEqual([]);
    expect(compared[0]?.destinationRows).toBeGreaterThan(ROWS);
    expect(fleet.rejections()).toEqual([]);
  });
});
