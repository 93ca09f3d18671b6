import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Table, TableOptions } from '../../src/drivers/model.ts';
import type { Observe } from '../../src/drivers/singlestore/connection.ts';
import type { Start } from '../../src/drivers/source.ts';
import { seeded } from '../fakes/change-log.ts';
import { held } from './apply-fixture.ts';
import { openAt } from './mysql/capture-fixture.ts';
import { describeOne, type Playground, playground, readRows } from './mysql-fixture.ts';
import { type Place, planned, planOf, startPlace } from './singlestore-fixture.ts';

const never = () => new AbortController().signal;

/** Three levels, two keys of one table, a table that refers to itself, words of several collations, keys of two columns. */
const TABLES: Readonly<Record<string, string>> = {
  root: 'id int primary key, u int unique, v varchar(20)',
  middle:
    'id bigint primary key, r int, s int, v varchar(20), foreign key (r) references root (id) on delete cascade on update cascade, foreign key (s) references root (id) on delete set null on update set null',
  leaf: 'a int, b varchar(10), m bigint, v varchar(20), primary key (a, b), foreign key (m) references middle (id) on delete cascade on update cascade',
  tree: 'id int primary key, up int, v varchar(20), foreign key (up) references tree (id) on delete cascade',
  word: 'w varchar(20) character set utf8mb4 collate utf8mb4_general_ci primary key, v int',
  named:
    'id int primary key, w varchar(20) character set utf8mb4 collate utf8mb4_general_ci, foreign key (w) references word (w) on delete cascade on update cascade',
  pair: 'x int, y date, v int, primary key (x, y)',
  paired:
    'id int primary key, q date, p int, foreign key (p, q) references pair (x, y) on delete set null on update cascade',
  lines: 'r int, n int, v varchar(20), primary key (r, n), foreign key (r) references root (id) on delete cascade',
};
const NAMES = Object.keys(TABLES);
const WORDS = ['a', 'A', 'b', 'B ', 'á', 'Ä', 'ss', 'ß', 'z z', '日本', "q'q", 'c\\d'];

/** One statement of a random workload; those that keys refuse change nothing. */
function statement(random: () => number): string {
  const below = (n: number) => Math.floor(random() * n);
  const id = () => 1 + below(12);
  const word = () => `'${(WORDS[below(WORDS.length)] as string).replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  const maybe = (n: number | string) => (below(4) === 0 ? 'null' : n);
  const v = `'v${below(1e6)}'`;
  const day = `'2024-01-0${1 + below(4)}'`;
  const all = [
    () => `insert into root values (${id()}, ${maybe(below(9))}, ${v})`,
    () => `replace into root values (${id()}, ${maybe(below(9))}, ${v})`,
    () => `update root set id = ${id()} where id = ${id()}`,
    () => `update root set v = ${v} where id = ${id()}`,
    () => `delete from root where id = ${id()}`,
    () => `insert into root values (${id()}, null, ${v}) on duplicate key update v = ${v}`,
    () => `insert into middle values (${id()}, ${maybe(id())}, ${maybe(id())}, ${v})`,
    () => `replace into middle values (${id()}, ${maybe(id())}, ${maybe(id())}, ${v})`,
    () => `update middle set r = ${maybe(id())}, v = ${v} where id = ${id()}`,
    () => `update middle set id = ${id()} where id = ${id()}`,
    () => `delete from middle where id = ${id()}`,
    () => `insert into leaf values (${id()}, ${word()}, ${maybe(id())}, ${v})`,
    () => `update leaf set m = ${maybe(id())}, v = ${v} where a = ${id()}`,
    () => `delete from leaf where a = ${id()}`,
    () => `insert into tree values (${id()}, ${maybe(id())}, ${v})`,
    () => `replace into tree values (${id()}, ${maybe(id())}, ${v})`,
    () => `update tree set up = ${maybe(id())}, v = ${v} where id = ${id()}`,
    () => `delete from tree where id = ${id()}`,
    () => `insert into word values (${word()}, ${id()})`,
    () => `update word set w = ${word()} where w = ${word()}`,
    () => `delete from word where w = ${word()}`,
    () => `insert into named values (${id()}, ${maybe(word())})`,
    () => `update named set w = ${maybe(word())} where id = ${id()}`,
    () => `insert into pair values (${below(4)}, ${day}, ${id()})`,
    () => `update pair set x = ${below(4)}, y = ${day} where x = ${below(4)}`,
    () => `delete from pair where x = ${below(4)} and y = ${day}`,
    () => `replace into pair values (${below(4)}, ${day}, ${id()})`,
    () => `insert into paired values (${id()}, ${maybe(day)}, ${maybe(below(4))})`,
    () => `insert into \`lines\` values (${id()}, ${below(3)}, ${v})`,
  ];
  return (all[below(all.length)] as () => string)();
}

