// What only a real SQL Server can settle (docs/verification.md): node scripts/verify-mssql.ts HOST PORT USER PASSWORD [DATABASE]
// Makes a database of its own, for which the user must be a sysadmin, and removes it at the end; or works in the given empty one and leaves its
// tables there (Azure SQL; the fake of the tests, as far as that goes). Reads tables of all types, follows changes by change tracking, CDC and row
// versions, and compares with what the server itself prints; then says how the server does what its documentation leaves open.
import mssql from 'mssql';
import type { Params, Position, Table } from '../src/drivers/model.ts';
import { open } from '../src/drivers/mssql/source.ts';
import type { Source } from '../src/drivers/source.ts';

const [host = '127.0.0.1', port = '1433', user = 'sa', password = '', given] = process.argv.slice(2);
const database = given ?? `flow_verify_${Date.now().toString(36)}`;
const never = new AbortController().signal;
let encrypt = true;
let failures = 0;

function check(what: string, here: unknown, there: unknown): void {
  const same = JSON.stringify(here) === JSON.stringify(there);
  if (!same) failures++;
  console.log(
    `${same ? 'ok  ' : 'DIFF'} ${what}${same ? '' : `\n     driver: ${short(here)}\n     server: ${short(there)}`}`,
  );
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 500 ? `${text.slice(0, 500)}… (${text.length})` : text;
}

/** One part; what it throws is told, and the next one follows. */
async function step(what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    failures++;
    console.log(`FAIL ${what}: ${error instanceof Error ? error.message : error}`);
  }
}

/** Statements, each as a batch of its own; rows of the last one as text. */
async function sql(statements: string | readonly string[], db = database): Promise<(string | null)[][]> {
  const pool = new mssql.ConnectionPool({
    server: host,
    user,
    password,
    database: db,
    arrayRowMode: true,
    pool: { min: 1, max: 1 },
    options: { port: Number(port), encrypt, trustServerCertificate: true, requestTimeout: 120_000 },
  });
  let rows: (string | null)[][] = [];
  try {
    await pool.connect();
    for (const one of typeof statements === 'string' ? [statements] : statements) {
      const { recordset } = await pool.request().batch(one);
      rows = ((recordset ?? []) as unknown as unknown[][]).map((row) =>
        row.map((value) => (value === null ? null : Buffer.isBuffer(value) ? value.toString('hex') : String(value))),
      );
    }
    return rows;
  } catch (error) {
    const { code } = ((error as mssql.MSSQLError).originalError ?? error) as { code?: string };
    if (code !== 'EENCRYPT' || !encrypt) throw error;
    encrypt = false;
    return sql(statements, db);
  } finally {
    await pool.close();
  }
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
    await step(type, async () => {
      await sql([
        `CREATE TABLE typed_${i} (id int PRIMARY KEY, v ${type})`,
        `INSERT INTO typed_${i} VALUES (1, ${literal})`,
      ]);
      const [line = ''] = await lines(source, await describe(source, `typed_${i}`));
      check(type, line.slice(2), (await sql(`SELECT ${printed} AS printed FROM typed_${i}`))[0]?.[0]);
    });
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
  // A statement takes at most a thousand rows.
  await sql(
    [0, 1000].map(
      (from) =>
        `INSERT INTO ${name} (id, a, body) VALUES ${Array.from({ length: 1000 }, (_, i) => `(${from + i + 1}, 1, N'body')`).join(', ')}`,
    ),
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
    [`UPDATE ${name} SET a = 2 WHERE id % 3 = 0`, `UPDATE ${name} SET body = NULL WHERE id = 5`],
    // A cursor sees neither deletes nor keys that change.
    ...(type === 'rds.msts'
      ? [[`INSERT INTO ${name} (id, a) VALUES (9999, 9)`]]
      : [
          [`UPDATE ${name} SET id = id + 10000 WHERE id = 7`, `INSERT INTO ${name} (id, a) VALUES (9999, 9)`],
          [`DELETE FROM ${name} WHERE id % 100 = 1`],
        ]),
  ];
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
    const again = new Set<string>();
    if (!reader) throw new Error('no capture');
    for await (const piece of reader.events())
      for (const event of piece) {
        if (event.kind === 'progress') from = event.position;
        if (event.kind === 'structure') throw new Error(event.reason);
        if (!('key' in event)) continue;
        if (event.oldKey !== null) copy.delete(event.oldKey);
        const cells = Buffer.from(event.data.subarray(event.from, event.to)).toString('utf8').trimEnd().split('\t');
        const before = copy.get(event.oldKey ?? event.key)?.split('\t');
        for (const column of event.missing ?? []) {
          if (!before) again.add(event.key);
          cells[column] = before?.[column] ?? '';
        }
        if (event.kind === 'delete') copy.delete(event.key);
        else copy.set(event.key, cells.join('\t'));
      }
    // As a destination does with rows whose columns are nowhere to be had.
    for await (const { data } of source.reread(table, [...again], never))
      for (const line of Buffer.from(data).toString('utf8').split('\n').slice(0, -1))
        copy.set(line.split('\t')[0] as string, line);
    await reader[Symbol.asyncDispose]();
    check(`${type}: round ${i + 1}, ${Date.now() - began} ms`, [...copy.values()].sort(), await lines(source, table));
  }
  await source[Symbol.asyncDispose]();
}

