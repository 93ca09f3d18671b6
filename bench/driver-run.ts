// The drivers alone: reads and loads one table without API, Temporal or promotion, and prints what that took. Reads its task as JSON from
// standard input: node bench/driver-run.ts < task.json
import { text } from 'node:stream/consumers';
import type { Destination, Planned } from '../src/drivers/destination.ts';
import type { Params, Table, TableRef } from '../src/drivers/model.ts';
import { openDestination, sourceDrivers } from '../src/drivers/registry.ts';
import type { Source } from '../src/drivers/source.ts';

export type DriverTask = {
  readonly driver: 'postgres' | 'mysql';
  readonly source: Params;
  readonly destination: Params;
  readonly database: string;
  readonly ref: TableRef;
  readonly threads: number;
  readonly chunkBytes: number;
};

/** Seconds of the load proper (planning is not counted) and CPU seconds of this process in it. */
export type DriverResult = {
  readonly wall: number;
  readonly cpu: number;
  readonly rows: number;
  readonly chunks: number;
  readonly target: string;
  readonly peak: number;
};

const task = JSON.parse(await text(process.stdin)) as DriverTask;
const { signal } = new AbortController();
const openSource = await sourceDrivers[task.driver]?.();
if (!openSource) throw new Error(`no driver ${task.driver}`);
await using source = await openSource(task.source, signal);
await using destination = await openDestination(task.destination, signal);
const result = await run(source, destination);
console.log(JSON.stringify(result));

async function run(source: Source, destination: Destination): Promise<DriverResult> {
  const { database, ref } = task;
  const [described] = await source.describe([{ ref, options: {} }]);
  if (!described || 'error' in described) throw new Error(JSON.stringify(described));
  const { table } = described;
  const split = await source.split(table, undefined, task.chunkBytes);
  await destination.prepare(database);
  const [planned] = await destination.plan(database, [
    {
      pipeline: 'driver-run',
      scope: 1,
      run: Math.floor(Date.now() / 1000),
      ref,
      target: { database, table: ref.name },
      table,
      ranges: split.ranges,
      replace: split.replace,
      adopt: true,
      skipInitial: false,
      shape: table.structure,
      again: true,
    },
  ]);
  if (!planned || 'class' in planned) throw new Error(JSON.stringify(planned));
  const before = process.cpuUsage();
  const started = performance.now();
  const rows = await loadAll(source, destination, table, planned, split.replace);
  const wall = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  const target = `_flow_${planned.id}_${planned.load}_shadow`;
  const peak = process.resourceUsage().maxRSS / 1024;
  return { wall, cpu: (user + system) / 1e6, rows, chunks: planned.chunks, target, peak };
}

async function loadAll(
  source: Source,
  destination: Destination,
  table: Table,
  planned: Planned,
  replace: boolean,
): Promise<number> {
  const open = [...planned.open];
  let rows = 0;
  const thread = async () => {
    for (let next = open.shift(); next; next = open.shift()) {
      const claim = await destination.claimChunk(task.database, planned.id, planned.load, next.chunk);
      if (!claim) continue;
      const batches = source.read(table, undefined, claim.range, signal);
      const target = { database: task.database, table, replace };
      const loaded = await destination.loadChunk(target, claim, batches, () => {}, signal);
      rows += loaded.rows;
    }
  };
  await Promise.all(Array.from({ length: task.threads }, thread));
  return rows;
}
