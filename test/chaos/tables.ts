// The tables of the chaos rounds for both families of sources: SQL that makes them and SQL that changes them between two fulls.

/** A name that every layer has to quote. */
export const odd = 'Order "x" `y` é.t-表';
const oddPostgres = `"${odd.replaceAll('"', '""')}"`;
const oddMysql = `\`${odd.replaceAll('`', '``')}\``;

/** Bytes of the big table's filler: with 200,000 rows it comes to three chunks of 64 MB. */
const filler = 24;

/** PostgreSQL: all tables; `rows` are those of the big one. */
export function postgresTables(rows: number): string {
  return `
    create table big (id bigint primary key, a int, b varchar(60), c numeric(12,2), d timestamp(6), e double precision, f text, g boolean);
    insert into big select n, case when n % 7 = 0 then null else n % 1000 end, 'row ' || n || case when n % 100 = 0 then E'\\t\\n\\\\ 😀' else '' end,
      n * 0.01, timestamp '2020-01-01' + n * interval '1 second 1 microsecond', n / 3.0,
      case when n % 11 = 0 then '' else repeat(md5(n::text), ${filler}) end, n % 2 = 0 from generate_series(1, ${rows}) n;
    create table by_text (code text primary key, v jsonb);
    insert into by_text select 'k' || md5(n::text), jsonb_build_object('n', n, 'big', 9007199254740993) from generate_series(1, ${small(rows)}) n;
    create table composite (country varchar(20), number int, note text, primary key (country, number));
    insert into composite select 'c' || n % 10, n, nullif('note ' || n, 'note 5') from generate_series(1, ${small(rows)}) n;
    create table keyless (a int, b bytea); insert into keyless select n % 10, decode(md5(n::text), 'hex') from generate_series(1, 2000) n;
    create table empty_table (id int primary key, t text);
    create table ${oddPostgres} ("select" int primary key, "a ""b" text, "é.ü" timestamptz);
    insert into ${oddPostgres} select n, 'v' || n, timestamptz '2021-06-01 12:00:00+02' + n * interval '1 hour' from generate_series(1, 100) n;
    create table "select" ("from" int primary key, "where" text); insert into "select" values (1, ''), (2, null), (3, '\\N');
    create table kinds (id uuid primary key, n smallint, u varchar(20), arr int[], d date, t time, j json, x bytea);
    insert into kinds select md5(n::text)::uuid, n, E'\\x01\\x1f' || n, array[n, null, n + 1], date '2020-01-01' + n, time '01:02:03' + n * interval '1 second',
      '{"a": 1}', decode(md5(n::text), 'hex') from generate_series(1, 1000) n;
    create table parent (id bigint, at date, v text, primary key (id, at)) partition by range (at);
    create table parent_1 partition of parent for values from ('2020-01-01') to ('2021-01-01');
    create table parent_2 partition of parent for values from ('2021-01-01') to ('2030-01-01');
    insert into parent select n, date '2020-01-01' + (n % 700), 'p' || n from generate_series(1, 5000) n;
    create table child (id smallint primary key, v numeric(30,10)); insert into child select n, n / 7.0 from generate_series(1, 500) n;
    create table tiny (id int primary key); insert into tiny values (1);
    analyze;
  `;
}

/** PostgreSQL: touches every table. */
export function postgresChange(round: number): string {
  return `
    update big set a = ${round}, b = 'round ${round}, row ' || id where id % 10 = ${round % 10};
    delete from big where id % 1000 = ${round % 1000};
    insert into big (id, b) select 10000000 + ${round} * 100 + n, 'new ${round}' from generate_series(1, 50) n;
    update by_text set v = jsonb_build_object('round', ${round}) where code < 'k3';
    delete from by_text where code like 'k${(round % 10).toString(16)}0%';
    update composite set note = 'round ${round}' where number % 3 = 0; delete from composite where number % 97 = ${round % 97};
    insert into keyless select ${round}, decode(md5(n::text), 'hex') from generate_series(1, 10) n; delete from keyless where a = ${round % 10};
    insert into empty_table values (${round}, 'round ${round}'); delete from empty_table where id % 3 = 0;
    update ${oddPostgres} set "a ""b" = 'round ${round}' where "select" % 2 = ${round % 2};
    update "select" set "where" = 'round ${round}' where "from" = ${1 + (round % 3)};
    update kinds set arr = array[${round}] where n % 50 = ${round % 50}; truncate tiny; insert into tiny values (${round}), (${round + 1});
    update parent set v = 'round ${round}' where id % 5 = 0; delete from parent where id = ${round}; update child set v = ${round} where id % 2 = 0;
  `;
}

