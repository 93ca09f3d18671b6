import type { FollowedTable } from '../src/drivers/changes.ts';
import { createLogReader } from '../src/drivers/oracle/log-reader.ts';
import { OPERATION, type RedoRow } from '../src/drivers/oracle/mining-session.ts';
import { createFollower } from '../src/drivers/oracle/redo-entry.ts';
import { parseRedo } from '../src/drivers/oracle/redo-statement.ts';
import { buffer, createTransactions } from '../src/drivers/oracle/transactions.ts';
import { statements } from '../test/fakes/oracle/redo.ts';
import { type Reading, timed } from './reader-figure.ts';
import type { Readings } from './readers.ts';

// How fast the redo log of Oracle is read, without a server: statements alone, and the whole engine, in transactions of ten rows:
// node bench/oracle.ts rows rounds

const ROWS = Number(process.argv[2]);
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

const rows = redo();

async function parsed(): Promise<number> {
  let count = 0;
  for (const row of rows) if (row.sql !== '' && parseRedo(row.sql)) count++;
  return count;
}

async function followedRows(): Promise<number> {
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
  let count = 0;
  for (const row of rows) {
    const taken = reader.take(row);
    if (taken === undefined) continue;
    for (const some of await taken) for (const { kind } of some) if (kind !== 'commit') count++;
  }
  transactions.close();
  return count;
}

const statementRuns: Reading[] = [];
const engineRuns: Reading[] = [];
for (let round = 0; round < Number(process.argv[3]); round++) {
  statementRuns.push(await timed(parsed, ROWS));
  engineRuns.push(await timed(followedRows, ROWS));
}
const all: Readings[] = [
  { name: 'Oracle (no server): statements of the log', runs: statementRuns },
  { name: 'Oracle (no server): the log as changes, transactions of ten', runs: engineRuns },
];
console.log(JSON.stringify(all));
