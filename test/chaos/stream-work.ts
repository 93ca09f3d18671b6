import { setTimeout as delay } from 'node:timers/promises';
import { makeRandom, type Random } from '../../scripts/demo/random.ts';
import type { ChaosSource, SourceSession } from './source.ts';
import { odd } from './tables.ts';

/** Accounts in two tables between which money moves: what all of them hold together never changes. */
const ACCOUNTS = 100;
const EACH = 1_000;
export const MONEY = 2 * ACCOUNTS * EACH;
export const accountTables = ['account_a', 'account_b'] as const;

/** Adds what only streams need to the source of a fleet. */
export async function addAccounts(source: ChaosSource): Promise<void> {
  const session = await source.connect();
  try {
    for (const name of accountTables) {
      await session.query(`create table ${name} (id int primary key, balance bigint not null, note varchar(200))`);
      const rows = Array.from({ length: ACCOUNTS }, (_, id) => `(${id}, ${EACH}, null)`);
      await session.query(`insert into ${name} values ${rows.join(', ')}`);
    }
    await session.query('create table altered (id int primary key, v varchar(50))');
  } finally {
    await session.close();
  }
}

export type Work = {
  /** Stops writing once the transaction under way has ended; how many were committed. */
  stop(): Promise<{ readonly transactions: number }>;
};

/** Changes every table of a source, transaction by transaction, through restarts of the server. */
export function keepWriting(
  source: ChaosSource,
  kind: 'postgres' | 'mysql',
  seed: number,
  options: { ddl: boolean },
): Work {
  const random = makeRandom(seed);
  let going = true;
  let transactions = 0;
  const done = (async () => {
    let session: SourceSession | undefined;
    while (going) {
      try {
        session ??= await source.connect();
        if (options.ddl && random.chance(1)) await session.query(alteration(random));
        else await session.query(transaction(random, kind));
        transactions++;
        if (random.chance(10)) await delay(random.number(0, 60));
      } catch {
        // A key that exists already, or a server that was killed: either way the transaction is not there, or whole.
        await session?.close().catch(() => {});
        session = undefined;
        await delay(50);
      }
    }
    await session?.close().catch(() => {});
  })();
  return {
    stop: async () => {
      going = false;
      await done;
      return { transactions };
    },
  };
}

/** One transaction of some statements; one in ten is rolled back. */
function transaction(random: Random, kind: 'postgres' | 'mysql'): string {
  const statements = [...transfer(random)];
  for (let left = random.number(0, 4); left > 0; left--) statements.push(...change(random, kind));
  return `begin; ${statements.join('; ')}; ${random.chance(10) ? 'rollback' : 'commit'}`;
}

function transfer(random: Random): string[] {
  const [from, to] = random.chance(50) ? accountTables : [...accountTables].reverse();
  const amount = random.number(1, 50);
  const [a, b] = [random.number(0, ACCOUNTS - 1), random.number(0, ACCOUNTS - 1)];
  return [
    `update ${from} set balance = balance - ${amount} where id = (select id from (select id from ${from} order by id limit 1 offset ${a}) x)`,
    `update ${to} set balance = balance + ${amount}, note = 'from ${a}' where id = (select id from (select id from ${to} order by id limit 1 offset ${b}) x)`,
  ];
}

function change(random: Random, kind: 'postgres' | 'mysql'): string[] {
  const id = random.number(1, 20_000);
  const [a, b] = [random.number(0, ACCOUNTS - 1), random.number(0, ACCOUNTS - 1)];
  const quoted = kind === 'postgres' ? `"${odd.replaceAll('"', '""')}"` : `\`${odd.replaceAll('`', '``')}\``;
  const [select, text] = kind === 'postgres' ? ['"select"', '"a ""b"'] : ['`select`', '`a "b`'];
  const upsert =
    kind === 'postgres' ? 'on conflict (id) do update set t = excluded.t' : 'on duplicate key update t = values(t)';
  switch (random.number(0, 13)) {
    case 0:
      return [`update big set a = ${id}, b = 'w ${id}' where id between ${id} and ${id + random.number(0, 200)}`];
    case 1:
      return [`delete from big where id between ${id} and ${id + random.number(0, 20)}`];
    case 2:
      return [`insert into big (id, a, b) values (${random.number(1, 40_000)}, ${id}, 'new')`];
    case 3:
      return [`update big set id = id + 1000000 where id = ${id}`];
    case 4:
      return [
        `update account_a set id = -1 where id = ${a}`,
        `update account_a set id = ${a} where id = ${b}`,
        `update account_a set id = ${a === b ? a : b} where id = -1`,
      ];
    case 5:
      return [
        `update account_b set id = id + 1000 where id = ${a}`,
        `update account_b set id = id - 1000 where id = ${1000 + b}`,
      ];
    case 6:
      return [
        `delete from empty_table where id = ${a}`,
        `insert into empty_table values (${a}, ${random.chance(30) ? 'null' : `'t ${id}'`}) ${upsert}`,
      ];
    case 7:
      return [
        `update composite set country = 'C ' where number = ${id}`,
        `update composite set note = '' where number = ${id + 1}`,
      ];
    case 8:
      return [
        `delete from by_text where code like 'k${random.number(0, 9)}${random.number(0, 9)}${random.number(0, 9)}%'`,
      ];
    case 9:
      return [`update ${quoted} set ${text} = ${random.chance(20) ? 'null' : `'v ${id}'`} where ${select} = ${a}`];
    case 10:
      return [`update parent set v = 'w ${id}' where id = ${random.number(1, 5_000)}`];
    case 11:
      return [
        `savepoint s`,
        `update child set v = ${id} where id < 100`,
        `rollback to savepoint s`,
        `update child set v = ${id} where id = ${a}`,
      ];
    case 12:
      // On MySQL a TRUNCATE commits, which would part a transfer.
      return random.chance(10)
        ? [kind === 'postgres' ? 'truncate tiny' : 'delete from tiny', `insert into tiny values (${id})`]
        : [];
    default:
      return [
        `insert into altered (id) values (${random.number(1, 5_000)})`,
        ...(random.chance(3) ? ['update big set f = f where id % 2 = 0', `update big set a = ${id}`] : []),
      ];
  }
}

/** A change of structure that the copy can follow. */
function alteration(random: Random): string {
  const column = `c${random.number(1, 4)}`;
  return random.chance(50)
    ? `alter table altered add column ${column} int`
    : `alter table altered drop column ${column}`;
}
