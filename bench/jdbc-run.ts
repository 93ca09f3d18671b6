// A JDBC source alone: reads one table twice, into nothing, and prints what the second reading took. Reads its task as JSON from standard
// input: node bench/jdbc-run.ts < task.json
import { text } from 'node:stream/consumers';
import type { Params, Table } from '../src/drivers/model.ts';
import { sourceDrivers } from '../src/drivers/registry.ts';
import type { Source } from '../src/drivers/source.ts';
import { cpuSeconds } from './meter.ts';
import type { Reading } from './reader-figure.ts';

export type JdbcTask = { readonly params: Params; readonly schema: string; readonly name: string };

const task = JSON.parse(await text(process.stdin)) as JdbcTask;
const { signal } = new AbortController();
const open = await sourceDrivers['jdbc']?.();
if (!open) throw new Error('no JDBC driver');
await using source = await open(task.params, signal);
const [described] = await source.describe([{ ref: { schema: task.schema, name: task.name }, options: {} }]);
if (!described || 'error' in described) throw new Error(JSON.stringify(described));
await read(source, described.table);
const before = cpuSeconds(process.pid);
const started = performance.now();
const rows = await read(source, described.table);
const wall = (performance.now() - started) / 1000;
console.log(JSON.stringify({ rows, wall, cpu: cpuSeconds(process.pid) - before } satisfies Reading));

async function read(from: Source, table: Table): Promise<number> {
  const batches = from.read(table, undefined, '{}', signal);
  for (;;) {
    const next = await batches.next();
    if (next.done) return next.value.rows;
  }
}
