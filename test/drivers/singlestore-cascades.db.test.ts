import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ApplyRequest } from '../../src/drivers/apply.ts';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Table } from '../../src/drivers/model.ts';
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
async function tryIt(ground: Playground, text: string): Promise<void> {
  try {
    await ground.sql(text);
  } catch (error) {
    if (![1062, 1451, 1452, 1761, 1762, 1213, 1205].includes((error as { errno: number }).errno)) throw error;
  }
}

async function transactions(ground: Playground, random: () => number, count: number): Promise<void> {
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
  { history = false, between = async () => {} }: { history?: boolean; between?: () => Promise<void> } = {},
) {
  const source = await ground.open({ cascade: 'reload' });
  const tables: Table[] = [];
  for (const name of NAMES) tables.push(await describeOne(source, ground.database, name));
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
    await between();
    await destination.seal(database, made.id, made.load, await source.written());
  }
  return { source, tables, database, start };
}

type Following = Awaited<ReturnType<typeof begin>>;

/** Follows up to the log's end, as often as rows had to be read again; `most`: pieces that are written at once. */
async function follow({ source, start, database }: Following, by: Destination, more: Partial<ApplyRequest> = {}) {
  for (let passes = 0; ; passes++) {
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
      ...more,
    });
    for await (const piece of capture.events()) await applier.take(piece);
    await applier.flush();
    if (applier.caughtUp.size === followed.length) return passes;
    expect(passes).toBeLessThan(8);
  }
}

async function promote({ tables, database }: Following, by: Destination): Promise<void> {
  const followed = await by.followed([database], 'p', 1);
  await by.journal(database, 1, followed);
  for (const one of followed) await by.promote(database, 1, 1, one.id, one.load);
  expect(followed).toHaveLength(tables.length);
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
    });