function params(more: Params = {}): Params {
  return { host, port, uid: user, pwd: password, db: database, type: 'rds.msfull', ...more };
}

/** How the server does what its documentation leaves open, and the driver takes the safe side of. Nothing here is right or wrong. */
async function tells(): Promise<void> {
  const say = (what: string, rows: (string | null)[][]): void => console.log(`tell ${what}: ${short(rows)}`);
  await step('TRUNCATE under change tracking', async () => {
    const state = `SELECT CHANGE_TRACKING_CURRENT_VERSION() AS now, t.begin_version, CHANGE_TRACKING_MIN_VALID_VERSION(t.object_id) AS least
 FROM sys.change_tracking_tables AS t WHERE t.object_id = OBJECT_ID(N'dbo.told')`;
    await sql(['CREATE TABLE told (id int PRIMARY KEY)', 'ALTER TABLE told ENABLE CHANGE_TRACKING']);
    await sql('INSERT INTO told VALUES (1)');
    say('version, beginning and least valid version before TRUNCATE', await sql(state));
    await sql('TRUNCATE TABLE told');
    say('and after', await sql(state));
  });
  await step('large values of rows that move, in CDC', async () => {
    await sql([
      'CREATE TABLE moved (id int PRIMARY KEY, a int, body nvarchar(max))',
      "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'moved', @role_name = NULL",
    ]);
    const begins =
      "SELECT CONVERT(nvarchar(20), start_lsn, 2) FROM cdc.change_tables WHERE capture_instance = N'dbo_moved'";
    say('where an instance begins that was just made', await sql(begins));
    await sql("INSERT INTO moved VALUES (1, 1, REPLICATE(CONVERT(nvarchar(max), N'x'), 20000)), (2, 2, N'short')");
    await sql(['UPDATE moved SET a = 3', 'UPDATE moved SET id = id + 10']);
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    say('where it begins later', await sql(begins));
    say(
      'commit, command, sequence, operation, mask, key, length of the large value',
      await sql(`SELECT CONVERT(nvarchar(20), __$start_lsn, 2), __$command_id, CONVERT(nvarchar(20), __$seqval, 2), __$operation,
 CONVERT(nvarchar(10), __$update_mask, 2), id, LEN(body) FROM cdc.dbo_moved_CT ORDER BY __$start_lsn, __$command_id, __$seqval, __$operation`),
    );
    say(
      'scans, one line for those in a row that find nothing or not',
      await sql(
        'SELECT TOP (5) session_id, start_time, end_time, tran_count, empty_scan_count FROM sys.dm_cdc_log_scan_sessions ORDER BY session_id DESC',
      ),
    );
  });
}

if (given === undefined) await sql(`CREATE DATABASE ${database}`, 'master');
try {
  await step('snapshot isolation', () => sql(`ALTER DATABASE ${database} SET ALLOW_SNAPSHOT_ISOLATION ON`));
  await step('change tracking', () =>
    sql(`ALTER DATABASE ${database} SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)`),
  );
  await step('CDC', () => sql('EXEC sys.sp_cdc_enable_db'));
  await using source = await open(params(), never);
  console.log(source.server.product, source.server.version);
  await readsTypes(source);
  for (const type of ['rds.msadbctm', 'rds.mscdcm', 'rds.msts']) await step(type, () => follows(type));
  await tells();
} finally {
  if (given === undefined)
    await sql(
      [`ALTER DATABASE ${database} SET SINGLE_USER WITH ROLLBACK IMMEDIATE`, `DROP DATABASE ${database}`],
      'master',
    );
}
console.log(failures === 0 ? 'everything as expected' : `${failures} differences or failures`);
process.exitCode = failures === 0 ? 0 : 1;