/** Runs a statement; an answer that a key or another writer refuses is none. 1062, 1451, 1452, 1761, 1762, 1213, 1205. */
async function tryIt(ground: Pick<Playground, 'sql'>, text: string): Promise<void> {
  try {
    await ground.sql(text);
  } catch (error) {
    if (![1062, 1451, 1452, 1761, 1762, 1213, 1205].includes((error as { errno: number }).errno)) throw error;
  }
}

async function transactions(ground: Pick<Playground, 'sql'>, random: () => number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await ground.sql('begin');
    for (let n = Math.floor(random() * 6); n >= 0; n--) await tryIt(ground, statement(random));
    await ground.sql(random() < 0.1 ? 'rollback' : 'commit');
  }
}

/** A database of the source with these tables, copied into a database of its own and followed. */
async function begin(
  ground: Playground,
  place: Place,
  destination: Destination,
  {
    names = NAMES,
    history = false,
    options = {},
    between = async () => {},
  }: {
    names?: readonly string[];
    history?: boolean;
    options?: TableOptions;
    between?: (after: string) => Promise<void>;
  } = {},
) {
  const source = await ground.open({ cascade: 'reload' });
  const tables: Table[] = [];
  for (const name of names) tables.push(await describeOne(source, ground.database, name, options));
  const database = place.database();
  const refs = tables.map((table) => table.ref);
  const start: Start = await source.begin('p', 's', refs, () => {}, never());
  await destination.prepare(database);
  await destination.createScope(database, 'p', { ...start, scope: 1, run: 1, token: 0, seq: 0 });
  for (const table of tables) {
    const plan = planOf(database, table, { history });
    const made = await planned(destination, database, plan);
    const claim = await destination.claimChunk(database, made.id, made.load, 0);
    if (!claim) throw new Error('done already');
    const target = { database, table, replace: false };
    await destination.loadChunk(target, claim, source.read(table, undefined, '{}', never()), () => {}, never());
    // Each table is read at another time.
    await between(table.ref.name);
    await destination.seal(database, made.id, made.load, await source.written());
  }
  return { source, tables, database, start };
}

type Following = Awaited<ReturnType<typeof begin>>;

/** Events by transaction. */
function bySingle(events: readonly LogEvent[]): LogEvent[][] {
  const parts: LogEvent[][] = [[]];
  for (const event of events) {
    parts.at(-1)?.push(event);
    if (event.kind === 'commit') parts.push([]);
  }
  return parts;
}

/** Follows up to the log's end, as often as rows had to be read again; `single`: each transaction is written on its own. */
async function follow({ source, start, database }: Following, by: Destination, single = false) {
  for (let passes = 0; ; passes++) {
    if (await step({ source, start, database } as Following, by, single)) return passes;
    expect(passes).toBeLessThan(8);
  }
}

/** Once up to the log's end; whether no copy is newer than the stream afterwards. */
async function step({ source, start, database }: Following, by: Destination, single = false): Promise<boolean> {
  const claim = await by.claimScope([database], 'p', 1, 1);
  const followed = await by.followed([database], 'p', 1);
  const tables = followed.map(({ table, followFrom }) => ({ table, skip: followFrom ? [followFrom] : [] }));
  const position = claim.databases[0]?.position as Start['position'];
  await using capture = await openAt(source, tables, { ...start, position });
  await using applier = await by.apply({
    claim,
    tables: followed,
    capture,
    reached: (a, b) => source.reached(a, b),
    written: () => source.written(),
    signal: never(),
  });
  const read = { from: position, changes: 0, to: '' };
  lastRead = read;
  for await (const piece of capture.events()) {
    for (const event of piece)
      if (event.kind === 'structure') throw new Error(`Table ${event.table} has left the stream: ${event.reason}`);
      else if (event.kind === 'commit' || event.kind === 'progress') read.to = event.position;
      else read.changes++;
    for (const part of single ? bySingle(piece) : [piece]) {
      await applier.take(part);
      if (single) await applier.flush();
    }
  }
  await applier.flush();
  return applier.caughtUp.size === followed.length;
}

