import type { Carry, FollowedTable } from '../changes.ts';
import { isPermanent } from '../errors.ts';
import type { Described, DescribeRequest, Table } from '../model.ts';
import { readRelations } from './catalog.ts';
import type { Server, Session } from './connection.ts';
import type { LogRelation } from './log-relation.ts';
import { dependsOnPath, readSelect } from './read.ts';
import { quoteName, quoteText } from './sql.ts';
import { structureParts } from './table.ts';

/** What `structureNow` asks of the reader of the log. */
export type Describing = {
  readonly server: Server;
  /** `on_unrepresentable` = error. */
  readonly refuse: boolean;
  readonly describe: (requests: readonly DescribeRequest[]) => Promise<Described[]>;
};

/**
 * The structure that a table has today, if it is the one of `relation`, whose column types are `types`, and the rows that were copied before
 * can be brought there without reading them again (EXACTNESS.md §7). Otherwise null, with the reason.
 */
export async function structureNow(
  session: Session,
  { server, refuse, describe }: Describing,
  followed: FollowedTable,
  relation: LogRelation,
  types: readonly string[],
): Promise<{ now: Table; carry: Carry } | { now: null; reason: string }> {
  const { table, options = {} } = followed;
  const parts = structureParts(table);
  // Before the table is described: a rewrite after this look shows in its storage, a rewrite before in both.
  const attributes = parts === undefined ? [] : await readAttributes(session, server, parts.oid);
  const [answer] = await describe([{ ref: table.ref, options }]);
  if (answer === undefined || 'error' in answer) return { now: null, reason: answer?.error.message ?? '' };
  const now = answer.table;
  const matches =
    now.columns.length === relation.columns.length &&
    now.columns.every(
      (column, index) => column.name === relation.columns[index]?.name && column.sourceType === types[index],
    );
  if (!matches) return { now: null, reason: 'Its structure has changed again since.' };
  if (now.key.join('\0') !== table.key.join('\0')) return { now: null, reason: 'Its key is another one.' };
  const compared = compare(table, now, attributes, server);
  if ('reason' in compared) return { now: null, reason: compared.reason };
  const { renames, added } = compared;
  const valued = added.filter((one) => one.missing !== null);
  const fills = await readFills(session, server, now, valued, refuse);
  if (fills === undefined)
    return { now: null, reason: 'Its new columns have defaults that can not be told from the catalog.' };
  // Rows from before hold NULL where there is no value for all of them, even if the column takes none any more.
  const empty = new Set(added.filter(({ missing }) => missing === null).map(({ name }) => name));
  const columns = now.columns.map((column) => (empty.has(column.name) ? { ...column, nullable: true } : column));
  return { now: { ...now, columns }, carry: { fills, renames } };
}

/** A column of the catalog, dropped ones included. `missing`: what rows from before it hold, in an array of one; null: NULL. */
type Attribute = {
  readonly number: number;
  readonly name: string;
  readonly dropped: boolean;
  readonly missing: string | null;
  /** Rows from before it may hold a value that the catalog does not tell. */
  readonly unknown: boolean;
};

async function readAttributes(session: Session, { version }: Server, oid: number): Promise<Attribute[]> {
  // Before 11 a default is written into the rows. Of a partitioned table only the partitions have the values, each by itself.
  const [missing, unknown] =
    version < 110000
      ? ['null', "a.atthasdef or a.attidentity <> ''"]
      : [
          'case when a.atthasmissing then a.attmissingval::text end',
          `exists (with recursive tree(oid) as (
             select inhrelid from pg_inherits join pg_class p on p.oid = inhparent and p.relkind = 'p' where inhparent = a.attrelid
             union all select i.inhrelid from tree t join pg_inherits i on i.inhparent = t.oid
           ) select from tree t join pg_attribute l on l.attrelid = t.oid where l.attname = a.attname and l.atthasmissing)`,
        ];
  const { rows } = await session.query<Attribute>(
    `select a.attnum as number, a.attname as name, a.attisdropped as dropped, ${missing} as missing, ${unknown} as unknown
     from pg_attribute a where a.attrelid = $1 and a.attnum > 0 order by a.attnum`,
    [oid],
  );
  return rows;
}

type Compared = { readonly renames: ReadonlyMap<string, string>; readonly added: readonly Attribute[] };

