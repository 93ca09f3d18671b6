import type { Followed } from '../apply.ts';
import type { CheckPart } from '../check.ts';
import type { Column, ColumnType } from '../model.ts';
import { isBinary, tableDdl } from './ddl.ts';
import type { Dialect } from './dialect.ts';
import { loadText } from './load.ts';
import { quote, table } from './sql.ts';

/** The statements by which a copy is compared with rows of its source that were loaded beside it. */

/** Both sides: the copy, and the parts of a check at their places. */
export type Sides = {
  readonly dialect: Dialect;
  readonly followed: Followed;
  /** Comment in front of each statement. */
  readonly mark: string;
  readonly place: (part: CheckPart | 'keys') => string;
};

const NUMBER: Column = {
  name: '_flow_n',
  type: { kind: 'int', bytes: 8, unsigned: false },
  nullable: false,
  sourceType: '',
  masked: false,
};
const NO_LAYOUT = { shard: undefined, sort: undefined };

/** The DDL of a part: the copy's own structure; `keys` holds numbered keys. */
export function partsDdl(sides: Sides, part: CheckPart | 'keys'): string {
  const { dialect, followed, place } = sides;
  const { table: source, target } = followed;
  if (part !== 'keys') return tableDdl(dialect, target.database, place(part), source, NO_LAYOUT);
  // Two keys that the destination holds equal are two keys here; with a number they might be too long.
  const key = isExact(sides) ? [] : source.key;
  const layout = { shard: source.key.map(quote), sort: undefined };
  const columns = [NUMBER, ...keyColumns(followed)];
  return tableDdl(dialect, target.database, place(part), { ...source, columns, key }, layout);
}

/** The LOAD into a part. */
export function loadStatementOf(sides: Sides, part: CheckPart | 'keys', replace: boolean): string {
  const { followed, dialect, mark } = sides;
  const columns = part === 'keys' ? [NUMBER, ...keyColumns(followed)] : followed.table.columns;
  return loadText(mark.trimEnd(), at(sides, part), columns, replace, dialect.loadCharset);
}

/** Three selects of keys (`k0`, `k1`, …) that differ, and for each one how many there are. */
export function differing(
  sides: Sides,
  missing: 'all' | 'where' | null,
): readonly { readonly select: string; readonly count: string }[] {
  const live = `${copy(sides)} as t`;
  const read = `${at(sides, 'all')} as c`;
  const on = match(sides, 't', 'c');
  const first = quote(sides.followed.table.key[0] as string);
  const tests = [
    { keys: 't', from: `${live} left join ${read} on ${on} where c.${first} is null` },
    { keys: 't', from: `${live} join ${read} on ${on} where not (${sameCells(sides, 't', 'c')})` },
  ];
  if (missing !== null)
    tests.push({
      keys: 'c',
      from: `${at(sides, missing)} as c left join ${live} on ${on} where t.${first} is null`,
    });
  return tests.map(({ keys, from }) => ({
    select: `${sides.mark}select ${keyTexts(sides.followed, keys)} from ${from}`,
    count: `${sides.mark}select count(*) as ${quote('n')} from ${from}`,
  }));
}

/** For each key of a look, in their order: whether the copy is as the look (`same`), and the look as `before` (`unchanged`). */
export function lookOf(sides: Sides, before: CheckPart, part: 'odd' | 'even'): string {
  const join = (place: string, name: string) => `left join ${place} as ${name} on ${match(sides, name, 'k')}`;
  const number = quote(NUMBER.name);
  return (
    `${sides.mark}select ${sameRow(sides, 't', 'c')} as ${quote('same')}, ${sameRow(sides, 'b', 'c')} as ${quote('unchanged')} ` +
    `from ${at(sides, 'keys')} as k ${join(copy(sides), 't')} ${join(at(sides, part), 'c')} ${join(at(sides, before), 'b')} order by k.${number}`
  );
}

