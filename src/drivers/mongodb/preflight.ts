import { isPermanent } from '../errors.ts';
import type { Finding, TableRef } from '../model.ts';
import { listDatabases } from './catalog.ts';
import type { Connection } from './connection.ts';
import { errorNumber, noReplicaSet } from './errors.ts';
import { readOplog, windowHours } from './log-state.ts';
import type { MongoOptions } from './options.ts';
import { clusterTime, type StreamPosition } from './position.ts';
import { writtenTime } from './start.ts';
import { watchedFor } from './stream.ts';

const error = (code: string, message: string, table?: TableRef): Finding =>
  table ? { severity: 'error', code, message, table } : { severity: 'error', code, message };
const warning = (code: string, message: string): Finding => ({ severity: 'warning', code, message });

/** Everything at the source that would make an extract or later change capture fail. Changes nothing. */
export async function preflight(
  connection: Connection,
  options: MongoOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  const rights = [
    ...(await missingDatabase(connection, options, tables)),
    ...(await tableRights(connection, options, tables)),
  ];
  return options.capture === 'none' ? rights : [...(await changeStreams(connection, options, tables)), ...rights];
}

/** MongoDB makes a database with its first collection, and reads of one that is not there find nothing. */
async function missingDatabase(
  connection: Connection,
  { database, user, authSource }: MongoOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  if (database === '' || tables.length > 0) return [];
  const there = await listDatabases(connection, '');
  if (there.includes(database)) return [];
  const names = there.slice(0, 20).join(', ') || 'none';
  const grant = `db.getSiblingDB(${JSON.stringify(authSource)}).grantRolesToUser(${JSON.stringify(user)}, [{role: "read", db: ${JSON.stringify(database)}}])`;
  return [
    error(
      'database',
      `The source has no database ${database}, or its user may not see it. It sees: ${names}. Correct \`db\`, or grant the role: ${grant}.`,
    ),
  ];
}

async function changeStreams(
  connection: Connection,
  options: MongoOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  let now: StreamPosition;
  try {
    now = await writtenTime(connection);
  } catch (problem) {
    if (!isPermanent(problem)) throw problem;
    return [error('replica_set', `${problem.message} ${problem.action}`)];
  }
  const found: Finding[] = [];
  // Without tables it is known only where the user has named the database.
  const watched = tables.length > 0 ? watchedFor(tables) : options.database;
  if (tables.length > 0 || watched !== '') found.push(...(await streamRights(connection, options, watched, now)));
  const oplog = await readOplog(connection);
  // What an oplog that is not full yet will reach back, nobody knows.
  if (oplog && oplog.bytes > 0.8 * oplog.most && windowHours(oplog) < 24)
    found.push(
      warning(
        'retention',
        `The oplog of the source reaches back ${windowHours(oplog).toFixed(1)} h. A load or a pause that takes longer means loading again: db.adminCommand({replSetResizeOplog: 1, size: <megabytes>, minRetentionHours: 24}).`,
      ),
    );
  return found;
}

/** Opens a change stream as a delta does, and closes it again. */
async function streamRights(
  connection: Connection,
  { authSource, user }: MongoOptions,
  watched: string,
  now: StreamPosition,
): Promise<Finding[]> {
  const database = watched === '' ? 'admin' : watched;
  const session = connection.session();
  try {
    const answer = await connection.command(
      database,
      {
        aggregate: 1,
        pipeline: [
          {
            $changeStream: {
              ...(watched === '' && { allChangesForCluster: true }),
              startAtOperationTime: clusterTime(now),
            },
          },
        ],
        cursor: { batchSize: 0 },
      },
      { session },
    );
    await connection
      .command(database, { killCursors: '$cmd.aggregate', cursors: [answer['cursor'].id] }, { session })
      .catch(() => {});
    return [];
  } catch (problem) {
    if (!isPermanent(problem)) throw problem;
    if (errorNumber(problem) === NOT_A_REPLICA_SET) return [error('replica_set', noReplicaSet().message)];
    if (errorNumber(problem) !== UNAUTHORIZED) return [error('change_stream', `${problem.message} ${problem.action}`)];
    const role =
      watched === '' ? '{role: "readAnyDatabase", db: "admin"}' : `{role: "read", db: ${JSON.stringify(watched)}}`;
    const what =
      watched === '' ? 'all databases, since the selected collections lie in several' : `the database ${watched}`;
    return [
      error(
        'grant',
        `The source user may not open a change stream on ${what}: db.getSiblingDB(${JSON.stringify(authSource)}).grantRolesToUser(${JSON.stringify(user)}, [${role}]).`,
      ),
    ];
  } finally {
    await session?.endSession().catch(() => {});
  }
}
const UNAUTHORIZED = 13;
const NOT_A_REPLICA_SET = 40573;

/** Reads one document of each table at most. */
async function tableRights(
  connection: Connection,
  { authSource, user }: MongoOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const ref of tables) {
    try {
      await connection.command(ref.schema, { find: ref.name, projection: { _id: 1 }, limit: 1, singleBatch: true });
    } catch (problem) {
      if (!isPermanent(problem)) throw problem;
      const message =
        errorNumber(problem) === UNAUTHORIZED
          ? `The source user may not read ${ref.schema}.${ref.name}: db.getSiblingDB(${JSON.stringify(authSource)}).grantRolesToUser(${JSON.stringify(user)}, [{role: "read", db: ${JSON.stringify(ref.schema)}}]).`
          : `${ref.schema}.${ref.name} can't be read: ${problem.message} ${problem.action}`;
      found.push(error(errorNumber(problem) === UNAUTHORIZED ? 'grant' : 'table', message, ref));
    }
  }
  return found;
}