/** What the last pass has read, for the message of a difference. */
let lastRead: { readonly from: string; readonly changes: number; readonly to: string } | undefined;

async function promote({ tables, database }: Following, by: Destination): Promise<void> {
  const followed = await by.followed([database], 'p', 1);
  await by.journal(database, 1, followed);
  for (const one of followed) await by.promote(database, 1, 1, one.id, one.load);
  expect(followed).toHaveLength(tables.length);
}

/** One version of each key counts at most, and none begins before the one before it has ended. */
async function expectVersions(place: Place, { database }: Following, { ref, key }: Table): Promise<void> {
  const [keys, on] = [
    key.map((one) => `\`${one}\``).join(', '),
    key.map((one) => `a.\`${one}\` = b.\`${one}\``).join(' and '),
  ];
  const at = `\`${database}\`.\`${ref.name}\``;
  const wrong = await place.query(
    `select ${keys} from ${at} group by ${keys} having sum(_is_current) > 1 or sum(_valid_to is null) <> sum(_is_current)`,
  );
  const overlapping = await place.query(
    `select 1 as n from ${at} as a join ${at} as b on ${on} and (a._ordinal < b._ordinal or (a._ordinal = b._ordinal and a._event < b._event)) where a._valid_to is null or a._ordinal_to > b._ordinal`,
  );
  expect({ table: ref.name, wrong, overlapping }).toEqual({ table: ref.name, wrong: [], overlapping: [] });
}

/** What both sides hold, by table. */
async function sides(
  place: Place,
  { source, tables, database }: Following,
  places?: ReadonlyMap<string, string>,
  where = '',
) {
  const found: Record<string, string[]> = {};
  const wanted: Record<string, string[]> = {};
  for (const table of tables) {
    const { name } = table.ref;
    found[name] = await held(place, database, places?.get(name) ?? name, table, where);
    const { rows } = await readRows(source, table);
    wanted[name] = rows
      .map((row) => row.map((cell) => (cell === null ? 'NULL' : JSON.stringify(cell.toString('utf8')))).join('\t'))
      .sort();
  }
  return { found, wanted };
}

async function expectSame(place: Place, following: Following, what: string, where = ''): Promise<void> {
  const { found, wanted } = await sides(place, following, undefined, where);
  expect({ what, ...found }).toEqual({ what, ...wanted });
}

async function arrange(ground: Playground, random: () => number): Promise<void> {
  for (const [name, columns] of Object.entries(TABLES)) await ground.sql(`create table \`${name}\` (${columns})`);
  await transactions(ground, random, 150);
}