/** What came and went, or why rows that the log has not reported may hold something that is not known. */
function compare(
  table: Table,
  now: Table,
  attributes: readonly Attribute[],
  { version }: Server,
): Compared | { readonly reason: string } {
  const before = structureParts(table);
  const after = structureParts(now);
  if (before === undefined || after === undefined || before.oid !== after.oid)
    return { reason: 'Another table has taken its name.' };
  const added: Attribute[] = [];
  const renames = new Map<string, string>();
  let changed = false;
  for (const [index, column] of now.columns.entries()) {
    const number = after.numbers[index] as number;
    const place = table.columns.findIndex((one) => one.name === column.name);
    const old = table.columns[place];
    if (old === undefined) {
      const was = table.columns[before.numbers.indexOf(number)];
      if (was !== undefined) {
        if (was.sourceType !== column.sourceType || was.masked !== column.masked || table.key.includes(was.name))
          return { reason: `A column was renamed to "${column.name}".` };
        renames.set(column.name, was.name);
        continue;
      }
      const attribute = attributes.find((one) => one.number === number);
      if (attribute?.name !== column.name) return { reason: 'Its structure has changed again since.' };
      added.push(attribute);
    } else if (before.numbers[place] !== number)
      return { reason: `Its column "${column.name}" was dropped and added again.` };
    else if (old.sourceType !== column.sourceType) {
      if (!sameText(old.sourceType, column.sourceType))
        return { reason: `Its column "${column.name}" became ${column.sourceType}.` };
      changed = true;
    }
  }
  if ((changed || added.length > 0 || renames.size > 0) && table.storage !== now.storage)
    return { reason: 'Its rows were written anew, so that they may hold other values than the log says.' };
  // The log may have rows of a column that was added and dropped, under the name of one that was added later.
  const known = Math.max(...before.numbers);
  const newest = Math.max(...added.map(({ number }) => number));
  if (attributes.some(({ dropped, number }) => dropped && number > known && number < newest))
    return { reason: 'A column that is not known was dropped before the newest one was added.' };
  // Nor does the log tell whether its rows of a column that was added are of one that was renamed to its name before it was dropped.
  const dropped = table.columns.filter((_, place) => !after.numbers.includes(before.numbers[place] as number));
  const typeOf = (name: string) => now.columns.find((column) => column.name === name)?.sourceType ?? '';
  if (added.some(({ name }) => dropped.some(({ sourceType }) => sameText(sourceType, typeOf(name)))))
    return { reason: 'Columns of the same type came and went.' };
  const unknown = added.find((one) => one.unknown);
  if (unknown)
    return {
      reason: `Its new column "${unknown.name}" has a default, which the rows before it hold too${version < 110000 ? '' : ', each partition its own'}.`,
    };
  return { renames, added };
}

/** What a snapshot read would give for columns in rows from before them; undefined: the catalog's text does not say. */
async function readFills(
  session: Session,
  server: Server,
  now: Table,
  added: readonly Attribute[],
  refuse: boolean,
): Promise<Map<string, string> | undefined> {
  if (added.length === 0) return new Map();
  const relation = (await readRelations(session, server.version, [now.ref]))[0];
  const columns = added.flatMap(({ name }) => now.columns.find((column) => column.name === name) ?? []);
  const typed = columns.map(({ name }) => relation?.columns.find((column) => column.name === name));
  if (relation === undefined || typed.some((column) => column === undefined || dependsOnPath(column.type)))
    return undefined;
  // An array's text parses as one of texts, whatever its elements are, unless they have a separator of their own.
  const array = ({ missing }: Attribute): string => `${quoteText(missing ?? '')}::text[]`;
  const { rows } = await session.query<{ whole: boolean }>(
    `select ${added.map((one) => `array_length(${array(one)}, 1) = 1 and array_ndims(${array(one)}) = 1`).join(' and ')} as whole`,
  );
  if (rows[0]?.whole !== true) return undefined;
  const values = added.map((one, i) => `(${array(one)})[1]::${typed[i]?.typeText} as ${quoteName(one.name)}`);
  const parts: Buffer[] = [];
  try {
    for await (const batch of readSelect(
      session,
      server,
      { table: { ...now, columns, key: [] }, relation, refuse },
      (cells) => `select ${cells.map((cell) => cell.sql).join(', ')} from (select ${values.join(', ')}) as fill`,
      AbortSignal.any([]),
    ))
      parts.push(Buffer.from(batch.data));
  } catch (error) {
    // A rule refused the value, or its text is none of the type's.
    if (isPermanent(error) || /^22/.test((error as { code?: string }).code ?? '')) return undefined;
    throw error;
  }
  const cells = Buffer.concat(parts).toString('latin1').replace(/\n$/, '').split('\t');
  return new Map(columns.map(({ name }, i) => [name, cells[i] as string]));
}

/** Whether a value prints the same under both types when its bytes were not touched: other lengths of the same type, and its text. */
function sameText(before: string, after: string): boolean {
  const base = (type: string): string => type.replace(/\([\d, -]*\)/, '').replace(/^text$/, 'character varying');
  return base(before) === base(after);
}
