import { baseOf, type Product } from './product.ts';
import type { Figure } from './report.ts';
import { quantile } from './sample.ts';

/** Requests that need no database, one after the other over HTTP. */

const REQUESTS = 400;
const GOAL_MS = 100;

/** Latency of PATCH and GET on a pipeline of their own. */
export async function measureControl(product: Product): Promise<Figure[]> {
  const base = baseOf('control');
  await product.call('POST', '/pipelines', { name: 'control' });
  await product.call('PATCH', `${base}/conn-dst`, [{ name: 'host', value: 'localhost' }]);
  const patches: Request[] = [
    (n) => ['PATCH', '/config-sched', { type: 'periodic', duration: `0d00h${n % 60}m30s`, isScheduled: false }],
    (n) => ['PATCH', '/conn-dst', [{ name: 'port', value: String(3306 + n) }]],
  ];
  const gets: Request[] = [
    () => ['GET', '/config-sched'],
    () => ['GET', '/conn-dst'],
    () => ['GET', '/status'],
    () => ['GET', '/runs'],
  ];
  await timed(product, base, [...patches, ...gets], 40);
  return [
    figureOf('PATCH (schedule, connection)', await timed(product, base, patches, REQUESTS)),
    figureOf('GET (schedule, connection, status, runs)', await timed(product, base, gets, REQUESTS)),
  ];
}

type Request = (n: number) => readonly [method: string, path: string, body?: unknown];

async function timed(product: Product, base: string, requests: readonly Request[], count: number): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const [method, path, body] = (requests[n % requests.length] as Request)(n);
    const started = performance.now();
    await product.call(method, base + path, body);
    times.push(performance.now() - started);
  }
  return times;
}

function figureOf(name: string, times: readonly number[]): Figure {
  const p99 = quantile(times, 0.99);
  return {
    name: `control plane: ${name}, ${times.length} in sequence`,
    value: `p50 ${quantile(times, 0.5).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
    goal: `p99 < ${GOAL_MS} ms`,
    reached: p99 < GOAL_MS,
  };
}
