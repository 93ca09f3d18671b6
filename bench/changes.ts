import { openMysql, openPostgres, sourceDatabase } from './orders.ts';
import type { PipeSource } from './pipe.ts';
import type { BenchServers } from './servers.ts';

/** `bench_changes`: a table that is written to in small transactions, and the writers of its source. */

export const changed = 'bench_changes';
/** Rows that are there before the first change. */
const firstRows = 200_000;

/** A session at the source, in the database that holds everything. */
export async function openSource(servers: BenchServers, kind: PipeSource): Promise<SourceSession> {
  if (kind === 'pg') {
    const client = await openPostgres(servers.postgres);
    return { query: (sql) => client.query(sql), end: () => client.end() };
  }
  const client = await openMysql(servers.mariadb);
  await client.query(`use ${sourceDatabase}`);
  return { query: (sql) => client.query(sql), end: () => client.end() };
}

type SourceSession = { query(sql: string): Promise<unknown>; end(): Promise<void> };

async function atSource(servers: BenchServers, kind: PipeSource, statements: readonly string[]): Promise<void> {
  const client = await openSource(servers, kind);
  for (const sql of statements) await client.query(sql);
  await client.end();
}

/** Makes the table and the procedures that write to it. */
export function makeChanges(servers: BenchServers, kind: PipeSource): Promise<void> {
  const table = `create table ${changed} (id bigint primary key, customer int not null, amount numeric(12,2) not null, at timestamp(6) null, note varchar(80))`;
  return atSource(
    servers,
    kind,
    kind === 'pg' ? [table, fillPostgres, writePostgres] : [table, ...fillMysql, writeMysql],
  );
}

const fillPostgres = `insert into ${changed} select n, n % 5000, n * 0.01, now()::timestamp, md5(n::text) from generate_series(1, ${firstRows}) n`;
const fillMysql = [
  `set session max_recursive_iterations = ${firstRows + 1}`,
  `insert into ${changed} with recursive numbers as (select 1 as n union all select n + 1 from numbers where n < ${firstRows})
   select n, n % 5000, n * 0.01, now(6), md5(n) from numbers`,
];

// Of ten changes six are updates, three inserts, one a delete; keys spread over the table.
const writePostgres = `create procedure write_changes(first bigint, transactions int) language plpgsql as $$
begin
  for t in 0 .. transactions - 1 loop
    for i in 0 .. 5 loop
      update ${changed} set amount = amount + 1, note = 'changed ' || t where id = 1 + ((first + t * 6 + i) * 7919) % ${firstRows};
    end loop;
    for i in 0 .. 2 loop
      insert into ${changed} values (${firstRows} + first + t * 3 + i, t % 5000, t * 0.5, now()::timestamp, case when t % 7 = 0 then null else 'new ' || t end);
    end loop;
    delete from ${changed} where id = ${firstRows} + first + t * 3;
    commit;
  end loop;
end $$`;
const writeMysql = `create procedure write_changes(first bigint, transactions int)
begin
  declare t int default 0;
  declare i int;
  while t < transactions do
    start transaction;
    set i = 0;
    while i < 6 do
      update ${changed} set amount = amount + 1, note = concat('changed ', t) where id = 1 + ((first + t * 6 + i) * 7919) % ${firstRows};
      set i = i + 1;
    end while;
    set i = 0;
    while i < 3 do
      insert into ${changed} values (${firstRows} + first + t * 3 + i, t % 5000, t * 0.5, now(6), if(t % 7 = 0, null, concat('new ', t)));
      set i = i + 1;
    end while;
    delete from ${changed} where id = ${firstRows} + first + t * 3;
    commit;
    set t = t + 1;
  end while;
end`;

/** Writes so many changes in transactions of ten; `round` keeps keys of rounds apart. */
export function writeSmall(servers: BenchServers, kind: PipeSource, round: number, changes: number): Promise<void> {
  return atSource(servers, kind, [`call write_changes(${round} * 100000000, ${Math.floor(changes / 10)})`]);
}

/** One transaction that inserts so many rows. */
export function writeLarge(servers: BenchServers, kind: PipeSource, round: number, rows: number): Promise<void> {
  const first = 50_000_000_000 + round * 100_000_000;
  const select = `select ${first} + n, n % 5000, n * 0.01, now(), ${kind === 'pg' ? 'md5(n::text)' : 'md5(n)'}`;
  return atSource(
    servers,
    kind,
    kind === 'pg'
      ? [`insert into ${changed} ${select} from generate_series(1, ${rows}) n`]
      : [
          `set session max_recursive_iterations = ${rows + 1}`,
          `insert into ${changed} with recursive numbers as (select 1 as n union all select n + 1 from numbers where n < ${rows}) ${select} from numbers`,
        ],
  );
}

/** Forgets what the rounds have brought, so that each begins like the first. */
export function trimChanges(servers: BenchServers, kind: PipeSource): Promise<void> {
  return atSource(servers, kind, [`delete from ${changed} where id > ${firstRows}`]);
}
