// The SQL Server reader against the plain row API of `mssql`, both on the fake server, which sends rows that it has encoded before:
// node bench/mssql.ts rows rounds. The same rows in the types that each asks for; plain means `SELECT *` and every value as text.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import mssql from 'mssql';
import { open } from '../src/drivers/mssql/source.ts';
import { createEngine } from '../test/fakes/mssql/engine.ts';
import { startTds } from '../test/fakes/mssql/server.ts';
import { row } from '../test/fakes/mssql/tokens.ts';
import { wireType } from '../test/fakes/mssql/wire-types.ts';
import { type Reading, timed } from './reader-figure.ts';
import type { Readings } from './readers.ts';

/** Name, type, the type that the driver asks for, and the values of the n-th row. */
const columns: readonly (readonly [string, string, string, (n: number) => unknown])[] = [
  ['id', 'bigint', 'bigint', (n) => BigInt(n)],
  ['customer_id', 'int', 'int', (n) => (n * 7919) % 50_000],
  ['quantity', 'int', 'int', (n) => (n % 17 > 0 ? n % 100 : null)],
  ['price', 'decimal(12,2)', 'nvarchar(41)', (n) => `${n % 100_000}.07`],
  ['discount', 'decimal(8,4)', 'nvarchar(41)', (n) => (n % 5 > 0 ? `0.${String(n % 1000).padStart(4, '0')}` : null)],
  ['ordered_at', 'datetime2(6)', 'nvarchar(27)', (n) => `2023-01-01 00:00:${String(n % 60).padStart(2, '0')}.000123`],
  ['shipped_at', 'datetime2(6)', 'nvarchar(27)', (n) => (n % 4 > 0 ? '2023-01-03 12:30:59.000457' : null)],
  ['status', 'nvarchar(20)', 'nvarchar(20)', (n) => ['new', 'paid', 'shipped', 'zurückgegeben', ''][n % 5]],
  ['reference', 'nvarchar(60)', 'nvarchar(60)', (n) => `R-${String(n).padStart(32, '0')}`],
  [
    'note',
    'nvarchar(200)',
    'nvarchar(200)',
    (n) => (n % 11 === 0 ? null : `${'lorem ipsum '.repeat(n % 9)}${n % 100 === 0 ? '\t\n\\ 😀' : ''}`),
  ],
];
const SAMPLE = 1000;

if (process.argv[2] === 'serve') await serve(Number(process.argv[3]));
else await measure(Number(process.argv[2]), Number(process.argv[3]));

async function serve(count: number): Promise<void> {
  const engine = createEngine();
  const key = columns.map(([name, type]) => `${name} ${type}${name === 'id' ? ' primary key' : ''}`);
  engine.run(`create table orders (${key.join(', ')})`);
  const encoded = ([0, 1] as const).map((asked) => {
    const wire = columns.map(([name, plain, other]) => ({ name, type: wireType(asked === 1 ? other : plain) }));
    const rows = Array.from({ length: SAMPLE }, (_, n) =>
      row(
        wire,
        columns.map(([, , , value]) => value(n) ?? null),
      ),
    );
    return { wire, rows };
  });
  const tds = await startTds({
    logIn: () => {
      const session = engine.session();
      return {
        ...session,
        execute(call) {
          const asked = call.sql.startsWith('SELECT * FROM')
            ? 0
            : /FROM \[dbo\]\.\[orders\]/.test(call.sql)
              ? 1
              : undefined;
          const found = asked === undefined ? undefined : encoded[asked];
          return found ? { columns: found.wire, wire: repeat(found.rows, count) } : session.execute(call);
        },
      };
    },
  });
  console.log(tds.port);
}

function* repeat(rows: readonly Buffer[], count: number): Generator<Buffer> {
  for (let n = 0; n < count; n++) yield rows[n % rows.length] as Buffer;
}

async function measure(count: number, rounds: number): Promise<void> {
  const server = spawn(process.execPath, [process.argv[1] ?? '', 'serve', String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [told] = (await once(server.stdout, 'data')) as [Buffer];
  const port = Number(told.toString());
  const own: Reading[] = [];
  const plain: Reading[] = [];
  for (let round = 0; round < rounds; round++) {
    own.push(await timed(() => byDriver(port), count));
    plain.push(await timed(() => byRows(port), count));
  }
  const beside = 'SQL Server (fake): rows of mssql as text';
  const all: Readings[] = [
    { name: 'SQL Server (fake): load text', beside, runs: own },
    { name: beside, runs: plain },
  ];
  console.log(JSON.stringify(all));
  server.kill();
}

async function byDriver(port: number): Promise<number> {
  const { signal } = new AbortController();
  await using source = await open(
    { host: '127.0.0.1', port: String(port), uid: 'u', pwd: 'p', db: 'shop', type: 'rds.msfull' },
    signal,
  );
  const [described] = await source.describe([{ ref: { schema: 'dbo', name: 'orders' }, options: {} }]);
  if (!described || 'error' in described) throw new Error('not described');
  let rows = 0;
  for await (const batch of source.read(described.table, undefined, '{}', signal)) rows += batch.rows;
  return rows;
}

/** What `mssql` gives by itself: rows as objects, their values as text. */
async function byRows(port: number): Promise<number> {
  const pool = new mssql.ConnectionPool({
    server: '127.0.0.1',
    user: 'u',
    password: 'p',
    options: { port, encrypt: false, requestTimeout: 0, packetSize: 32_767 },
  });
  await pool.connect();
  let rows = 0;
  const request = new mssql.Request(pool);
  request.stream = true;
  request.on('row', (row: Readonly<Record<string, unknown>>) => {
    // What a loader would send on: text.
    let line = '';
    for (const value of Object.values(row)) line += `${value instanceof Date ? value.toISOString() : value}\t`;
    if (line !== '') rows++;
  });
  await request.batch('SELECT * FROM orders');
  await pool.close();
  return rows;
}
