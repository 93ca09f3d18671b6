import type { Destination, OpenDestination } from '../destination.ts';
import { abandon, fail, remove } from './abandon.ts';
import { apply, type Rules } from './apply.ts';
import { loadChunk } from './chunk-load.ts';
import { claimChunk } from './chunks.ts';
import { claimScope } from './claim.ts';
import { connect, destroy, type Observe, rows, type Session } from './connection.ts';
import { prepare } from './control.ts';
import { type Dialect, dialectOf, type Product } from './dialect.ts';
import { leave, readFollowed } from './followed.ts';
import { checkDatabaseName } from './names.ts';
import { readAddress, readMaxVersions, readOnRowError } from './params.ts';
import { handOver, readPaused, resume } from './paused.ts';
import { plan } from './plan.ts';
import { addPoint, readPoints, rollBack } from './points.ts';
import { closePool, createPool, type Pool, withSession } from './pool.ts';
import { preflight } from './preflight.ts';
import { journal, promote } from './promote.ts';
import { readRecords, readRun, recordCheck } from './records.ts';
import { restructure } from './restructure.ts';
import { runTotals } from './run-counts.ts';
import { createScope, dropScope, readScopes } from './scopes.ts';
import { seal } from './seal.ts';
import { countWaiting, dropChecks, openCheck } from './validate.ts';

/** Opens SingleStore, or MariaDB/MySQL in its place. */
export const open: OpenDestination = (params, signal) => openObserved(params, signal);

/** `open` with an observer of every statement: tests read, lint and cut there, and lower limits of the server by `more`. */
export async function openObserved(
  params: Parameters<OpenDestination>[0],
  signal: AbortSignal,
  observe?: Observe,
  more: Partial<Dialect> = {},
): Promise<Destination> {
  signal.throwIfAborted();
  const address = readAddress(params);
  if (address.database !== undefined) checkDatabaseName(address.database);
  const first = await connect(address);
  let server: Destination['server'];
  try {
    server = await detect(first);
  } finally {
    destroy(first);
  }
  const pool = createPool(address, { ...dialectOf(server.product), ...more }, observe);
  const stop = () =>
    closePool(pool, signal.reason instanceof Error ? signal.reason : new Error('The destination was closed.'));
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  return assemble(pool, server, { onRowError: readOnRowError(params), maxVersions: readMaxVersions(params) }, () => {
    signal.removeEventListener('abort', stop);
    closePool(pool, new Error('The destination was closed.'));
  });
}

function assemble(pool: Pool, server: Destination['server'], rules: Rules, close: () => void): Destination {
  const use = <T>(body: (session: Session) => Promise<T>) => withSession(pool, body);
  return {
    server,
    preflight: (databases) => use((session) => preflight(session, pool, server.version, databases)),
    prepare: (database) => use((session) => prepare(session, pool.dialect, database)),
    scopes: (database, pipeline) => use((session) => readScopes(session, database, pipeline)),
    createScope: (database, pipeline, scope) => use((session) => createScope(session, database, pipeline, scope)),
    dropScope: (database, pipeline, scope) => use((session) => dropScope(session, database, pipeline, scope)),
    plan: (database, plans) => plan(pool, database, plans),
    claimChunk: (database, id, load, chunk) => use((session) => claimChunk(session, database, id, load, chunk)),
    loadChunk: (target, claim, batches, progress, signal) => loadChunk(pool, target, claim, batches, progress, signal),
    seal: (database, id, load, until) => use((session) => seal(session, database, id, load, until)),
    fail: (database, pipeline, run, ref, target, error) =>
      use((session) => fail(session, database, pipeline, run, ref, target, error)),
    journal: (database, run, tables) => use((session) => journal(session, database, run, tables)),
    promote: (database, run, scope, id, load, followFrom) =>
      use((session) => promote(session, database, run, scope, id, load, followFrom)),
    abandon: (database, pipeline, run) => use((session) => abandon(session, database, pipeline, run)),
    claimScope: (databases, pipeline, scope, run) => claimScope(pool, databases, pipeline, scope, run),
    followed: (databases, pipeline, scope) => use((session) => readFollowed(session, databases, pipeline, scope)),
    apply: (request) => apply(pool, request, rules),
    restructure: (request) => restructure(pool, request),
    leave: (claim, tables) => leave(pool, claim, tables),
    paused: (databases, pipeline) => use((session) => readPaused(session, databases, pipeline)),
    resume: (database, pipeline, scope, tables) => use((session) => resume(session, database, pipeline, scope, tables)),
    handOver: (side, main) => handOver(pool, side, main),
    addPoint: (claim, point) => use((session) => addPoint(session, claim, point)),
    points: (database, pipeline, scope) => use((session) => readPoints(session, database, pipeline, scope)),
    rollBack: (request) => rollBack(pool, request),
    check: (table, name) => openCheck(pool, table, name),
    dropChecks: (database, pipeline) => use((session) => dropChecks(session, database, pipeline)),
    waiting: (database, ids) => use((session) => countWaiting(session, database, ids)),
    recordCheck: (pipeline, run, place, outcome) =>
      use((session) => recordCheck(session, pipeline, run, place, outcome)),
    tables: (database, pipeline) => use((session) => readRecords(session, database, pipeline)),
    runTotals: (databases, pipeline, run) => use((session) => runTotals(session, databases, pipeline, run)),
    runTables: (database, pipeline, run) => use((session) => readRun(session, database, pipeline, run)),
    remove: (database, pipeline) => use((session) => remove(session, database, pipeline)),
    async [Symbol.asyncDispose]() {
      close();
    },
  };
}

/** SingleStore answers `@@memsql_version`; its `version()` is MySQL's (singlestore.md §6). */
async function detect(session: Session): Promise<Destination['server']> {
  try {
    const [row] = await rows(session, 'select @@memsql_version as version');
    return { product: 'SingleStore', version: String(row?.['version']) };
  } catch (error) {
    if (session.lost !== undefined) throw error;
  }
  const [row] = await rows(session, 'select version() as version');
  const version = String(row?.['version']);
  const product: Product = /mariadb/i.test(version) ? 'MariaDB' : 'MySQL';
  return { product, version: version.replace(/^5\.5\.5-/, '').replace(/-.*$/, '') };
}
