import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { formatColumnType } from '../../../src/drivers/column-types.ts';
import { open } from '../../../src/drivers/jdbc/source.ts';
import type { Params } from '../../../src/drivers/model.ts';
import { playground as mysqlPlayground } from '../mysql-fixture.ts';
import { playground } from '../postgres-fixture.ts';
import { describeOne, readRange } from '../source-suite.ts';
import { drivers, jarsOf, openClient, type Place, paramsOf, runAll, startH2 } from './fixture.ts';
import {
  derbyTypes,
  h2Types,
  hsqldbTypes,
  mariadbTypes,
  postgresTypes,
  sqliteTypes,
  type TypeCase,
} from './type-cases.ts';

const folder = mkdtempSync(join(tmpdir(), 'flow-jdbc-'));
afterAll(() => rm(folder, { recursive: true }));

/** A table of one column per case, a row of the values and a row of NULLs. */
function statements(table: string, cases: readonly TypeCase[], id = 'id integer not null primary key'): string[] {
  const columns = cases.map(([declared], i) => `c${i} ${declared}`);
  return [
    `create table ${table} (${[id, ...columns].join(', ')})`,
    `insert into ${table} values (${['1', ...cases.map(([, literal]) => literal)].join(', ')})`,
    `insert into ${table} (id) values (2)`,
  ];
}

async function expectTypes(params: Params, schema: string, name: string, cases: readonly TypeCase[]): Promise<void> {
  await using source = await open(params, new AbortController().signal);
  const table = await describeOne(source, schema, name);
  const [range] = (await source.split(table, undefined, 1e12)).ranges;
  const { rows } = await readRange(source, table, range as string);
  expect(rows.map((row) => row[0])).toEqual(['1', '2']);
  const found = cases.map(([declared, literal], i) => [
    declared,
    literal,
    formatColumnType((table.columns[i + 1] as (typeof table.columns)[number]).type),
    rows[0]?.[i + 1],
  ]);
  expect(found).toEqual(cases.map((one) => [...one]));
  expect(rows[1]?.slice(1)).toEqual(cases.map(() => null));
}

describe.skipIf(!drivers)('types by JDBC arrive as the vendor’s manual says', () => {
  test('PostgreSQL', async () => {
    await using ground = await playground('postgres15');
    for (const statement of statements('typed', postgresTypes)) await ground.sql(statement);
    const { host, port, ...rest } = ground.params();
    const url = `jdbc:postgresql://${host}:${port}/${ground.database}`;
    const params = { ...rest, drv: 'org.postgresql.Driver', url, jdbc_drivers: jarsOf('postgres') };
    await expectTypes(params, 'public', 'typed', postgresTypes);
  });

  test('MariaDB, whose driver is told to leave TINYINT(1), zero dates and FLOAT alone', async () => {
    await using ground = await mysqlPlayground('mariadb');
    await ground.sql("set sql_mode = ''");
    for (const statement of statements('typed', mariadbTypes)) await ground.sql(statement);
    const { host, port, db: _db, ...rest } = ground.params();
    const params = {
      ...rest,
      drv: 'org.mariadb.jdbc.Driver',
      url: `jdbc:mariadb://${host}:${port}/`,
      jdbc_drivers: jarsOf('mariadb'),
    };
    await expectTypes(params, ground.database, 'typed', mariadbTypes);
  });

  test('H2', async () => {
    const { place, stop } = await startH2();
    try {
      const client = await openClient(place);
      for (const statement of statements('typed', h2Types)) await client.sql(statement);
      await expectTypes(paramsOf(place), 'PUBLIC', 'typed', h2Types);
      await client.close();
    } finally {
      await stop();
    }
  });

  const embedded: readonly (readonly [string, Place, string, string, readonly TypeCase[]])[] = [
    [
      'HSQLDB',
      {
        jars: 'hsqldb',
        drv: 'org.hsqldb.jdbc.JDBCDriver',
        url: `jdbc:hsqldb:file:${folder}/hsqldb;shutdown=true`,
        uid: 'SA',
        pwd: '',
      },
      'PUBLIC',
      'TYPED',
      hsqldbTypes,
    ],
    [
      'Derby',
      {
        jars: 'derby',
        drv: 'org.apache.derby.iapi.jdbc.AutoloadedDriver',
        url: `jdbc:derby:${folder}/derby;create=true`,
        uid: 'flow',
        pwd: 'x',
      },
      'FLOW',
      'TYPED',
      derbyTypes,
    ],
    [
      'SQLite',
      { jars: 'sqlite', drv: 'org.sqlite.JDBC', url: `jdbc:sqlite:${folder}/sqlite.db`, uid: 'x', pwd: '' },
      'default',
      'typed',
      sqliteTypes,
    ],
  ];
  test.each(embedded)('%s, a file that one process at a time may open', async (_name, place, schema, table, cases) => {
    await runAll(place, statements('typed', cases));
    await expectTypes(paramsOf(place), schema, table, cases);
  });
});