for (const server of ['mariadb', 'mysql9'] as const)
  for (const mode of ['MariaDB', 'SingleStore mode'] as const)
    describe(`foreign keys that change rows, from ${server} to ${mode}`, () => {
      let place: Place;
      let destination: Destination;
      beforeAll(async () => {
        place = await startPlace(mode);
        destination = await place.open();
      });
      afterAll(async () => {
        expect(place.rejections()).toEqual([]);
        await place.stop();
      });

      test('a random workload of all actions, during the load and after it, leaves the copies as the source is', async () => {
        for (let seed = 1; seed <= 3; seed++) {
          const random = seeded(seed * 7919);
          await using ground = await playground(server);
          await arrange(ground, random);
          const following = await begin(ground, place, destination, {
            between: () => transactions(ground, random, 8),
          });
          await using _ = following.source;
          const unlogged = following.tables.filter((table) => table.cascades);
          expect(unlogged.map((table) => table.ref.name)).toEqual(
            server === 'mysql9' ? [] : ['middle', 'leaf', 'tree', 'named', 'paired', 'lines'],
          );
          expect(unlogged.flatMap((table) => table.cascades?.filter((one) => one.refused) ?? [])).toEqual([]);
          await transactions(ground, random, 20);
          await follow(following, destination);
          await promote(following, destination);
          for (let round = 1; round <= 6; round++) {
            await transactions(ground, random, 25);
            await follow(following, destination);
            await expectSame(place, following, `seed ${seed}, round ${round}`);
          }
        }
      });

      test('so does each transaction written on its own, and copies that keep versions', async () => {
        for (const history of [false, true]) {
          const random = seeded(history ? 4 : 5);
          await using ground = await playground(server);
          await arrange(ground, random);
          const following = await begin(ground, place, destination, { history });
          await using _ = following.source;
          await follow(following, destination);
          await promote(following, destination);
          const where = history ? ' where _is_current = 1' : '';
          for (let round = 1; round <= 3; round++) {
            await transactions(ground, random, 15);
            await follow(following, destination, round < 3);
            await expectSame(place, following, `history ${history}, round ${round}`, where);
          }
          if (history) for (const table of following.tables) await expectVersions(place, following, table);
        }
      });

      if (server === 'mysql9') return;

      test('a row whose parent was gone when the table above was read is found when the copies are equal to one moment', async () => {
        await using ground = await playground(server);
        await arrange(ground, () => 0.999);
        for (const name of ['leaf', 'middle', 'root']) await ground.sql(`delete from ${name}`);
        await ground.sql("insert into root values (1, 1, 'a'), (2, 2, 'b')");
        await ground.sql("insert into middle values (1, 1, null, 'a'), (2, 2, 1, 'b')");
        await ground.sql("insert into leaf values (1, 'x', 1, 'a'), (2, 'y', 2, 'b')");
        // A row that no check has seen is what it is, and asked for once only.
        await ground.sql('set foreign_key_checks = 0');
        await ground.sql("insert into leaf values (3, 'z', 99, 'c')");
        await ground.sql('set foreign_key_checks = 1');
        const following = await begin(ground, place, destination, {
          names: ['leaf', 'middle', 'root'],
          between: async (after) => {
            if (after === 'leaf') await ground.sql('delete from root where id = 1');
          },
        });
        await using _ = following.source;
        expect(await follow(following, destination)).toBe(1);
        await promote(following, destination);
        await expectSame(place, following, 'after the load');
        expect((await sides(place, following)).found['leaf']).toHaveLength(2);
        expect(await follow(following, destination)).toBe(0);
      });

      test('a transaction that is written in parts', async () => {
        await using ground = await playground(server);
        await arrange(ground, seeded(8));
        await ground.sql('create table big (id int primary key, v int)');
        await ground.sql('insert into big select seq, 0 from seq_1_to_30000');
        const following = await begin(ground, place, destination, { names: [...NAMES, 'big'] });
        await using _ = following.source;
        await follow(following, destination);
        await promote(following, destination);
        for (const rest of ['delete from big', 'update big set v = 9']) {
          await ground.sql('delete from root');
          await ground.sql("insert into root values (1, 1, 'a'), (2, 2, 'b')");
          await ground.sql("replace into middle values (1, 1, null, 'a'), (2, 2, null, 'b')");
          await ground.sql('begin');
          await ground.sql("replace into leaf values (1, 'a', 1, 'first'), (2, 'b', 2, 'first')");
          await ground.sql('update big set v = v + 1');
          await ground.sql('delete from root where id = 1');
          await ground.sql('update big set v = v + 1');
          await ground.sql("insert into root values (1, 1, 'again')");
          await ground.sql("replace into middle values (1, 2, null, 'again')");
          await ground.sql("replace into leaf values (1, 'c', 1, 'second')");
          await ground.sql(rest);
          await ground.sql('update root set id = 7 where id = 2');
          await ground.sql('commit');
          await follow(following, destination);
          await expectSame(place, following, rest);
        }
      });

      test('after a cut at any statement the next attempt finds all of them', async () => {
        const random = seeded(9);
        await using ground = await playground(server);
        await arrange(ground, random);
        const following = await begin(ground, place, destination);
        await using _ = following.source;
        await follow(following, destination);
        await promote(following, destination);
        let cuts = 0;
        for (let n = 1; n <= 70; n += 2) {
          await transactions(ground, random, 4);
          let statements = 0;
          let dead = false;
          const observe: Observe = (_sql, when) => {
            if (!dead && when === 'before') dead = ++statements >= n;
            if (dead) throw new Error('The process died.');
          };
          const dying = await place.open(observe);
          const outcome = await follow(following, dying).then(
            () => 'ended',
            () => 'died',
          );
          await dying[Symbol.asyncDispose]();
          expect(outcome).toBe(dead ? 'died' : 'ended');
          if (dead) cuts++;
          const written = await following.source.written();
          await follow(following, destination);
          await expectSame(place, following, `cut at ${n}: ${JSON.stringify({ ...lastRead, written })}`);
        }
        expect(cuts).toBeGreaterThan(15);
      });

      test('writers who go on while rows are read again', async () => {
        await using ground = await playground(server);
        await arrange(ground, seeded(10));
        const { host, port, uid, pwd, db } = ground.params() as Record<string, string>;
        let over = false;
        const work = [11, 12, 13].map(async (seed) => {
          const to = { host, port: Number(port), user: uid, password: pwd, database: db, charset: 'utf8mb4' };
          const connection = await mysql.createConnection(to as never);
          const sql = async (text: string) => (await connection.query(text))[0] as unknown as unknown[][];
          await sql('set innodb_lock_wait_timeout = 1');
          const random = seeded(seed);
          while (!over) await transactions({ sql }, random, 1);
          await connection.end();
        });
        try {
          const following = await begin(ground, place, destination);
          await using _ = following.source;
          await step(following, destination);
          await promote(following, destination);
          for (let i = 0; i < 5; i++) await step(following, destination);
          over = true;
          await Promise.all(work);
          await follow(following, destination);
          await expectSame(place, following, 'after the last writer');
        } finally {
          over = true;
          await Promise.allSettled(work);
        }
      });

      test('a transaction of more tables than one of the destination is refused by name when it takes keys away', async () => {
        await using ground = await playground(server);
        await arrange(ground, seeded(14));
        await ground.sql("replace into root values (1, 1, 'a')");
        const following = await begin(ground, place, destination);
        await using _ = following.source;
        await follow(following, destination);
        await promote(following, destination);
        await ground.sql('begin');
        await ground.sql('delete from root where id = 1');
        for (const name of ['tree', 'word', 'pair']) await ground.sql(`delete from ${name}`);
        await ground.sql("insert into tree values (1, null, 'a')");
        await ground.sql("insert into word values ('new', 1)");
        await ground.sql('commit');
        const small = await place.open(undefined, {}, { transactionTables: 9 });
        await expect(follow(following, small)).rejects.toMatchObject({
          name: 'DestinationRejected',
          message: expect.stringMatching(/more tables.*keys of .*\.(root|tree|word|pair),/),
        });
        await follow(following, destination);
        await expectSame(place, following, 'by one that writes more at once');
      });

      test('a row that the destination refuses when it is read again becomes a letter, and comes back', async () => {
        await using ground = await playground(server);
        await ground.sql(`create table root (${TABLES['root']})`);
        await ground.sql(`create table middle (${TABLES['middle']})`);
        await ground.sql(`create table leaf (${TABLES['leaf']})`);
        await ground.sql("insert into root values (1, 1, 'a'), (2, 2, 'b')");
        await ground.sql("insert into middle values (1, 2, 1, 'a'), (2, 2, 2, 'b')");
        await ground.sql("insert into leaf values (1, 'x', 1, 'a'), (2, 'y', 2, 'b')");
        const names = ['root', 'middle', 'leaf'];
        const following = await begin(ground, place, destination, { names, options: { types: { v: 'VARCHAR(3)' } } });
        await using _ = following.source;
        await follow(following, destination);
        await promote(following, destination);
        // Written on its own, the first one already sees what the second one does.
        await ground.sql('delete from root where id = 1');
        await ground.sql("update middle set v = 'too long for it' where id = 1");
        await follow(following, destination, true);
        const letters = () => place.query(`select key_text from \`${following.database}\`._flow_dead_letters`);
        expect(await letters()).toEqual([{ key_text: '1' }]);
        const { found, wanted } = await sides(place, following);
        expect(found['middle']).toEqual(wanted['middle']?.slice(1));
        // The refused row leads on to its own children.
        await ground.sql('delete from root where id = 2');
        await follow(following, destination, true);
        expect(await letters()).toEqual([]);
        await expectSame(place, following, 'after the deletes');
      });
    });
