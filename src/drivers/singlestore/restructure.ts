import { createHash } from 'node:crypto';
import type { Followed, Restructure } from '../apply.ts';
import type { Carry } from '../changes.ts';
import { StructureChanged } from '../errors.ts';
import { unescapeText } from '../load-text.ts';
import type { Column, ColumnType, Table } from '../model.ts';
import { checkClaim, openClaimed } from './claim.ts';
import { destroy, numberOf, rows, run, type Session, transaction } from './connection.ts';
import { columnText, isBinary } from './ddl.ts';
import type { Dialect } from './dialect.ts';
import { storeStructure } from './followed.ts';
import { takenName, versioned } from './history.ts';
import type { Pool } from './pool.ts';
import { explain, serverText } from './rejects.ts';
import { rereadLetters } from './rereads.ts';
import { quote, sql, table, text } from './sql.ts';

/** What brings a copy from one structure to the next, in this order. */
export type Alteration = {
  readonly rename: readonly { readonly from: string; readonly to: string }[];
  readonly add: readonly Column[];
  readonly drop: readonly string[];
  /** Columns whose new type holds every value of the old one, or which may be NULL from now on. */
  readonly widen: readonly Column[];
};

/**
 * Brings a copy to its next structure and stores that (contract: `Destination.restructure`). DDL can't be fenced: it runs on a recorded connection, which
 * a later claim ends first, and each step is worked out from the columns that are there, so that it may be repeated at any point.
 */
export async function restructure(pool: Pool, request: Restructure): Promise<void> {
  const { claim, table: followed, now, from } = request;
  const { database } = followed.target;
  const alteration = request.alter
    ? alterationOf(followed.table, now, followed.options.history !== null, request.carry)
    : undefined;
  const session = await openClaimed(pool, claim, database);
  try {
    if (alteration) await alter(session, pool.dialect, request, alteration);
    await transaction(session, async () => {
      await checkClaim(session, claim, database);
      await storeStructure(session, followed, now, from);
      await run(session, rereadLetters(followed));
    });
  } catch (error) {
    throw explain(pool.closed ?? error);
  } finally {
    destroy(session);
  }
}

/** Compares two structures; `StructureChanged` where rows that are there would not be those of the source afterwards. */
export function alterationOf(before: Table, now: Table, history = false, carry?: Carry): Alteration {
  const name = `${now.ref.schema}.${now.ref.name}`;
  const rename = [...(carry?.renames ?? [])].map(([to, from]) => ({ from, to }));
  const newNames = new Map(rename.map(({ from, to }) => [from, to]));
  const columns = before.columns.map((column) => ({ ...column, name: newNames.get(column.name) ?? column.name }));
  const old = new Map(columns.map((column) => [column.name.toLowerCase(), column]));
  const names = new Set(now.columns.map((column) => column.name.toLowerCase()));
  const refuse = (what: string) => new StructureChanged(`${name}: ${what}.`, 'Load the table again.');
  if (before.key.join('\n') !== now.key.join('\n')) throw refuse('its key was changed');
  if (old.size < columns.length || rename.some(({ from }) => before.key.includes(from)))
    throw refuse('columns were renamed in a way that the copy can not follow');
  const add = now.columns.filter((column) => !old.has(column.name.toLowerCase()));
  const drop = columns.filter((column) => !names.has(column.name.toLowerCase())).map((column) => column.name);
  // A column that was renamed without a word of it looks the same, and its values would be lost.
  if (carry === undefined && add.length > 0 && drop.length > 0)
    throw refuse(`columns came (${add.map((column) => column.name).join(', ')}) and went (${drop.join(', ')})`);
  const taken = history ? takenName(now) : undefined;
  if (taken !== undefined) throw refuse(`its new column ${taken} has a name that history mode needs for itself`);
  const filled = add.find((column) => !column.nullable && !carry?.fills.has(column.name));
  if (filled) throw refuse(`the new column ${filled.name} has a value in every row`);
  const widen: Column[] = [];
  for (const column of now.columns) {
    const was = old.get(column.name.toLowerCase());
    if (!was) continue;
    const same = JSON.stringify(was.type) === JSON.stringify(column.type);
    if (!same && now.key.includes(column.name)) throw refuse(`the type of its key column ${column.name} was changed`);
    if (!same && !holds(column.type, was.type))
      throw refuse(`the new type of ${column.name} does not hold every value of the old one`);
    if (was.masked !== column.masked) throw refuse(`${column.name} is masked in one of the structures only`);
    if (!same || (column.nullable && !was.nullable)) widen.push(column);
  }
  return { rename, add, drop, widen };
}

