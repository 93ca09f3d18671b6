// npm run demo: private databases, the product, a sample database, the documented calls, changes that are followed, a comparison by content.
// Stays up until Ctrl-C; `--exit` ends after the comparison, `--rows N` sets the size of the large table, `--only postgres` or
// `--only mysql` copies one source.
import { parseArgs } from 'node:util';
import type { Comparison } from './compare.ts';
import { apiClient } from './demo/api-client.ts';
import { followChanges } from './demo/changes.ts';
import { type CopyResult, configureAndExtract, type DemoPipeline, grouped, verify } from './demo/pipeline.ts';
import { type Product, startProduct } from './demo/product.ts';
import { loadMysql, loadPostgres, sampleDatabase } from './demo/sample-load.ts';
import { startDestination, startMysql } from './servers/mysql.ts';
import { installedMajor, startPostgres } from './servers/postgres.ts';
import type { Server } from './servers/server.ts';
import { dockerAnswers, startSinglestore } from './servers/singlestore.ts';

const { values: flags } = parseArgs({
  options: { exit: { type: 'boolean' }, rows: { type: 'string' }, only: { type: 'string' } },
});
const largeRows = Number(flags.rows ?? 1_000_000);

const started: { stop(): Promise<void> }[] = [];
let ending = false;
const alive = setInterval(() => {}, 3_600_000);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(130));
process.once('disconnect', () => void end(130));

run().then(
  (equal) => {
    if (flags.exit) return end(equal ? 0 : 1);
    say('\nEverything stays up, and changes of the sources are followed. Ctrl-C stops it and leaves nothing behind.');
  },
  (error: unknown) => {
    if (!ending) console.error(`\nThe demo could not go on: ${error instanceof Error ? error.message : String(error)}`);
    return end(1);
  },
);

async function run(): Promise<boolean> {
  say('Getting and starting private servers (the first time this downloads them) ...');
  const docker = await dockerAnswers();
  const [postgres, mysql, destination] = await Promise.all([
    keep(
      'PostgreSQL, source',
      installedMajor().then((major) => startPostgres({ major: major ?? 18 })),
    ),
    keep('MySQL, source', mysqlSource()),
    keep(
      docker ? 'SingleStore, destination' : 'MariaDB, standing in for SingleStore as destination',
      destinationServer(docker),
    ),
  ]);
  say('Creating the sample databases ...');
  await Promise.all([loadPostgres(postgres, largeRows), loadMysql(mysql, largeRows)]);
  say('Starting flow-ingest serve ...');
  const product = await startProduct();
  started.unshift(product);

  const pipelines: [string, DemoPipeline][] = [
    [
      '/ingest/api/ingest',
      {
        title: 'PostgreSQL, by the documented address',
        kind: 'postgres',
        source: postgres,
        destination,
        path: [sampleDatabase, 'public'],
        schema: 'public',
        target: `${sampleDatabase}_public`,
      },
    ],
    [
      '/pipelines/shop/ingest/api/ingest',
      {
        title: 'MySQL, by a named pipeline',
        kind: 'mysql',
        source: mysql,
        destination,
        path: ['default', sampleDatabase],
        schema: sampleDatabase,
        target: sampleDatabase,
      },
    ],
  ];
  const summary: { pipeline: DemoPipeline; copy: CopyResult; comparisons: Comparison[] }[] = [];
  for (const [base, pipeline] of pipelines) {
    if (flags.only !== undefined && flags.only !== pipeline.kind) continue;
    say(`\n== ${pipeline.title}: ${product.url}${base}`);
    if (base.startsWith('/pipelines')) await createPipeline(product.url, 'shop');
    const api = apiClient(product.url + base, say);
    const copy = await configureAndExtract(api, pipeline, say);
    await followChanges(api, pipeline, say);
    say('Comparing every table with its source, cell by cell ...');
    summary.push({ pipeline, copy, comparisons: await verify(pipeline, say) });
  }
  return conclude(product, summary);
}

async function mysqlSource(): Promise<Server> {
  try {
    return await startMysql({ flavour: 'mysql9' });
  } catch (error) {
    say(
      `  no MySQL 9 here, taking MariaDB as the source: ${error instanceof Error ? error.message.split('\n')[0] : error}`,
    );
    return startMysql({ flavour: 'mariadb10.11' });
  }
}

async function destinationServer(docker: boolean): Promise<Server> {
  if (docker) {
    try {
      return await startSinglestore();
    } catch (error) {
      say(`  SingleStore did not start, MariaDB stands in: ${error instanceof Error ? error.message : error}`);
    }
  }
  return startDestination({ bufferPool: '512M' });
}

/** Notes the server for the end, also when the end comes while it starts. */
async function keep(what: string, starting: Promise<Server>): Promise<Server> {
  const server = await starting;
  if (ending) await server.stop();
  else started.push(server);
  say(`  ${what}: ${server.host}:${server.port}, user ${server.user}, password ${server.password}`);
  return server;
}

async function createPipeline(url: string, name: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(`${url}/pipelines`, { method: 'POST', headers, body: JSON.stringify({ name }) });
  say(`POST  /pipelines {"name":"${name}"} → ${response.status}`);
  // 409: it is there already, in a Temporal server that the demo did not start.
  if (!response.ok && response.status !== 409) throw new Error(`POST /pipelines: ${await response.text()}`);
}

function conclude(
  product: Product,
  summary: readonly { pipeline: DemoPipeline; copy: CopyResult; comparisons: Comparison[] }[],
): boolean {
  say('\n== Summary');
  let equal = true;
  for (const { pipeline, copy, comparisons } of summary) {
    const different = comparisons.filter((comparison) => comparison.differences > 0).length;
    const rows = comparisons.reduce((sum, comparison) => sum + comparison.sourceRows, 0);
    const rate = grouped(Math.round(copy.rows / copy.seconds));
    say(
      `${pipeline.title}: ${comparisons.length} tables, ${grouped(rows)} rows in ${copy.seconds.toFixed(1)} s (${rate} rows/s)`,
    );
    say(different === 0 ? '  every table equals its source' : `  ${different} tables DIFFER from their source`);
    equal &&= different === 0;
  }
  say(`\nAPI             ${product.url}/ingest/api/ingest`);
  say(`API docs        ${product.url}/docs`);
  if (product.temporalUi !== null) say(`Temporal Web UI ${product.temporalUi}`);
  return equal;
}

function say(line: string): void {
  if (!ending) console.log(line);
}

async function end(code: number): Promise<void> {
  if (ending) return;
  ending = true;
  clearInterval(alive);
  if (code === 130) console.log('\nStopping ...');
  // The product first, because it reports databases that vanish. Whatever does not stop in time dies with this process.
  const patience = setTimeout(() => process.exit(code), 25_000);
  for (const server of started.splice(0, 1)) await server.stop().catch(() => {});
  await Promise.all(started.map((server) => server.stop().catch(() => {})));
  clearTimeout(patience);
  process.exit(code);
}
