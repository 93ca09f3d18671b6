import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import mysql from 'mysql2/promise';
import { expect, inject } from 'vitest';
import { type ComparedTable, compareTables, describeDifferences } from '../../scripts/compare.ts';
import type { ServerInfo } from '../../scripts/servers/server.ts';
import { createConnections } from '../../src/activities/connections.ts';
import {
  type BulkActivities,
  createBulkActivities,
  createQuickActivities,
  createStreamActivities,
  type QuickActivities,
  type StreamActivities,
} from '../../src/activities/index.ts';
import { setInstallation } from '../../src/activities/names.ts';
import type { TableOptions } from '../../src/drivers/model.ts';
import { newKeyText, parseKey, type SecretKey, sealParams } from '../../src/secrets.ts';
import {
  type Operation,
  queries,
  queues,
  type RequestAnswer,
  type Run,
  type SelectedTable,
  updates,
} from '../../src/workflows/messages.ts';
import { startSingleStoreProxy } from '../fakes/singlestore/proxy.ts';
import { type Harness, startHarness, until } from '../workflows/harness.ts';
import type { SeededSource } from './sources.ts';

/** The key that `sealed` uses, as a worker's key file holds it. */
export const keyText = newKeyText();
const key = parseKey(keyText) as SecretKey;

/** Parameters as they travel: secrets sealed with the workers' key. */
export function sealed(params: Record<string, string>): Record<string, string> {
  return sealParams(key, params);
}

/** Real workflows and activities on the shared Temporal server, in a namespace of their own. `change` may put something in an activity's place. */
export async function startWorker(
  change: (activities: BulkActivities & QuickActivities & StreamActivities) => Partial<StreamActivities> = () => ({}),
): Promise<Harness> {
  setInstallation(randomUUID());
  const connections = createConnections(key);
  const activities = {
    ...createBulkActivities(connections),
    ...createQuickActivities(connections),
    ...createStreamActivities(connections),
  };
  const where = { address: inject('temporal').address, bundlePath: inject('bundlePath') };
  return startHarness(where, { ...activities, ...change(activities) });
}

/** A destination database of its own; in SingleStore mode behind the proxy that rejects what SingleStore rejects. */
export type Destination = {
  readonly db: string;
  readonly params: Record<string, string>;
  /** Statements that the proxy rejected; a product that talks to SingleStore causes none. */
  rejections(): readonly { readonly sql: string; readonly rule: string }[];
  query<T>(sql: string): Promise<T[]>;
  drop(): Promise<void>;
};

export async function makeDestination(mode: 'mariadb' | 'singlestore'): Promise<Destination> {
  const server = inject('destination');
  const proxy = mode === 'singlestore' ? await startSingleStoreProxy({ backend: address(server) }) : undefined;
  const db = `dst_${randomUUID().slice(0, 8)}`;
  const query = async <T>(sql: string): Promise<T[]> => {
    const client = await mysql.createConnection({
      ...address(server),
      supportBigNumbers: true,
      bigNumberStrings: true,
    });
    try {
      return (await client.query(sql))[0] as T[];
    } finally {
      client.destroy();
    }
  };
  const at = proxy ?? server;
  return {
    db,
    params: { host: at.host, port: String(at.port), uid: server.user, pwd: server.password, type: 'rds.sstorem', db },
    rejections: () => proxy?.rejections() ?? [],
    query,
    drop: async () => {
      await query(`drop database if exists \`${db}\``);
      await proxy?.close();
    },
  };
}

export type TableChoice = { readonly name: string; readonly options?: TableOptions };