/** Whether every value of `old` has the same text in `type`. */
export function holds(type: ColumnType, old: ColumnType): boolean {
  if (type.kind === 'int' && old.kind === 'int')
    return type.unsigned === old.unsigned ? type.bytes >= old.bytes : old.unsigned && type.bytes > old.bytes;
  if (type.kind === 'decimal' && old.kind === 'decimal')
    return type.scale === old.scale && type.precision >= old.precision;
  if (type.kind === 'varchar' && (old.kind === 'varchar' || old.kind === 'char')) return type.length >= old.length;
  if (type.kind === 'char' && old.kind === 'char') return type.length >= old.length;
  if (type.kind === 'text' && old.kind === 'text') return SIZES.indexOf(type.size) >= SIZES.indexOf(old.size);
  if (type.kind === 'text' && (old.kind === 'varchar' || old.kind === 'char'))
    return old.length * 4 <= (TEXT_BYTES[SIZES.indexOf(type.size)] as number);
  if (type.kind === 'binary' && old.kind === 'binary') return type.length >= old.length;
  if (type.kind === 'blob' && old.kind === 'blob') return SIZES.indexOf(type.size) >= SIZES.indexOf(old.size);
  if (type.kind === 'blob' && old.kind === 'binary')
    return old.length <= (TEXT_BYTES[SIZES.indexOf(type.size)] as number);
  if ((type.kind === 'time' || type.kind === 'datetime') && type.kind === old.kind)
    return type.fraction >= old.fraction;
  return JSON.stringify(type) === JSON.stringify(old);
}

const SIZES = ['tiny', 'normal', 'medium', 'long'] as const;
const TEXT_BYTES = [255, 65_535, 16_777_215, 4_294_967_295];

/** What is not supported, or stands in the way of a column: keys, foreign keys and generated columns that users have made. */
const REFUSES_DDL: ReadonlySet<number> = new Set([
  1072, 1091, 1235, 1706, 1828, 1829, 1832, 1833, 1846, 1901, 3106, 3108, 3837, 3959,
]);

async function alter(
  session: Session,
  dialect: Dialect,
  { claim, table: followed, now, carry }: Restructure,
  { rename, add, drop, widen }: Alteration,
): Promise<void> {
  const { database } = followed.target;
  const place = table(database, followed.place).raw;
  const step = async (actions: string) => {
    await checkClaim(session, claim, database);
    await run(session, `alter table ${place} ${actions}`).catch((error: unknown) => {
      if (!REFUSES_DDL.has(numberOf(error))) throw error;
      throw new StructureChanged(
        `The destination can not change ${database}.${followed.place} like that: ${serverText(error)}.`,
        'Load the table again.',
      );
    });
  };
  await renameColumns(session, dialect, followed, { rename, widen }, step);
  const present = await columnsOf(session, followed);
  const kept = followed.options.history === null ? now : versioned(now);
  const definition = (column: Column, name = column.name) => columnText(dialect, kept, column, name);
  const fills = add.map((column) => fillOf(dialect, column, definition(column), carry?.fills.get(column.name)));
  const actions = [
    ...add.flatMap((column, i) => {
      if (present.has(column.name.toLowerCase())) return [];
      const { nullable, byDefault } = fills[i] as Fill;
      return `add column ${definition({ ...column, nullable })}${byDefault ?? ''}`;
    }),
    ...drop.filter((name) => present.has(name.toLowerCase())).map((name) => `drop column ${quote(name)}`),
  ];
  if (dialect.modifiesColumns) actions.push(...widen.map((column) => `modify column ${definition(column)}`));
  if (actions.length > 0) await step(actions.join(', '));
  const sets = fills.flatMap(({ byUpdate }) => byUpdate ?? []);
  if (sets.length > 0)
    await transaction(session, async () => {
      await checkClaim(session, claim, database);
      // No row can have another value yet: the stream writes the column only when the new structure is stored.
      for (const { name, value } of sets)
        await run(session, `update ${place} set ${name} = ${value} where ${name} is null`);
    });
  if (dialect.modifiesColumns) return;
  for (const column of widen) {
    // A column that holds the old values under a name of its own takes the old one's place (singlestore.md §2).
    const name = `_flow_new_${createHash('sha256').update(JSON.stringify(column)).digest('hex').slice(0, 10)}`;
    const here = await columnsOf(session, followed);
    if (here.has(column.name.toLowerCase())) {
      if (!here.has(name)) await step(`add column ${definition(column, name)}`);
      await transaction(session, async () => {
        await checkClaim(session, claim, database);
        await run(session, `update ${place} set ${quote(name)} = ${quote(column.name)}`);
      });
      await step(`drop column ${quote(column.name)}`);
    }
    await step(`change ${quote(name)} ${quote(column.name)}`);
  }
}

