// What only a real SQL Server can settle (docs/verification.md): node scripts/verify-mssql.ts HOST PORT USER PASSWORD. The user must be a sysadmin.
// Makes a database of its own, reads tables of all types, follows changes by change tracking, CDC and row versions, and compares with what the
// server itself prints. Removes the database at the end.
import { Connection, Request } from 'tedious';
import type { Params, Position, Table } from '../src/drivers/model.ts';
import { open } from '../src/drivers/mssql/source.ts';
import type { Source } from '../src/drivers/source.ts';

const [host = '127.0.0.1', port = '1433', user = 'sa', password = ''] = process.argv.slice(2);
const database = `flow_verify_${Date.now().toString(36)}`;
const never = new AbortController().signal;
let failures = 0;

function check(what: string, here: unknown, there: unknown): void {
  const same = JSON.stringify(here) === JSON.stringify(there);
  if (!same) failures++;
  console.log(
    `${same ? 'ok  ' : 'DIFF'} ${what}${same ? '' : `\n     driver: ${JSON.stringify(here)}\n     server: ${JSON.stringify(there)}`}`,
  );
}

function sql(text: string, db = database): Promise<(string | null)[][]> {
  return new Promise((resolve, reject) => {
    const rows: (string | null)[][] = [];
    const client = new Connection({
      server: host,
      authentication: { type: 'default', options: { userName: user, password } },
      options: {
        port: Number(port),
        database: db,
        encrypt: true,
        trustServerCertificate: true,
        requestTimeout: 120_000,
      },
    });
    client.connect((failed) => {
      if (failed) return reject(failed);
      const request = new Request(text, (error) => {
        client.close();
        if (error) reject(new Error(`${error.message} in ${text.slice(0, 200)}`));
        else resolve(rows);
      });
      request.on('row', (cells: { value: unknown }[]) =>
        rows.push(cells.map(({ value }) => (value === null ? null : String(value)))),
      );
      client.execSqlBatch(request);
    });
  });
}

/** Type, a literal, and T-SQL by which the server prints what must arrive (`v` is the column). */
const types: readonly (readonly [string, string, string])[] = [
  ['bigint', '9223372036854775807', 'CONVERT(nvarchar(20), v)'],
  ['decimal(38,10)', '1234567890123456789012345678.0123456789', 'CONVERT(nvarchar(41), v)'],
  ['money', '922337203685477.5807', 'CONVERT(nvarchar(41), CONVERT(decimal(19,4), v))'],
  ['float', '0.1', "N'0.1'"],
  ['real', '0.1', "N'0.10000000149011612'"],
  ['date', "'2024-02-29'", 'CONVERT(nvarchar(10), v, 23)'],
  ['time(6)', "'23:59:59.123456'", "N'23:59:59.123456'"],
  ['datetime', "'20240229 23:59:59.997'", "N'2024-02-29 23:59:59.997'"],
  ['smalldatetime', "'20240229 23:59'", "N'2024-02-29 23:59:00'"],
  ['datetime2(6)', "'2024-02-29 23:59:59.123456'", "N'2024-02-29 23:59:59.123456'"],
  ['datetimeoffset(7)', "'2024-02-29 23:59:59.1234567 +05:30'", "N'2024-02-29 23:59:59.1234567 +05:30'"],
  ['char(5)', "'ab'", "N'ab   '"],
  ['varchar(20) COLLATE Cyrillic_General_CI_AS', "N'Ж€'", "N'Ж€'"],
  ['nvarchar(max)', "N'😀' + REPLICATE(CONVERT(nvarchar(max), N'x'), 100000)", 'v'],
  ['ntext', "N'ü'", "N'ü'"],
  ['varbinary(max)', '0x00FF5C', "N'00FF5C'"],
  ['uniqueidentifier', "'6f9619ff-8b86-d011-b42d-00c04fc964ff'", 'CONVERT(nvarchar(36), v)'],
  ['xml', 'N\'<a b="1">ü</a>\'', 'CONVERT(nvarchar(max), v)'],
  ['hierarchyid', "'/1/2.5/'", "N'/1/2.5/'"],
  [
    'geometry',
    "geometry::STGeomFromText('POINT (0.1 0.30000000000000004)', 7)",
    "N'SRID=7;POINT (0.1 0.30000000000000004)'",
  ],
  ['geography', 'geography::Point(52.5, 13.4, 4326)', "N'SRID=4326;POINT (13.4 52.5)'"],
  ['sql_variant', 'CONVERT(float, 0.1)', "N'0.1'"],
  ['sql_variant', "CONVERT(datetime, '20240229 23:59:59.997')", "N'2024-02-29 23:59:59.997'"],
];

async function describe(source: Source, name: string): Promise<Table> {
  const [one] = await source.describe([{ ref: { schema: 'dbo', name }, options: {} }]);
  if (!one || 'error' in one) throw new Error(`${name}: ${one?.error.message}`);
  return one.table;
}

