import { createHash } from 'node:crypto';
import { BSON, type Document } from 'mongodb';
import { formatColumnType, parseColumnType, fit as typeFit } from '../column-types.ts';
import { isPermanent, Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, Described, DescribeRequest, Table, TableOptions } from '../model.ts';
import { type Found, listCollections, type Size, sizeOf } from './catalog.ts';
import type { Connection } from './connection.ts';
import { ID, MORE } from './document-row.ts';

/** So many collections are asked about at the same time. */
const AT_ONCE = 8;
/** Long enough for what applications put into an `_id`; longer ones are refused row by row, or wanted by `types`. */
const ID_LENGTH = 255;

/** Describes collections, a few at a time; a missing or refused one is an `error` entry. */
export async function describeCollections(
  connection: Connection,
  requests: readonly DescribeRequest[],
  canonical: boolean,
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
            describeOne(connection, request, catalog.get(`${request.ref.schema}\0${request.ref.name}`), canonical),
          ),
      )),
    );
  return described;
}

async function describeOne(
  connection: Connection,
  { ref, options }: DescribeRequest,
  found: Found | undefined,
  canonical: boolean,
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
    return { ref, table: describeTable(connection, ref, found, options, size, canonical) };
  } catch (error) {
    if (!isPermanent(error)) throw error;
    return { ref, error: { class: error.name, message: error.message, action: error.action } };
  }
}

/** A table's `where`: a filter as in find(), as (Extended) JSON. Throws `Misconfigured`. */
export function parseFilter(where: string): Document {
  try {
    const filter: unknown = BSON.EJSON.parse(where, { relaxed: false });
    if (filter !== null && typeof filter === 'object' && !Array.isArray(filter)) return filter as Document;
  } catch {
    // Said below.
  }
  throw new Misconfigured(
    'The condition is no JSON object.',
    'Write `where` as a filter of find(), as JSON: {"status":"A","at":{"$gte":{"$date":"2024-01-01T00:00:00Z"}}}.',
  );
}

/** Lets the server look at a filter, without a document. */
async function checkFilter(connection: Connection, ref: DescribeRequest['ref'], where: string): Promise<void> {
  try {
    const filter = { $and: [{ _id: { $in: [] } }, parseFilter(where)] };
    await connection.command(ref.schema, { find: ref.name, filter, limit: 1, singleBatch: true });
  } catch (error) {
    if (!isPermanent(error) || error.name === 'AccessDenied') throw error;
    throw new Misconfigured(
      `The condition of ${ref.schema}.${ref.name} is refused: ${error.message}`,
      'Correct `where`: a filter as in find(), as JSON.',
    );
  }
}

function describeTable(
  { facts }: Connection,
  ref: DescribeRequest['ref'],
  found: Found,
  options: TableOptions,
  size: Size,
  canonical: boolean,
): Table {
  const where = `${ref.schema}.${ref.name}`;
  const warnings: string[] = [];
  const key = chooseKey(where, found, options.key, warnings);
  const columns = applyOptions(where, key, options);
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
    structure: createHash('sha256')
      .update(JSON.stringify([found.type, found.uuid, columns, key, canonical]))
      .digest('base64url')
      .slice(0, 22),
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

/** Options `types` and `mask`; both are refused where they would change the key (EXACTNESS.md §8). */
function applyOptions(where: string, key: readonly string[], options: TableOptions): Column[] {
  const keyed = key.length > 0;
  const columns: Column[] = [
    {
      name: ID,
      type: keyed ? { kind: 'varchar', length: ID_LENGTH } : { kind: 'text', size: 'long' },
      nullable: !keyed,
      sourceType: 'any',
      masked: false,
    },
    { name: MORE, type: { kind: 'json' }, nullable: false, sourceType: 'document', masked: false },
  ];
  const types = options.types ?? {};
  for (const name of [...Object.keys(types), ...(options.mask ?? [])])
    if (name !== ID && name !== MORE)
      throw new Misconfigured(
        `${where} has no column ${name}: a collection is copied as _id and _more, which holds all other fields.`,
        'Correct `types` or `mask`.',
      );
  return columns.map((column) => {
    const masked = options.mask?.includes(column.name) ?? false;
    if (masked && column.name === ID)
      throw new UnsupportedValue(`The _id of ${where} can't be masked.`, 'Take it out of `mask`.');
    if (masked) return { ...column, type: { kind: 'varchar', length: 1 }, nullable: true, masked };
    const wanted = Object.hasOwn(types, column.name) ? types[column.name] : undefined;
    return wanted === undefined ? column : { ...column, type: chosenType(where, column, wanted) };
  });
}

/** `_id` may be any VARCHAR, since none is ever cut; the document a JSON or text type. */
function chosenType(where: string, column: Column, wanted: string): ColumnType {
  const type = parseColumnType(wanted);
  const fits = column.name === ID ? type.kind === 'varchar' : type.kind === 'json' || type.kind === 'text';
  if (!fits || typeFit(column.type, type) === 'never')
    throw new UnsupportedValue(
      `${where}.${column.name} can't be copied as ${formatColumnType(type)}.`,
      column.name === ID ? 'Give `_id` a VARCHAR(n).' : 'Give `_more` JSON or LONGTEXT.',
    );
  return type;
}