/** How a new column gets the value that all rows from before have. */
type Fill = {
  readonly nullable: boolean;
  /** The end of its definition. */
  readonly byDefault?: string;
  readonly byUpdate?: { readonly name: string; readonly value: string };
};

/** Types whose columns take no DEFAULT, or none that all servers write alike. */
const NO_DEFAULT = /^ (\w*text|\w*blob|varbinary|json)\b/;
/** What every server takes in a definition as it is; other texts are not put there. */
const PLAIN = /^[ -~]{1,100}$/;

/**
 * By the DEFAULT of its definition, which touches no row. Where its type takes none, or the server is not known to give it to rows that are there, by an
 * UPDATE of the rows without a value; the column is nullable then.
 */
function fillOf(dialect: Dialect, column: Column, definition: string, fill: string | undefined): Fill {
  if (fill === undefined || fill === '\\N') return { nullable: column.nullable };
  const plain = unescapeText(Buffer.from(fill, 'latin1').toString('utf8'));
  const literal = isBinary(column.type) ? `unhex(${text(plain)})` : text(plain);
  const byUpdate = { name: quote(column.name), value: literal };
  if (NO_DEFAULT.test(definition.slice(byUpdate.name.length)) || !PLAIN.test(plain))
    return { nullable: true, byUpdate };
  const byDefault = ` default ${literal}`;
  return dialect.fillsAdded ? { nullable: column.nullable, byDefault } : { nullable: true, byDefault, byUpdate };
}

/** Renames the columns that still have their old names. */
async function renameColumns(
  session: Session,
  dialect: Dialect,
  followed: Followed,
  { rename, widen }: Pick<Alteration, 'rename' | 'widen'>,
  step: (actions: string) => Promise<void>,
): Promise<void> {
  if (rename.length === 0) return;
  const present = await columnsOf(session, followed);
  for (const { from, to } of rename) {
    const [old, taken] = [from, to].map((name) => present.has(name.toLowerCase()));
    // While it is widened, a column may stand under a name of its own only.
    if (old ? taken : !taken && !widen.some((column) => column.name === to))
      throw new StructureChanged(
        `The copy of ${followed.ref.schema}.${followed.ref.name} has ${old ? 'both columns' : 'neither of the columns'} ${from} and ${to}.`,
        'Load the table again.',
      );
    if (old) await step(dialect.renameColumn(from, to));
  }
}

async function columnsOf(session: Session, { target, place }: Followed): Promise<Set<string>> {
  const found = await rows(
    session,
    sql`select column_name as [field] from information_schema.columns where table_schema = ${target.database} and table_name = ${place}`,
  );
  if (found.length === 0)
    throw new StructureChanged(`${target.database}.${place} is gone at the destination.`, 'Load the table again.');
  return new Set(found.map((row) => String(row['field']).toLowerCase()));
}
