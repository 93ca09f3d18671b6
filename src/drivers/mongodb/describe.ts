import { createHash } from 'node:crypto';
import { refusedTable } from '../description.ts';
import { isPermanent, Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Described, DescribeRequest, Table, TableOptions } from '../model.ts';
import { type Found, listCollections, type Size, sizeOf } from './catalog.ts';
import { columnsOf } from './columns.ts';
import type { Connection } from './connection.ts';
import { ID } from './document-row.ts';
import { isUnknown } from './errors.ts';
import { parseFilter } from './filter.ts';
import type { MongoOptions } from './options.ts';
import { type SampledFields, sampledIn, sampleFields, withSample } from './sampled-fields.ts';

/** So many collections are asked about at the same time. */
const AT_ONCE = 8;

/** Describes collections, a few at a time; a missing or refused one is an `error` entry. */
export async function describeCollections(
  connection: Connection,
  requests: readonly DescribeRequest[],
  mongo: MongoOptions,
): Promise<Described[]> {
  const catalog = new Map<string, Found>();
  for (const [schema, group] of Map.groupBy(requests, ({ ref }) => ref.schema)) {
    const names = [...new Set(group.map(({ ref }) => ref.name))];
    for (const found of await listCollections(connection, schema, names))
      catalog.set(`${schema}\0${found.name}`, found);
  }
  const described: Described[] = [];
  for (let i = 0; i < requests.length; i += AT_ONCE)
    described.push(
      ...(await Promise.all(
        requests
          .slice(i, i + AT_ONCE)
          .map((request) =>
            describeOne(connection, request, catalog.get(`${request.ref.schema}\0${request.ref.name}`), mongo),
          ),
      )),
    );
  return described;
}

async function describeOne(
  connection: Connection,
  { ref, options, like }: DescribeRequest,
  found: Found | undefined,
  mongo: MongoOptions,
): Promise<Described> {
  const where = `${ref.schema}.${ref.name}`;
  try {
    if (!found)
      throw new Misconfigured(
        `The collection ${where} does not exist, or the user may not see it.`,
        'Check the name, and give the source user the role `read` on the database.',
      );
    if (options.where !== undefined && options.where.trim() !== '') await checkFilter(connection, ref, options.where);
    const size = found.type === 'view' ? { rows: 0, bytes: 0 } : await sizeOf(connection, ref.schema, ref.name);
    const sample =
      mongo.fields === 'sampled'
        ? (sampledIn(like) ?? (await sampleFields(connection, ref, found.type === 'collection', mongo.canonical)))
        : undefined;
    return { ref, table: describeTable(connection, ref, found, options, size, mongo, sample) };
  } catch (error) {
    return refusedTable(ref, error);
  }
}

/** Lets the server look at a filter, without a document. */
async function checkFilter(connection: Connection, ref: DescribeRequest['ref'], where: string): Promise<void> {
  try {
    const filter = { $and: [{ _id: { $in: [] } }, parseFilter(where)] };
    await connection.command(ref.schema, { find: ref.name, filter, limit: 1, singleBatch: true });
  } catch (error) {
    if (!(await isAtFault(connection, ref, error))) throw error;
    throw new Misconfigured(
      `The condition of ${ref.schema}.${ref.name} is refused: ${(error as Error).message}`,
      'Correct `where`: a filter as in find(), as JSON.',
    );
  }
}

/** Whether an error is the filter's own: servers have a hundred numbers for those, and the same command without it works. */
async function isAtFault(connection: Connection, ref: DescribeRequest['ref'], error: unknown): Promise<boolean> {
  if (isPermanent(error)) return error.name !== 'AccessDenied';
  if (!isUnknown(error)) return false;
  await connection.command(ref.schema, { find: ref.name, filter: { _id: { $in: [] } }, limit: 1, singleBatch: true });
  return true;
}

function describeTable(
  { facts }: Connection,
  ref: DescribeRequest['ref'],
  found: Found,
  options: TableOptions,
  size: Size,
  mongo: MongoOptions,
  sample: SampledFields | undefined,
): Table {
  const where = `${ref.schema}.${ref.name}`;
  const warnings: string[] = [];
  const key = chooseKey(where, found, options.key, warnings);
  const columns = columnsOf(where, key, options, mongo, sample);
  if (sample && sample.left.length > 0)
    warnings.push(
      `Fields without a column of their own, because of their names or their number: ${sample.left.slice(0, 20).join(', ')}. They stay in _more.`,
    );
  if (options.history && key.length > 0)
    warnings.push(
      'History of a collection: an update comes as the document that the server finds a moment later, so that versions which follow each other quickly may show the later one.',
    );
  return {
    ref,
    kind: found.type === 'collection' ? 'table' : 'view',
    columns,
    leftOut: [],
    key,
    // Shards don't know each other's `_id`.
    ...(found.type === 'collection' && key.length > 0 && !facts.sharded ? { immediate: true } : {}),
    textKey: key.length > 0,
    approxRows: size.rows,
    approxBytes: size.bytes,
    structure: withSample(
      createHash('sha256')
        .update(JSON.stringify([found.type, found.uuid, columns, key]))
        .digest('base64url')
        .slice(0, 22),
      sample,
    ),
    storage: found.uuid,
    warnings,
  };
}

function chooseKey(
  where: string,
  found: Found,
  wanted: readonly string[] | undefined,
  warnings: string[],
): readonly string[] {
  if (wanted !== undefined && wanted.length > 0) {
    if (wanted.length > 1 || wanted[0] !== ID)
      throw new UnsupportedValue(
        `The key of ${where} can only be _id, by which the change stream names documents.`,
        'Unset `key`, or set it to ["_id"].',
      );
    return [ID];
  }
  if (found.type !== 'collection') return [];
  if (!found.capped) return [ID];
  warnings.push(
    'A capped collection: the documents that it drops by itself may come in no change stream, so it is copied whole, and deltas skip it. Set `key` to ["_id"] to follow it; dropped documents may then stay in the copy.',
  );
  return [];
}