/** How many rows of a table without a key are there more often on one side than on the other. */
export function surplusOf(sides: Sides, part: CheckPart): string {
  const cells = sides.followed.table.columns.map((column) => {
    const name = quote(column.name);
    return `if(${name} is null, 'N', sha2(${imageOf(name, column.type)}, 256))`;
  });
  // Cells are hashed one by one: a text of all of them might be longer than the server makes texts.
  const hash = `sha2(concat(${cells.join(', ')}), 256) as ${quote('h')}`;
  const [h, d, n] = [quote('h'), quote('d'), quote('n')];
  return (
    `${sides.mark}select sum(abs(${n})) as ${n} from (select ${h}, sum(${d}) as ${n} from ` +
    `(select ${hash}, 1 as ${d} from ${copy(sides)} union all select ${hash}, -1 as ${d} from ${at(sides, part)}) as u group by ${h}) as g`
  );
}

function copy({ followed: { target, place } }: Sides): string {
  return table(target.database, place).raw;
}

function at({ followed: { target }, place }: Sides, part: CheckPart | 'keys'): string {
  return table(target.database, place(part)).raw;
}

function keyColumns({ table: source }: Followed): Column[] {
  return source.key.map((name) => source.columns.find((column) => column.name === name) as Column);
}

/** The destination may hold two keys of the source equal. */
function isExact({ dialect, followed }: Sides): boolean {
  return dialect.padsKeys && followed.table.textKey;
}

function match(sides: Sides, a: string, b: string): string {
  return keyColumns(sides.followed)
    .flatMap(({ name, type }) => {
      const [ours, theirs] = [`${a}.${quote(name)}`, `${b}.${quote(name)}`];
      const text = isExact(sides) && (type.kind === 'varchar' || type.kind === 'char');
      return [`${ours} = ${theirs}`, ...(text ? [`length(${ours}) = length(${theirs})`] : [])];
    })
    .join(' and ');
}

/** Both there and the same, or both not there. */
function sameRow(sides: Sides, a: string, b: string): string {
  const first = quote(sides.followed.table.key[0] as string);
  return `((${a}.${first} is null) = (${b}.${first} is null) and ${sameCells(sides, a, b)})`;
}

function sameCells({ followed: { table: source } }: Sides, a: string, b: string): string {
  const tests = source.columns.flatMap(({ name, type }) =>
    source.key.includes(name) ? [] : [sameCell(`${a}.${quote(name)}`, `${b}.${quote(name)}`, type)],
  );
  return tests.length === 0 ? '1 = 1' : tests.join(' and ');
}

/** Strings by their bytes, all others by their value; the zeros of floating point by their sign, too. */
function sameCell(a: string, b: string, type: ColumnType): string {
  switch (type.kind) {
    case 'char':
    case 'varchar':
    case 'text':
      return `cast(${a} as binary) <=> cast(${b} as binary)`;
    case 'json':
      return `cast(cast(${a} as char) as binary) <=> cast(cast(${b} as char) as binary)`;
    case 'float':
    case 'double':
      return `${a} <=> ${b} and cast(${a} as char) <=> cast(${b} as char)`;
    default:
      return `${a} <=> ${b}`;
  }
}

/** A cell as text that tells it from every other value of its type. */
function imageOf(name: string, type: ColumnType): string {
  switch (type.kind) {
    case 'char':
    case 'varchar':
    case 'text':
    case 'binary':
    case 'blob':
      return name;
    // FLOAT is shown with fewer digits than it has.
    case 'float':
      return `concat(cast(${name} as char), ' ', cast(${name} + 0e0 as char))`;
    default:
      return `cast(${name} as char)`;
  }
}

/** The select list (`k0`, `k1`, …) that `keyOf` makes the log's keys of. */
export function keyTexts(followed: Followed, name: string): string {
  return keyColumns(followed)
    .map((column, i) => {
      const cell = `${name}.${quote(column.name)}`;
      return `${isBinary(column.type) ? `hex(${cell})` : `cast(${cell} as char)`} as ${quote(`k${i}`)}`;
    })
    .join(', ');
}
