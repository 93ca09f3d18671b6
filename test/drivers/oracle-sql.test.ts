import { afterAll, expect, test, vi } from 'vitest';
import { parseSql } from '../../scripts/servers/sqlfluff.ts';
import { cell } from '../../src/drivers/oracle/types.ts';
import { begin, follow, type Ground, oracleGround, readAll } from './oracle-fixture.ts';

vi.mock('oracledb', async () => ({ default: (await import('../fakes/oracle/client.ts')).fakeOracledb }));

const grounds: Ground[] = [];
afterAll(async () => {
  for (const ground of grounds) await ground[Symbol.asyncDispose]();
});

/** Every statement of a whole life of a pipeline, each shape once. */
async function emitted(): Promise<string[]> {
  const [plain, container, remote] = await Promise.all([
    oracleGround(),
    oracleGround({ container: 'CDB$ROOT', containerId: 1 }, { type: 'rds.oracle11lmcp19', pdb: 'SHOP' }),
    oracleGround({ version: '11.2.0.4.0' }, { type: 'rds.oracle11lmrm', mining_host: 'm', mining_folder: '/copies' }),
  ]);
  grounds.push(plain, container, remote);
  const { server, source } = plain;
  server.sql(
    `create table "All" (id NUMBER(10) not null, n NUMBER, f BINARY_DOUBLE, v VARCHAR2(50), r RAW(20), day DATE, ts TIMESTAMP(6), z TIMESTAMP(6) WITH TIME ZONE, ym INTERVAL YEAR(2) TO MONTH, ds INTERVAL DAY(2) TO SECOND(6), body CLOB, bin BLOB, primary key (id, day, ts, z, ym, ds, r))`,
  );
  server.sql(
    `insert into "All" values ${Array.from({ length: 300 }, (_, i) => `(${i}, null, null, 'x', x'00', ' 2020-01-01 00:00:00', ' 2020-01-01 00:00:00.000000000', ' 2020-01-01 00:00:00.000000000', '+01-01', '+01 00:00:00.000000', null, null)`).join(', ')}`,
  );
  const table = await plain.table('All');
  await readAll(source, table, { chunkBytes: 2000, where: 'id > 3 -- few' });
  await source.schemas();
  await source.tables('main');
  await source.tables('no such schema');
  await source.clock?.();
  await source.preflight([table.ref]);
  const { position } = await begin(source);
  server.sql('alter table "All" add w int');
  server.switchLog();
  const { position: next } = await follow(source, position, [table]);
  await source.logState('', next);
  for await (const _ of source.reread(
    table,
    ['1\t2020-01-01 00:00:00\t2020-01-01 00:00:00\t2020-01-01 00:00:00\t+1-01\t+1 00:00:00\t00'],
    new AbortController().signal,
  ));
  await source.describe([{ ref: table.ref, options: { where: 'id = 1' } }]);
  container.server.sql('create table t (id int primary key)');
  const { position: inRoot } = await begin(container.source);
  await follow(container.source, inRoot, [await container.table('t')]);
  await remote.source.schemas();
  const stamps = await oracleGround({}, { type: 'rds.oraclets' });
  grounds.push(stamps);
  stamps.server.sql(
    'create table "C" (id NUMBER(9) not null, d DATE, t TIMESTAMP(6), z TIMESTAMP(6) WITH TIME ZONE, primary key (id))',
  );
  const options = { cursor: ['d', 't', 'z'] };
  const { position: mark } = await begin(stamps.source);
  await follow(stamps.source, mark, [await stamps.table('C', options)], { options });
  // Cells of types that SQLite has nothing like.
  const types = ['XMLTYPE', 'JSON', 'SDO_GEOMETRY', 'VECTOR', 'BOOLEAN', 'ROWID', 'LONG'].map((sourceType) => ({
    name: 'C',
    sourceType,
    type: { kind: 'json' as const },
    nullable: true,
    masked: false,
  }));
  const cells = types.map((column) => `select ${cell(column).expression} from "S"."T" as of scn (5)`);
  const all = [server, container.server, remote.server, stamps.server].flatMap((one) => one.statements);
  const shapes = new Map(
    [...all, ...cells].map((sql) => [sql.replace(/\d+/g, '0').replace(/'[A-Za-z0-9+/]{18}'/g, "'rowid'"), sql]),
  );
  return [...shapes.values()];
}

test('every statement parses as Oracle SQL', { timeout: 300_000 }, async (context) => {
  const statements = await emitted();
  expect(statements.length).toBeGreaterThan(40);
  // sqlfluff knows no numbered binds, ROWID as the name of a type only, and not the clause `sample block` (SQL Language Reference, "sample_clause").
  const known = statements.map((sql) =>
    sql
      .replace(/(?<!['\d]):(\d+)/g, ':b$1')
      .replace(/ sample block \([\d.]+\)/, '')
      .replace(/\browid\b/g, 'row_id'),
  );
  // It must be able to say no.
  const answers = await parseSql('oracle', [...known, 'select from where', 'begin sys.x(a => ; end']).catch(
    (error: Error) => {
      console.log(`SKIPPED: Oracle statements are not parsed by sqlfluff: ${error.message}`);
      return undefined;
    },
  );
  if (!answers) return context.skip();
  expect(answers.slice(-2).every((one) => one !== null)).toBe(true);
  const refused = statements.flatMap((sql, i) => (answers[i] ? [{ sql, why: answers[i] }] : []));
  console.log(`${statements.length} statements parsed`);
  expect(refused).toEqual([]);
});