/** MySQL and MariaDB: all tables; `rows` (at most a million) are those of the big one. */
export function mysqlTables(rows: number): string {
  return `
    create table digits (n int primary key); insert into digits values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
    create table big (id bigint unsigned primary key, a int, b varchar(60), c decimal(12,2), d datetime(6), e double, f text, g bool);
    insert into big select n, if(n % 7 = 0, null, n % 1000), concat('row ', n, if(n % 100 = 0, '\\t\\n\\\\ 😀', '')), n * 0.01,
      timestampadd(microsecond, n * 1000001, '2020-01-01'), n / 3, if(n % 11 = 0, '', repeat(sha2(n, 256), ${filler / 2})), n % 2 = 0
      from (select 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n + 100000 * f.n as n
            from digits a, digits b, digits c, digits d, digits e, digits f) s where n <= ${rows};
    create table by_text (code varchar(50) collate utf8mb4_bin primary key, v json);
    insert into by_text select concat('k', left(sha2(id, 256), 32)), json_object('n', id, 'big', 9007199254740993) from big where id <= ${small(rows)};
    create table composite (country varchar(20) collate utf8mb4_bin, number int, note text, primary key (country, number));
    insert into composite select concat('c', id % 10), id, nullif(concat('note ', id), 'note 5') from big where id <= ${small(rows)};
    create table keyless (a int, b varbinary(40)); insert into keyless select id % 10, unhex(left(sha2(id, 256), 32)) from big where id <= 2000;
    create table empty_table (id int primary key, t text);
    create table ${oddMysql} (\`select\` int primary key, \`a "b\` text, \`é.ü\` timestamp(6) null);
    insert into ${oddMysql} select id, concat('v', id), timestampadd(hour, id, '2021-06-01 12:00:00') from big where id <= 100;
    create table \`select\` (\`from\` int primary key, \`where\` text); insert into \`select\` values (1, ''), (2, null), (3, '\\\\N');
    create table kinds (id binary(16) primary key, e enum('a','b','c'), s set('x','y'), y year, b bit(10), t time(3), j json);
    insert into kinds select unhex(left(sha2(id, 256), 32)), 1 + id % 3, id % 4, 1990 + id % 50, id % 1024, sec_to_time(id), '{"a": 1}' from big where id <= 1000;
    create table parent (id bigint, at date, v text, primary key (id, at)) partition by hash (id) partitions 3;
    insert into parent select id, date_add('2020-01-01', interval id % 700 day), concat('p', id) from big where id <= 5000;
    create table child (id smallint primary key, v decimal(30,10)); insert into child select id, id / 7 from big where id <= 500;
    create table tiny (id int primary key); insert into tiny values (1);
  `;
}

/** MySQL and MariaDB: touches every table. */
export function mysqlChange(round: number): string {
  return `
    update big set a = ${round}, b = concat('round ${round}, row ', id) where id % 10 = ${round % 10};
    delete from big where id % 1000 = ${round % 1000};
    insert into big (id, b) select 10000000 + ${round} * 100 + a.n + 10 * b.n, 'new ${round}' from digits a, digits b where b.n < 5;
    update by_text set v = json_object('round', ${round}) where code < 'k3';
    delete from by_text where code like 'k${(round % 10).toString(16)}0%';
    update composite set note = 'round ${round}' where number % 3 = 0; delete from composite where number % 97 = ${round % 97};
    insert into keyless select ${round}, unhex(left(sha2(n, 256), 32)) from digits; delete from keyless where a = ${round % 10};
    insert into empty_table values (${round}, 'round ${round}'); delete from empty_table where id % 3 = 0;
    update ${oddMysql} set \`a "b\` = 'round ${round}' where \`select\` % 2 = ${round % 2};
    update \`select\` set \`where\` = 'round ${round}' where \`from\` = ${1 + (round % 3)};
    update kinds set e = null where y = ${1990 + (round % 50)}; truncate tiny; insert into tiny values (${round}), (${round + 1});
    update parent set v = 'round ${round}' where id % 5 = 0; delete from parent where id = ${round}; update child set v = ${round} where id % 2 = 0;
  `;
}

function small(rows: number): number {
  return Math.min(20_000, Math.max(100, Math.floor(rows / 10)));
}
