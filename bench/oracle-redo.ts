import type { FollowedTable, LogEvent } from '../src/drivers/changes.ts';
import { createLogReader } from '../src/drivers/oracle/log-reader.ts';
import { OPERATION, type RedoRow } from '../src/drivers/oracle/mining-session.ts';
import { createFollower } from '../src/drivers/oracle/redo-entry.ts';
import { parseRedo } from '../src/drivers/oracle/redo-statement.ts';
import { buffer, createTransactions } from '../src/drivers/oracle/transactions.ts';
import { statements } from '../test/fakes/oracle/redo.ts';

/** How fast the redo log of Oracle is read, without a server: statements alone, and the whole engine, in transactions of ten rows. */

const ROWS = 200_000;
const columns = [
  { name: 'ID', type: 'NUMBER(18)' },
  { name: 'CUSTOMER', type: 'NUMBER(9)' },
  { name: 'AMOUNT', type: 'NUMBER(12,2)' },
  { name: 'AT', type: 'TIMESTAMP(6)' },
  { name: 'NOTE', type: 'VARCHAR2(80 CHAR)' },
];
const followed: FollowedTable = {
  skip: [],
  table: {
    ref: { schema: 'SHOP', name: 'ORDERS' },
    kind: 'table',
    columns: columns.map(({ name, type }) => ({
      name,
      sourceType: type,
      type: name === 'AT' ? { kind: 'datetime', fraction: 6 } : { kind: 'varchar', length: 80 },
      nullable: true,
      masked: false,
    })),
    leftOut: [],
    key: ['ID'],
    textKey: false,
    approxRows: ROWS,
    approxBytes: 0,
    structure: '',
    storage: '',
    warnings: [],
  },
};

function redo(): RedoRow[] {
  const rows: RedoRow[] = [];
  const common = {
    time: '2026-01-02 03:04:05',
    undoes: false,
    status: 0,
    info: '',
    owner: 'SHOP',
    table: 'ORDERS',
    object: '1',
    rowId: '',
    sql: '',
  };
  for (let i = 0; i < ROWS; i++) {
    const scn = BigInt(i + 10);
    const xid = `0A00${((i / 10) & 0xffff).toString(16).padStart(4, '0')}00000001`.toUpperCase();
    const before = [BigInt(i), BigInt(i % 5000), `${i}.25`, ' 2026-01-02 03:04:05.123456000', `note ${i} of an order`];
    const after = [BigInt(i), BigInt(i % 5000), `${i}.75`, ' 2026-01-02 03:04:06.123456000', `another note ${i}`];
    const [one] = statements(
      (['insert', 'update', 'delete'] as const)[i % 3] ?? 'insert',
      'SHOP',
      'ORDERS',
      columns,
      before,
      i % 3 === 0 ? before : after,
    );
    if (i % 10 === 0) rows.push({ ...common, scn, xid, operation: OPERATION.start });
    rows.push({ ...common, scn, xid, operation: one?.operation ?? 0, rowId: `AAA${i}`, sql: one?.sql ?? '' });
    if (i % 10 === 9) rows.push({ ...common, scn, xid, operation: OPERATION.commit });
  }
  return rows;
}

function report(what: string, startedMs: number, cpu: NodeJS.CpuUsage): void {
  const used = process.cpuUsage(cpu);
  const seconds = (performance.now() - startedMs) / 1000;
  const cpuSeconds = (used.user + used.system) / 1_000_000;
  console.log(
    `${what}: ${Math.round(ROWS / seconds).toLocaleString('en')} rows/s, ${Math.round(ROWS / cpuSeconds).toLocaleString('en')} rows per CPU-second`,
  );
}

const rows = redo();
for (let round = 0; round < 3; round++) {
  let started = performance.now();
  let cpu = process.cpuUsage();
  for (const row of rows) if (row.sql !== '') parseRedo(row.sql);
  report('statements', started, cpu);
  started = performance.now();
  cpu = process.cpuUsage();
  const followers = [createFollower(followed, 0, false, true)];
  const transactions = createTransactions(buffer.bytes);
  const pool = { lend: () => Promise.reject(new Error('no server')) } as never;
  const reader = createLogReader({
    pool,
    followers,
    transactions,
    from: { scn: 1n, from: 1n },
    zoneMs: 0,
    objects: new Map(),
    find: async () => undefined,
  });
  let events = 0;
  const count = (some: readonly LogEvent[]): void => {
    events += some.length;
  };
  for (const row of rows) {
    const taken = reader.take(row);
    if (taken !== undefined) for (const some of await taken) count(some);
  }
  report(`engine (${events} events)`, started, cpu);
  transactions.close();
}
