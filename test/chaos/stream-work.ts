import { setTimeout as delay } from 'node:timers/promises';
import { makeRandom, type Random } from '../../scripts/demo/random.ts';
import type { ChaosSource, SourceSession } from './source.ts';
import { NEVER_GONE } from './stream-versions.ts';
import { odd } from './tables.ts';

/** Accounts in two tables between which money moves: what all of them hold together never changes. */
const ACCOUNTS = 100;
const EACH = 1_000;
export const MONEY = 2 * ACCOUNTS * EACH;
export const accountTables = ['account_a', 'account_b'] as const;

/** Rows of a table that nobody writes to. */
export const STILL = 900;
/** What the writers share with the rest of a lane. */
export type Extra = {
  /** The last write to a table with versions. */
  seq: number;
  /** A table that was added while the stream went on. */
  table: { readonly name: string; readonly history: boolean } | null;
};

/** Adds what only streams need to the source of a fleet. */
export async function addStreamTables(source: ChaosSource, kind: 'postgres' | 'mysql'): Promise<void> {
  const session = await source.connect();
  try {
    for (const name of accountTables) {
      await session.query(`create table ${name} (id int primary key, balance bigint not null, note varchar(200))`);
      const rows = Array.from({ length: ACCOUNTS }, (_, id) => `(${id}, ${EACH}, null)`);
      await session.query(`insert into ${name} values ${rows.join(', ')}`);
    }
    const rows = (most: number, row: (n: number) => string) =>
      Array.from({ length: most }, (_, n) => row(n + 1)).join(', ');
    const collate = kind === 'mysql' ? ' collate utf8mb4_bin' : '';
    for (const sql of [
      'create table altered (id int primary key, v varchar(50))',
      `create table still (id int primary key, v varchar(50), b ${kind === 'mysql' ? 'blob' : 'bytea'})`,
      `insert into still values ${rows(STILL, (n) => `(${n}, 'still ${n}', '\\001 ${n}')`)}`,
      'create table kept (id int primary key, seq bigint not null, note varchar(60))',
      `insert into kept values ${rows(300, (n) => `(${n}, 0, 'n ${n}')`)}`,
      'create table kept_log (seq bigint, id int, primary key (seq, id))',
      `create table kept_pair (country varchar(20)${collate}, number int, seq bigint not null, primary key (country, number))`,
      `insert into kept_pair values ${rows(200, (n) => `('c ${n % 7}', ${n}, 0)`)}`,
    ])
      await session.query(sql);
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
  { ddl, extra }: { ddl: boolean; extra: Extra },
): Work {
  const random = makeRandom(seed);
  let going = true;
  let transactions = 0;
  const done = (async () => {
    let session: SourceSession | undefined;
    while (going) {
      try {
        session ??= await source.connect();
        if (ddl && random.chance(1)) await session.query(alteration(random, kind));
        else await session.query(transaction(random, kind, extra));
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
function transaction(random: Random, kind: 'postgres' | 'mysql', extra: Extra): string {
  const statements = [...transfer(random)];
  for (let left = random.number(0, 4); left > 0; left--) {
    if (random.chance(25)) statements.push(...write(random, kind, extra));
    else statements.push(...change(random, kind));
  }
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

/** A write to a table whose copy keeps versions, under the next number. */
function write(random: Random, kind: 'postgres' | 'mysql', extra: Extra): string[] {
  const seq = ++extra.seq;
  const also = (columns: string, values: string) =>
    kind === 'postgres' ? `on conflict (${columns}) do update set ${values}` : `on duplicate key update ${values}`;
  const log = `insert into kept_log (seq, id) select seq, id from kept where seq = ${seq}`;
  const id = random.number(1, NEVER_GONE - 1);
  const mortal = random.number(NEVER_GONE, 300);
  switch (random.number(0, 9)) {
    case 0:
    case 1:
      return [`update kept set seq = ${seq} where id = ${id}`, log];
    case 2:
      return [`update kept set seq = ${seq}, note = null where id between ${id} and ${id + random.number(0, 30)}`, log];
    case 3:
      return [`insert into kept (id, seq) values (${id}, ${seq}) ${also('id', `seq = ${seq}`)}`, log];
    case 4:
      return [
        `insert into kept (id, seq) values (${mortal}, ${seq}) ${also('id', `seq = ${seq}, note = 'again'`)}`,
        log,
      ];
    case 5:
      return [`delete from kept where id = ${mortal}`];
    case 6:
      return random.chance(50)
        ? [`update kept set id = id + 1000, seq = ${seq} where id = ${mortal}`, log]
        : [`update kept set id = id - 1000, seq = ${seq} where id = ${mortal + 1000}`, log];
    case 7:
      return [
        `update kept_pair set seq = ${seq} where number = ${mortal}`,
        `update kept_pair set country = 'C ${seq}', seq = ${++extra.seq} where number = ${id}`,
      ];
    case 8:
      return [
        `delete from kept_pair where number = ${id}`,
        `insert into kept_pair values ('c ${random.number(0, 9)}', ${id + 1}, ${seq}) ${also('country, number', `seq = ${seq}`)}`,
      ];
    default:
      return extra.table === null ? [] : writeTo(extra.table.name, seq, random, also('id', `seq = ${seq}`));
  }
}

function writeTo(table: string, seq: number, random: Random, upsert: string): string[] {
  const id = random.number(1, 20_000);
  return [
    `update ${table} set seq = ${seq} where id between ${id} and ${id + random.number(0, 50)}`,
    ...(random.chance(30) ? [`delete from ${table} where id = ${id}`] : []),
    ...(random.chance(30) ? [`insert into ${table} (id, seq) values (${id + 1000}, ${seq}) ${upsert}`] : []),
  ];
}

/** A change of structure, of a table whose copy keeps versions, too. */
function alteration(random: Random, kind: 'postgres' | 'mysql'): string {
  const column = `c${random.number(1, 4)}`;
  const table = random.chance(70) ? 'altered' : 'kept';
  switch (random.number(0, 5)) {
    case 0: {
      const type = `varchar(${random.number(50, 120)})`;
      return kind === 'postgres'
        ? `alter table altered alter column v type ${type}`
        : `alter table altered modify v ${type}`;
    }
    case 1:
      return `alter table altered add column ${column} int not null default ${random.number(1, 99)}`;
    case 2:
    case 3:
      return `alter table ${table} drop column ${column}`;
    default:
      return `alter table ${table} add column ${column} int`;
  }
}