/** A pipeline with both ends saved and tables selected, by messages rather than by HTTP. */
export async function startPipeline(
  harness: Pick<Harness, 'client'>,
  source: SeededSource,
  target: Destination,
  tables: readonly TableChoice[],
): Promise<WorkflowHandle> {
  const name = `p-${randomUUID().slice(0, 8)}`;
  const handle = await harness.client.workflow.start('pipeline', {
    taskQueue: queues.ingest,
    workflowId: `pipeline/${name}`,
    args: [{ name, zone: 'UTC' }],
  });
  for (const [side, params] of [
    ['source', source.params],
    ['destination', target.params],
  ] as const) {
    const argument = { side, params: sealed(params), fingerprint: side, revision: 0, unknown: [] };
    await handle.executeUpdate(updates.setConnection, { args: [argument] });
  }
  // In the order given, unless they are many: the server takes ten updates of one workflow at a time.
  const together = tables.length > 100 ? 8 : 1;
  for (let i = 0; i < tables.length; i += together)
    await Promise.all(tables.slice(i, i + together).map((table) => choose(handle, source, table)));
  return handle;
}

export async function choose(
  handle: WorkflowHandle,
  source: SeededSource,
  { name, options }: TableChoice,
  select = true,
): Promise<void> {
  const table = { database: source.database, schema: source.schema, name };
  await handle.executeUpdate(updates.setTable, { args: [{ table, select, options: options ?? {} }] });
}

/** Runs a full extract to its end. */
export function runFull(handle: WorkflowHandle, forMs = 60_000): Promise<Run> {
  return runOperation(handle, 'full', forMs);
}

/** Runs an operation to its end. */
export async function runOperation(handle: WorkflowHandle, operation: Operation, forMs = 60_000): Promise<Run> {
  const answer = await handle.executeUpdate<RequestAnswer, [unknown]>(updates.request, { args: [{ operation }] });
  if (!answer.accepted) throw new Error(`${answer.code}: ${answer.text}`);
  const own = async (): Promise<Run | undefined> =>
    (await handle.query<readonly Run[]>(queries.runs)).find((run) => run.id === answer.run.id);
  return (await until(own, (run) => run?.endedAt != null, forMs).catch(async (error: Error) => {
    throw new Error(`${error.message}; ${await pending(handle, operation, answer.run.id)}`);
  })) as Run;
}

/** What a run that doesn't end is waiting for. */
async function pending(handle: WorkflowHandle, operation: Operation, run: number): Promise<string> {
  const child = handle.client.getHandle(`${handle.workflowId}/${operation}/${run}`);
  const { raw } = await child.describe();
  return (raw.pendingActivities ?? [])
    .map((one) => `${one.activityType?.name}, attempt ${one.attempt}: ${one.lastFailure?.message ?? 'no failure'}`)
    .join('; ');
}

export async function selection(handle: WorkflowHandle): Promise<readonly SelectedTable[]> {
  return handle.query<readonly SelectedTable[]>(queries.selection);
}

/** The run succeeded and no table failed. */
export async function expectGood(handle: WorkflowHandle, run: Run): Promise<void> {
  const failed = (await selection(handle)).filter((table) => table.error);
  expect(failed.map((table) => [table.name, table.error])).toEqual([]);
  expect(run).toMatchObject({ state: 'succeeded', error: null });
}

/** Compares by content, both directions, with a reader that shares no code with the product. */
export async function expectSame(
  source: SeededSource,
  target: Destination,
  tables: readonly (string | ComparedTable)[],
): Promise<void> {
  const compared = await compareTables(
    source.compared,
    address(inject('destination')),
    tables.map((one) =>
      typeof one === 'string'
        ? { source: { schema: source.schema, name: one }, destination: { schema: target.db, name: one } }
        : one,
    ),
  );
  expect(compared.flatMap(describeDifferences)).toEqual([]);
  expect(compared.map((one) => one.destinationRows)).toEqual(compared.map((one) => one.sourceRows));
}

/** Nothing of a run is left at the destination but control tables and the copies themselves. */
export async function expectClean(target: Destination): Promise<void> {
  const names = await target.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = '${target.db}'`,
  );
  expect(names.map((row) => row.name).filter((name) => /_(shadow|old)$/.test(name))).toEqual([]);
}

function address({ host, port, user, password }: ServerInfo) {
  return { host, port, user, password };
}
