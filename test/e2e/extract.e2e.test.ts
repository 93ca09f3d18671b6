import { randomUUID } from 'node:crypto';
import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { compareTables, describeDifferences } from '../../scripts/compare.ts';
import type { ServerInfo } from '../../scripts/servers/server.ts';
import { createConnections } from '../../src/activities/connections.ts';
import { createBulkActivities, createQuickActivities } from '../../src/activities/index.ts';
import { setInstallation } from '../../src/activities/names.ts';
import { newKeyText, parseKey, type SecretKey, sealParams } from '../../src/secrets.ts';
import { queries, queues, type Run, type SelectedTable, updates } from '../../src/workflows/messages.ts';
import { type Harness, startHarness, until } from '../workflows/harness.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';

const key = parseKey(newKeyText()) as SecretKey;
const cases: readonly (readonly [string, () => Promise<SeededSource>])[] = [
  ['PostgreSQL 15', () => seedPostgres(inject('postgres15'), 200_000)],
  ['PostgreSQL 18', () => seedPostgres(inject('postgres18'), 200_000)],
  ['MySQL 9', () => seedMysql(inject('mysql9'), 200_000)],
  ['MariaDB 10.11', () => seedMysql(inject('mariadb'), 200_000)],
];

let harness: Harness;
beforeAll(async () => {
  setInstallation(randomUUID());
  const connections = createConnections(key);
  const activities = { ...createBulkActivities(connections), ...createQuickActivities(connections) };
  harness = await startHarness({ address: inject('temporal').address, bundlePath: inject('bundlePath') }, activities);
});
afterAll(() => harness?.stop());

describe.each(cases)('a full extract from %s', (_, seed) => {
  const destination: ServerInfo = inject('destination');
  const db = `dst_${randomUUID().slice(0, 8)}`;
  let source: SeededSource;
  beforeAll(async () => {
    source = await seed();
  });
  afterAll(async () => {
    await source?.drop();
    const client = await mysql.createConnection({ ...address(destination) });
    await client.query(`drop database if exists ${db}`);
    await client.end();
  });

  it('copies every table exactly, twice, with changes in between', async () => {
    const handle = await start(source, destination, db);
    await full(handle);
    await same(source, destination, db);
    await source.run(
      source.kind === 'postgres'
        ? 'delete from big where id % 3 = 0; update text_key set v = null'
        : `use ${source.schema}; delete from big where id % 3 = 0; update text_key set v = null`,
    );
    await full(handle);
    await same(source, destination, db);
  });
});

async function start(source: SeededSource, destination: ServerInfo, db: string) {
  const name = `p-${randomUUID().slice(0, 8)}`;
  const handle = await harness.client.workflow.start('pipeline', {
    taskQueue: queues.ingest,
    workflowId: `pipeline/${name}`,
    args: [{ name, zone: 'UTC' }],
  });
  const target = {
    host: destination.host,
    port: String(destination.port),
    uid: destination.user,
    pwd: destination.password,
    type: 'rds.sstorem',
    db,
  };
  for (const [side, params] of [
    ['source', source.params],
    ['destination', target],
  ] as const) {
    await handle.executeUpdate(updates.setConnection, {
      args: [{ side, params: sealParams(key, params), fingerprint: side, revision: 0, unknown: [] }],
    });
  }
  for (const table of source.tables) {
    await handle.executeUpdate(updates.setTable, {
      args: [{ table: { database: source.database, schema: source.schema, name: table }, select: true, options: {} }],
    });
  }
  return handle;
}

async function full(handle: Awaited<ReturnType<typeof start>>): Promise<void> {
  const { run } =
    (await handle.executeUpdate<{ run: Run }, [unknown]>(updates.request, { args: [{ operation: 'full' }] })) ?? {};
  const [ended] = await until(
    () => handle.query<readonly Run[]>(queries.runs),
    ([last]) => last?.id === run?.id && last?.endedAt !== null,
    120_000,
  );
  const tables = await handle.query<readonly SelectedTable[]>(queries.selection);
  expect(tables.filter((table) => table.error).map((table) => [table.name, table.error])).toEqual([]);
  expect(ended).toMatchObject({ state: 'succeeded', error: null });
}

async function same(source: SeededSource, destination: ServerInfo, db: string): Promise<void> {
  const tables = source.tables.map((name) => ({
    source: { schema: source.schema, name },
    destination: { schema: db, name },
  }));
  const compared = await compareTables(source.compared, address(destination), tables);
  expect(compared.flatMap(describeDifferences)).toEqual([]);
  expect(compared.map((one) => one.sourceRows)).toEqual(compared.map((one) => one.destinationRows));
  expect(compared[0]?.sourceRows).toBeGreaterThan(100_000);
}

function address({ host, port, user, password }: ServerInfo) {
  return { host, port, user, password };
}