async function lines(source: Source, table: Table): Promise<string[]> {
  const parts: Buffer[] = [];
  for (const range of (await source.split(table, undefined, 50_000)).ranges)
    for await (const { data } of source.read(table, undefined, range, never)) parts.push(Buffer.from(data));
  return Buffer.concat(parts).toString('utf8').split('\n').slice(0, -1).sort();
}

async function readsTypes(source: Source): Promise<void> {
  for (const [i, [type, literal, printed]] of types.entries()) {
    await sql(`CREATE TABLE typed_${i} (id int PRIMARY KEY, v ${type}); INSERT INTO typed_${i} VALUES (1, ${literal})`);
    const [line = ''] = await lines(source, await describe(source, `typed_${i}`));
    check(type, line.slice(2), (await sql(`SELECT ${printed} FROM typed_${i}`))[0]?.[0]);
  }
}

/** Applies what a reader tells to a copy, until it is as the source is. */
async function follows(type: string): Promise<void> {
  const source = await open(params({ type }), never);
  const name = `followed_${type.slice(4)}`;
  await sql(`CREATE TABLE ${name} (id int PRIMARY KEY, a int, body nvarchar(max), rv rowversion)`);
  if (type === 'rds.msadbctm') await sql(`ALTER TABLE ${name} ENABLE CHANGE_TRACKING`);
  if (type === 'rds.mscdcm')
    await sql(`EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'${name}', @role_name = NULL`);
  await sql(
    `INSERT INTO ${name} (id, a, body) SELECT TOP (2000) ROW_NUMBER() OVER (ORDER BY (SELECT 1)), 1, N'body' FROM sys.all_columns a, sys.all_columns b`,
  );
  const table = await describe(source, name);
  const findings = await source.preflight([table.ref]);
  check(
    `${type}: preflight`,
    findings.filter(({ severity }) => severity === 'error'),
    [],
  );
  const start = await source.begin('verify', 'verify_1', [table.ref], () => {}, never);
  const copy = new Map((await lines(source, table)).map((line) => [line.split('\t')[0] as string, line]));
  let from: Position = start.position;
  const rounds = [
    `UPDATE ${name} SET a = 2 WHERE id % 3 = 0; UPDATE ${name} SET body = NULL WHERE id = 5`,
    `UPDATE ${name} SET id = id + 10000 WHERE id = 7; INSERT INTO ${name} (id, a) VALUES (9999, 9)`,
    ...(type === 'rds.msts' ? [] : [`DELETE FROM ${name} WHERE id % 100 = 1`]),
  ].filter((text) => type !== 'rds.msts' || !text.includes('id = id'));
  for (const [i, round] of rounds.entries()) {
    await sql(round);
    const began = Date.now();
    const request = {
      pipeline: 'verify',
      name: 'verify_1',
      slot: '',
      identity: start.identity,
      from,
      tables: [{ table, skip: [] }],
      until: 'written' as const,
    };
    const reader = await source.capture?.(request, never);
    if (!reader) throw new Error('no capture');
    for await (const piece of reader.events())
      for (const event of piece) {
        if (event.kind === 'progress') from = event.position;
        if (event.kind === 'structure') throw new Error(event.reason);
        if (!('key' in event)) continue;
        if (event.oldKey !== null) copy.delete(event.oldKey);
        const cells = Buffer.from(event.data.subarray(event.from, event.to)).toString('utf8').trimEnd().split('\t');
        const before = copy.get(event.oldKey ?? event.key)?.split('\t');
        for (const column of event.missing ?? []) cells[column] = before?.[column] ?? 'MISSING';
        if (event.kind === 'delete') copy.delete(event.key);
        else copy.set(event.key, cells.join('\t'));
      }
    await reader[Symbol.asyncDispose]();
    check(`${type}: round ${i + 1}, ${Date.now() - began} ms`, [...copy.values()].sort(), await lines(source, table));
  }
  await source[Symbol.asyncDispose]();
}

function params(more: Params = {}): Params {
  return { host, port, uid: user, pwd: password, db: database, type: 'rds.msfull', ...more };
}

await sql(`CREATE DATABASE ${database}`, 'master');
try {
  await sql(`ALTER DATABASE ${database} SET ALLOW_SNAPSHOT_ISOLATION ON`, 'master');
  await sql(
    `ALTER DATABASE ${database} SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)`,
    'master',
  );
  await sql('EXEC sys.sp_cdc_enable_db');
  await using source = await open(params(), never);
  console.log(source.server.product, source.server.version);
  await readsTypes(source);
  for (const type of ['rds.msadbctm', 'rds.mscdcm', 'rds.msts']) await follows(type);
} finally {
  await sql(`ALTER DATABASE ${database} SET SINGLE_USER WITH ROLLBACK IMMEDIATE; DROP DATABASE ${database}`, 'master');
}
console.log(failures === 0 ? 'everything as expected' : `${failures} differences`);
process.exitCode = failures === 0 ? 0 : 1;
