import { expect } from 'vitest';
import type { Applier, ApplyRequest, ClaimedScope, Followed } from '../../src/drivers/apply.ts';
import type { LogEvent } from '../../src/drivers/changes.ts';
import type { Destination } from '../../src/drivers/destination.ts';
import type { Column, Position, Table } from '../../src/drivers/model.ts';
import { type Cells, type ChangeLog, changeLog, reached, tablesOf } from '../fakes/change-log.ts';
import { BIGINT, column, load, type Place, planned, planOf, position, sourceTable } from './singlestore-fixture.ts';

/** Tables with every kind of key and cell that the apply treats in a way of its own. */
export const TABLES: readonly Table[] = [
  sourceTable('plain', [
    column('id', BIGINT, false),
    column('v', { kind: 'varchar', length: 200 }),
    column('n', { kind: 'decimal', precision: 20, scale: 4 }),
    column('at', { kind: 'datetime', fraction: 6 }),
  ]),
  sourceTable(
    'Odd `name` ü',
    [
      column('te`xt', { kind: 'text', size: 'long' }),
      column('b', { kind: 'binary', length: 20 }, false),
      column('a', { kind: 'varchar', length: 50 }, false),
      column('blob', { kind: 'blob', size: 'long' }),
      column('key', { kind: 'double' }),
    ],
    { key: ['a', 'b'], textKey: true },
  ),
  sourceTable(
    'words',
    [column('w', { kind: 'varchar', length: 30 }, false), column('json', { kind: 'json' }), column('c', BIGINT)],
    { key: ['w'], textKey: true },
  ),
];

const WORDS = ['a', 'A', 'a ', 'á', '', ' ', 'b\\tc', 'b\\nc', "it's", 'q"q', 'x\\\\', '\\0', '日本', '🙂'];

/** Cells of a random row of `TABLES`. */
export function randomCells(table: number, random: () => number): Cells {
  const below = (n: number) => Math.floor(random() * n);
  const maybe = (cell: string) => (random() < 0.2 ? '\\N' : cell);
  const word = () => WORDS[below(WORDS.length)] as string;
  const hex = (bytes: number) => Buffer.from(Array.from({ length: below(bytes + 1) }, () => below(256)));
  if (table === 0)
    return [
      String(below(40) - 3),
      maybe(word() + word()),
      maybe(`${below(1e6)}.${String(below(10_000)).padStart(4, '0')}`),
      maybe(`20${10 + below(90)}-01-02 03:04:05.00000${below(10)}`),
    ];
  if (table === 1)
    return [
      maybe(word().repeat(below(30))),
      ['', '00', 'FF', '0A09', '5C'][below(5)] as string,
      word(),
      maybe(hex(40).toString('hex').toUpperCase()),
      maybe(String(below(1000) / 8)),
    ];
  return [word(), maybe(`{"k": ${below(9)}}`), maybe(String(below(1e9)))];
}

/** `randomCells` for servers that may hold keys equal which differ in spaces at their end. */
export function unpaddedCells(table: number, random: () => number): Cells {
  const { columns, key } = TABLES[table] as Table;
  return randomCells(table, random).map((cell, i) =>
    key.includes((columns[i] as Column).name) ? cell.replace(/ +$/, '_') : cell,
  );
}

/** Rows of a place as the log would write them: sorted lines. */
export async function held(place: Place, database: string, name: string, table: Table, where = ''): Promise<string[]> {
  const cells = table.columns.map(({ name: of, type }) => {
    const quoted = `\`${of.replaceAll('`', '``')}\``;
    const text = type.kind === 'binary' || type.kind === 'blob' ? `hex(${quoted})` : `cast(${quoted} as char)`;
    return `${text} as \`${of.replaceAll('`', '``')}\``;
  });
  const found = await place.query(
    `select ${cells.join(', ')} from \`${database}\`.\`${name.replaceAll('`', '``')}\`${where}`,
  );
  return found.map((row) => table.columns.map((one) => asCell(row[one.name] ?? null, one)).join('\t')).sort();
}

/** What the source holds, in the same form. */
export function wanted(log: ChangeLog, table: number): string[] {
  const { columns } = log.tables[table] as Table;
  return [...(log.contents[table] as Map<string, Cells>).values()]
    .map((cells) =>
      cells.map((cell, i) => asCell(cell === '\\N' ? null : unescaped(cell), columns[i] as Column)).join('\t'),
    )
    .sort();
}

