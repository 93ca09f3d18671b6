import { BSON, type Document } from 'mongodb';
import { isPermanent } from '../errors.ts';
import type { TableRef } from '../model.ts';
import type { Connection } from './connection.ts';
import { errorNumber, noReplicaSet } from './errors.ts';
import { encodePosition, type StreamPosition, wholeTime } from './position.ts';
import { readConcernOf } from './read.ts';

/** The latest cluster time that the server knows: of its last write, or on a router of any that it has heard of. */
export async function writtenTime(connection: Connection): Promise<StreamPosition> {
  const { facts } = connection;
  if (facts.setName === undefined && !facts.sharded) throw noReplicaSet();
  const answer = await connection.command('admin', { ping: 1 });
  const gossiped = (answer['$clusterTime'] as Document | undefined)?.['clusterTime'];
  const time: unknown = facts.sharded ? (gossiped ?? answer['operationTime']) : answer['operationTime'];
  if (!(time instanceof BSON.Timestamp)) throw noReplicaSet();
  return wholeTime(time);
}

/**
 * A cluster time such that no later commit of `tables` lies before it and every earlier one is visible to any later read (EXACTNESS.md §3). A read that must
 * contain it waits until a majority of the members has it, on each shard that holds a part of the collection; that also takes the shard's own
 * clock past it.
 */
export async function settledStart(
  connection: Connection,
  tables: readonly TableRef[],
  waiting: (why: string) => void,
  signal: AbortSignal,
): Promise<StreamPosition> {
  const start = await writtenTime(connection);
  const after = new BSON.Timestamp({ t: start.seconds, i: start.increment });
  const timer = setTimeout(
    () => waiting(`Waiting until a majority of the replica set has everything up to ${encodePosition(start)}.`),
    WAIT_MS,
  );
  try {
    for (const { schema, name } of tables)
      await connection
        .command(
          schema,
          {
            find: name,
            projection: { _id: 1 },
            limit: 1,
            singleBatch: true,
            readConcern: readConcernOf(connection, after),
          },
          { signal },
        )
        // Its own description says what is wrong with it.
        .catch((error: unknown) => {
          if (!isPermanent(error)) throw error;
        });
    return start;
  } finally {
    clearTimeout(timer);
  }
}
const WAIT_MS = 3_000;

/**
 * The cluster that is followed: later starts compare it. The name of a replica set, and its id where the user may read the configuration; of a sharded
 * cluster its id.
 */
export async function identity(connection: Connection): Promise<string> {
  const { facts } = connection;
  if (facts.sharded) {
    const answer = await tolerate(connection.command('config', { find: 'version', limit: 1, singleBatch: true }));
    const [row] = ((answer?.['cursor'] as Document | undefined)?.['firstBatch'] ?? []) as Document[];
    return `cluster:${String(row?.['clusterId'] ?? '')}`;
  }
  const answer = await tolerate(connection.command('admin', { replSetGetConfig: 1 }));
  const settings = (answer?.['config'] as Document | undefined)?.['settings'] as Document | undefined;
  return `set:${facts.setName ?? ''}:${String(settings?.['replicaSetId'] ?? '')}`;
}

/** Whether two identities may be of one cluster: a part that the user could not read then or now says nothing. */
export function isSameCluster(a: string, b: string): boolean {
  if (a === '' || b === '') return true;
  const [ours, theirs] = [a, b].map((text) => /^(.*):([^:]*)$/.exec(text));
  return ours?.[1] === theirs?.[1] && (ours?.[2] === '' || theirs?.[2] === '' || ours?.[2] === theirs?.[2]);
}

async function tolerate(answer: Promise<Document>): Promise<Document | null> {
  return answer.catch((error: unknown) => {
    if (errorNumber(error) === undefined) throw error;
    return null;
  });
}
