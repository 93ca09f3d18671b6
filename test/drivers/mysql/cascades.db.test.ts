import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LogEvent } from '../../../src/drivers/changes.ts';
import type { Table, TableRef } from '../../../src/drivers/model.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { describeOne, type Playground, playground } from '../mysql-fixture.ts';
import { changesSince, startAt } from './capture-fixture.ts';

const key = (columns: string, actions: string, parent = 'p (id)') =>
  `constraint fk foreign key (${columns}) references ${parent} ${actions}`;

describe('foreign keys that change rows below the log', () => {
  let ground: Playground;
  let source: Source;
  beforeEach(async () => {
    ground = await playground('mariadb');
    source = await ground.open({ cascade: 'reload' });
    await ground.sql('create table p (id int primary key, u varchar(20) character set latin1 unique)');
  });
  afterEach(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });
  const ref = (name: string): TableRef => ({ schema: ground.database, name });
  const child = async (columns: string, options = {}): Promise<Table> => {
    await ground.sql('drop table if exists c');
    await ground.sql(`create table c (${columns})`);
    return describeOne(source, ground.database, 'c', options);
  };

  test.each([
    ['on delete cascade', true],
    ['on delete set null', true],
    ['on update cascade', true],
    ['on update set null on delete no action', true],
    ['on delete restrict on update no action', false],
    ['', false],
  ])('%s is one: %s', async (actions, is) => {
    const table = await child(`id int primary key, r int comment 'x', ${key('r', actions)}`);
    expect(table.cascades).toEqual(
      is ? [{ name: 'fk', parent: ref('p'), columns: ['r'], references: ['id'] }] : undefined,
    );
    expect(table.immediate).toBe(true);
  });

  test('odd names, columns in another order, several keys, and a comment that looks like one', async () => {
    await ground.sql('create table `p``) ON DELETE CASCADE` (`a``b` int, `c,d` int, primary key (`c,d`, `a``b`))');
    const table = await child(
      "id int primary key, `x)``` int, `y` int comment '\nCONSTRAINT `odd``` FOREIGN KEY (`y`) REFERENCES', r int, constraint plain foreign key (r) references p (id), " +
        'constraint `odd``` foreign key (`x)```, y) references `p``) ON DELETE CASCADE` (`c,d`, `a``b`) on update set null',
    );
    expect(table.cascades).toEqual([
      {
        name: 'odd`',
        parent: ref('p`) ON DELETE CASCADE'),
        columns: ['x)`', 'y'],
        references: ['c,d', 'a`b'],
      },
    ]);
  });

  test('keys whose rows can’t be found are refused by their reason', async () => {
    const why = (table: Table) => table.cascades?.[0]?.refused?.message;
    const own = `r int, n int, primary key (r, n), ${key('r', 'on delete cascade')}`;
    expect(why(await child(own))).toBeUndefined();
    expect(why(await child(own.replace('on delete', 'on update')))).toMatch(/ON UPDATE CASCADE it changes r/);
    const plain = `id int primary key, r int, ${key('r', 'on delete cascade')}`;
    expect(why(await child(plain, { mask: ['r'] }))).toMatch(/r is masked/);
    const word = (collation: string) => async () => {
      await ground.sql('drop table if exists c');
      await ground.sql('drop table if exists w');
      const type = `varchar(20) character set utf8mb4 collate ${collation}`;
      await ground.sql(`create table w (w ${type} primary key)`);
      return child(`id int primary key, w ${type}, ${key('w', 'on delete cascade', 'w (w)')}`);
    };
    expect(why(await word('utf8mb4_danish_ci')())).toMatch(/utf8mb4_danish_ci/);
    expect((await word('utf8mb4_unicode_ci')()).cascades).toMatchObject([{ loose: true }]);
    expect((await word('utf8mb4_bin')()).cascades?.[0]).not.toHaveProperty('loose');
    await ground.sql('drop table c');
    await ground.sql("create table e (e enum('a', 'b') primary key)");
    const listed = await child(`id int primary key, e enum('b', 'a'), ${key('e', 'on delete cascade', 'e (e)')}`);
    expect(why(listed)).toMatch(/its column e is enum/);
  });

  test('preflight: a user who may only read sees them; parents have to be loaded together with their children', async () => {
    await child(`id int primary key, r int, ${key('r', 'on delete cascade')}`);
    const user = `c${ground.database}`.slice(0, 20);
    await ground.sql("create user ? identified by 'pw-of-this-user'", [user]);
    try {
      await ground.sql(`grant select on ${ground.database}.* to ?`, [user]);
      await ground.sql('grant binlog monitor, replication slave on *.* to ?', [user]);
      const login = { uid: user, pwd: 'pw-of-this-user' };
      await using refusing = await ground.open(login);
      await using reading = await ground.open({ ...login, cascade: 'reload' });
      const found = async (one: Source, ...names: string[]) =>
        (await one.preflight(names.map(ref))).map(({ severity, code, table }) => [severity, code, table?.name]);
      expect(await found(refusing, 'p', 'c')).toEqual([['warning', 'cascade', 'c']]);
      expect(await found(refusing, 'c')).toEqual([['warning', 'cascade', 'c']]);
      expect(await found(reading, 'p', 'c')).toEqual([]);
      expect(await found(reading, 'p')).toEqual([]);
      expect(await found(reading, 'c')).toEqual([['error', 'cascade', 'c']]);
      expect((await describeOne(reading, ground.database, 'c')).cascades).toHaveLength(1);
    } finally {
      await ground.sql('drop user ?', [user]);
    }
  });

  test('one that comes or goes is a change of structure', async () => {
    const before = await child('id int primary key, r int, key by_r (r)');
    const start = await startAt(source, [before]);
    await ground.sql('insert into c values (1, null)');
    await ground.sql(`alter table c add ${key('r', 'on delete cascade')}`);
    await ground.sql('insert into c values (2, null)');
    const structures = (events: readonly LogEvent[]) => events.filter((event) => event.kind === 'structure');
    const [came] = structures(await changesSince(source, [before], start));
    const now = came?.kind === 'structure' ? came.now : null;
    expect(now).toEqual(await describeOne(source, ground.database, 'c'));
    expect(now?.cascades).toHaveLength(1);
    const again = await startAt(source, [now as Table]);
    await ground.sql('alter table c drop foreign key fk');
    const [went] = structures(await changesSince(source, [now as Table], again));
    expect(went?.kind === 'structure' ? went.now?.cascades : null).toBeUndefined();
    expect(went).toMatchObject({ now: { structure: before.structure } });
  });
});

test('a server that logs them has none', async () => {
  await using ground = await playground('mysql9');
  await using source = await ground.open();
  await ground.sql('create table p (id int primary key)');
  await ground.sql(`create table c (id int primary key, r int, ${key('r', 'on delete cascade')})`);
  expect((await describeOne(source, ground.database, 'c')).cascades).toBeUndefined();
  expect(await source.preflight([{ schema: ground.database, name: 'c' }])).toEqual([]);
});