function asCell(cell: string | null, { type }: Column): string {
  if (cell === null) return 'NULL';
  if (type.kind === 'json') return JSON.stringify(JSON.parse(cell));
  if (type.kind === 'double') return String(Number(cell));
  return JSON.stringify(cell);
}

function unescaped(cell: string): string {
  const letters: Record<string, string> = { t: '\t', n: '\n', r: '\r', '0': '\0' };
  return cell.replace(/\\([\s\S])/g, (_, letter: string) => letters[letter] ?? letter);
}

/** Tables in place with rows, followed by scope 1 from position 0 on. */
export type Copy = {
  readonly log: ChangeLog;
  readonly databases: readonly string[];
  claim(destination: Destination): Promise<ClaimedScope>;
  /** Claims and begins to apply; what was fed before and is durable is left out. */
  begin(destination: Destination, more?: Partial<ApplyRequest>): Promise<Begun>;
  expectEqual(expect: (found: string[], wanted: string[], what: string) => void): Promise<void>;
};

export type Begun = {
  readonly claim: ClaimedScope;
  readonly applier: Applier;
  readonly capture: ReturnType<ChangeLog['capture']>;
  readonly followed: readonly Followed[];
  /** What is not contained in the checkpoints yet. */
  events(): LogEvent[];
};

/** Copies the tables, whose rows are `rows` at position 0, spread over `databases`. */
export async function copied(
  place: Place,
  destination: Destination,
  sources: readonly Table[],
  {
    databases = [place.database()],
    rows = [] as readonly (readonly Cells[])[],
    pipeline = 'p',
    until = position('0'),
    promote = true,
    prefix = '',
    history = false,
  } = {},
): Promise<Copy> {
  const tables = sources.map((table) => ({ ...table, ref: { ...table.ref, name: prefix + table.ref.name } }));
  const log = changeLog(tables);
  const databaseOf = (index: number) => databases[index % databases.length] as string;
  for (const database of databases) {
    await destination.prepare(database);
    const scope = { scope: 1, run: 1, token: 0, seq: 0, position: position('0'), slot: 's', identity: 'i' };
    await destination.createScope(database, pipeline, scope);
  }
  for (const [index, table] of tables.entries()) {
    const plan = planOf(databaseOf(index), table, { pipeline, history });
    const made = await planned(destination, databaseOf(index), plan);
    const lines = rows[index] ?? [];
    for (const cells of lines) log.contents[index]?.set(log.keyOf(index, cells), cells);
    const text = lines.map((cells) => `${cells.join('\t')}\n`).join('');
    await load(destination, plan, made, 0, text, lines.length);
    await destination.seal(databaseOf(index), made.id, made.load, until);
    if (!promote) continue;
    await destination.journal(databaseOf(index), 1, [{ id: made.id, load: made.load }]);
    await destination.promote(databaseOf(index), 1, 1, made.id, made.load);
  }
  const claim = (by: Destination) => by.claimScope(databases, pipeline, 1, 1);
  return {
    log,
    databases,
    claim,
    async begin(by, more = {}) {
      const claimed = await claim(by);
      const followed = tablesOf(await by.followed(databases, pipeline, 1), log);
      const at = new Map(claimed.databases.map((one) => [one.database, one.position]));
      const capture = log.capture((table) => at.get(databaseOf(table)) as Position);
      const applier = await by.apply({
        claim: claimed,
        tables: followed,
        capture,
        reached,
        written: async () => log.written(),
        signal: new AbortController().signal,
        ...more,
      });
      const events = () => capture.eventsFrom(applier.durable);
      return { claim: claimed, applier, capture, followed, events };
    },
    async expectEqual(expect) {
      for (const [index, table] of tables.entries()) {
        const found = await held(
          place,
          databaseOf(index),
          table.ref.name,
          table,
          history ? ' where _is_current = 1' : '',
        );
        expect(found, wanted(log, index), table.ref.name);
      }
    },
  };
}

/** What an attempt hears whose scope another one has claimed: it may be tried again, because its run may own the scope still. */
export const anotherAttempt = { name: 'Error', message: expect.stringMatching(/^Another attempt follows scope/) };
