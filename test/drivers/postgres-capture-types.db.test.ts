import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Source } from '../../src/drivers/source.ts';
import { capture, changesOf, linesOf, rereadLines, type Seen, scopeOf, seen } from './postgres-capture-fixture.ts';
import { CASES, SETUP, SINCE } from './postgres-cases.ts';
import { type Playground, playground, postgresServers } from './postgres-fixture.ts';
import { describeOne } from './source-suite.ts';

const signal = new AbortController().signal;

/** Values and types beside those of the snapshot's table, that the log prints in its own way. */
const MORE: readonly (readonly [type: string, values: readonly string[]])[] = [
  ['text', ["E'\\b\\f\\v\\x01\\x7fé漢😀'", "repeat(E'x\\t\\\\', 5000)", "repeat(E'\\n', 70000)"]],
  ['bytea', ["decode(repeat('00ff5c', 50000), 'hex')"]],
  ['timestamptz', ["'0044-03-15 00:00:00+00 BC'", "'0044-03-15 12:00:00.25+00'", "'12345-06-07 00:00:00+00'"]],
  ['timestamp[]', ["'{0044-03-15 00:00:00 BC,infinity,-infinity,NULL}'"]],
  ['timestamptz[]', ["'{0044-03-15 00:00:00+00 BC,infinity,2024-01-01 00:00:00.5+00}'"]],
  ['date[]', ["'{0044-03-15 BC,12345-01-01}'"]],
  [
    'text[]',
    [
      "array['', ' ', '{', '\"', E'\\\\', E'\\x01\\x1f\\x7f', 'null', 'NULL', 'a,b', 'é', E'\\b\\f\\v\\r']",
      "array[array['a','b,'],array['c',null]]",
      "'[0:1][2:3]={{a,b},{c,d}}'",
    ],
  ],
  ['numeric[]', ["'{NaN,-0.5,1e-20}'"]],
  ['real[]', ["'{1e20,-0,Infinity,NULL}'"]],
  ['money', ["'-0.01'", "'0'", "'-1234567.89'"]],
  ['money[]', ["'{-0.01,1234567.89,NULL}'"]],
  ['box[]', ["'{(2,2),(0,0);(1,1),(0,0)}'"]],
  ['interval[]', ["'{1 day,-3 months}'"]],
  ['uuid[]', ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]],
  ['json[]', ["array['{\"a\" :\n\t1}'::json, 'null']"]],
  ['char(3)[]', ["'{a,NULL}'"]],
  ['regclass[]', ["'{pg_class,public.named}'"]],
  ['bit(3)[]', ["'{101}'"]],
  [
    'inner_pair',
    [
      "row(row(1, E'a\\\\\"b,()', null, null, null), array['x,y', null], true, '2024-01-01', '{\"k\": [1]}', 'a=>b', 'so so', int4range(1,2))",
      'row(null, null, null, null, null, null, null, null)',
      "row(row(null,'',null,null,null), '{}', false, 'infinity', null, '', null, 'empty')",
    ],
  ],
  [
    'inner_pair[]',
    [
      "array[row(row(1, E'a\\\\\"b', null, null, null), array['x,y', null], true, '2024-01-01', '1', 'a=>b', 'so so', null)::inner_pair]",
    ],
  ],
  ['single', ['row(null)', "row('')"]],
  ['domained', ["row(5, array[array['1'], array[null]])"]],
  ['hstore', ["''", '\'"\\""=>"=>", b=>""\'']],
  ['textrange', ['\'["a,b","c\\"\\\\"]\'']],
  ['int2vector', ["'1 2 3'"]],
  ['priced', ["row('1.50')"]],
];
const LATER = `
  create type inner_pair as (p pair, l text[], b boolean, d date, j jsonb, h hstore, m mood, r int4range);
  create type single as (t text); create type priced as (m money);
  create type textrange as range (subtype = text); create type domained as (n positive, l text[]);
`;

/** Types whose text in the log does not say what a read gives: the destination reads such rows again. */
const READ_AGAIN = ['int2vector', 'priced'];

describe.each(postgresServers())('values in the log of %s', (server) => {
  let ground: Playground;
  let source: Source;
  let version: number;
  beforeAll(async () => {
    ground = await playground(server);
    await ground.sql(SETUP + LATER);
    source = await ground.open();
    version = Number((await ground.sql('show server_version_num')).flat()[0]);
  });
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  test('a row is the same bytes by read, insert, update and re-read, for every type', async () => {
    const types = [...CASES.map(([type, , values]) => [type, values.map(([sql]) => sql)] as const), ...MORE].filter(
      ([type]) => version >= (SINCE[type] ?? 0),
    );
    const tables = [];
    for (const [index, [type]] of types.entries()) {
      await ground.sql(`create table typed_${index} (id int primary key, v ${type}, note text default 'new')`);
      // Kept apart from the row, so that an update of another column does not carry them.
      if (type === 'text' || type === 'bytea')
        await ground.sql(`alter table typed_${index} alter v set storage external`);
      tables.push(await describeOne(source, 'public', `typed_${index}`));
    }
    const scope = await scopeOf(source, tables);
    for (const [index, [, values]] of types.entries())
      for (const [place, value] of ['null', ...values].entries())
        await ground.sql(`insert into typed_${index} (id, v) values (${place}, ${value})`);
    const inserted = new Map<string, string>();
    const updated = new Map<string, string>();
    const readAgain = new Set<string>();
    await using reader = await capture(source, scope.request({ until: 'forever' }));
    const events: Seen[] = [];
    let until = await source.written();
    let turned = false;
    for await (const piece of reader.events()) {
      events.push(...piece.map(seen));
      if (!piece.some((event) => event.kind === 'progress' && source.reached(event.position, until))) continue;
      if (turned) break;
      turned = true;
      for (const index of types.keys()) await ground.sql(`update typed_${index} set note = 'newer', v = v`);
      until = await source.written();
    }
    for (const change of changesOf(events)) {
      if (change.missing !== null) {
        expect(change.missing).toEqual([1]);
        readAgain.add(types[change.table]?.[0] as string);
        continue;
      }
      (change.kind === 'insert' ? inserted : updated).set(`${change.table} ${change.key}`, change.line);
      expect(change.row?.[0]).toBe(change.key);
    }
    expect(events.filter((event) => event.kind === 'structure')).toEqual([]);
    let compared = 0;
    for (const [index, table] of tables.entries()) {
      const type = types[index]?.[0] as string;
      const lines = await linesOf(source, table);
      const keys = lines.map((line) => line.slice(0, line.indexOf('\t')));
      expect([type, await rereadLines(reader, index, keys)]).toEqual([type, lines]);
      for (const line of lines) {
        const id = `${index} ${line.slice(0, line.indexOf('\t'))}`;
        // A long value that did not change is not in the log.
        const update = updated.get(id);
        if (update !== undefined) expect([type, update]).toEqual([type, line]);
        const insert = inserted.get(id);
        if (insert !== undefined) expect([type, insert]).toEqual([type, line.replace(/newer\n$/, 'new\n')]);
        if (insert !== undefined) compared++;
      }
    }
    expect(compared).toBeGreaterThan(250);
    expect([...readAgain].filter((type) => !READ_AGAIN.includes(type)).sort()).toEqual(['bytea', 'text']);
    expect(inserted.size).toBe(types.reduce((sum, [, values]) => sum + values.length + 1, 0) - 2);
  });

  test('uses of rules are counted as in a read, with the same examples', async () => {
    await ground.sql(
      'create table ruled (id int primary key, n numeric, f float8, d date, ts timestamptz, t text, hidden text)',
    );
    const table = await describeOne(source, 'public', 'ruled', { mask: ['hidden'] });
    const scope = await scopeOf(source, [table]);
    await ground.sql(
      `insert into ruled select i, (case when i % 10 = 0 then 'NaN' else '1.5' end)::numeric, (case when i % 25 = 0 then 'Infinity' else '0.5' end)::float8,
         (case when i = 7 then '0007-01-01' when i = 8 then 'infinity' else '2020-01-01' end)::date, '2020-01-01', 'NaN Infinity \x02', 'secret' from generate_series(1, 100) i`,
    );
    await using reader = await capture(source, scope.request());
    const events: Seen[] = [];
    for await (const piece of reader.events()) events.push(...piece.map(seen));
    const { ranges } = await source.split(table, undefined, 1e12);
    const rows = source.read(table, undefined, ranges[0] as string, signal);
    let read = await rows.next();
    while (!read.done) read = await rows.next();
    const sorted = (rules: readonly unknown[]) => rules.map((rule) => JSON.stringify(rule)).sort();
    const taken = reader.takeRules();
    expect(taken.map((one) => one.table)).toEqual([0]);
    expect(sorted(taken[0]?.rules ?? [])).toEqual(sorted(read.value.rules));
    expect(reader.takeRules()).toEqual([]);
    expect(changesOf(events).map((change) => change.line)).toEqual(await linesOf(source, table));
  });

  test('the log prints the same whatever the role, the database and its encoding say', async () => {
    await using place = await playground(server, "template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'");
    for (const [name, value] of [
      ['timezone', 'Asia/Tokyo'],
      ['datestyle', 'German'],
      ['intervalstyle', 'postgres_verbose'],
      ['extra_float_digits', '0'],
      ['bytea_output', 'escape'],
      ['statement_timeout', '250ms'],
      ['search_path', '"elsewhere"'],
    ])
      await place.sql(
        `alter database ${place.database} set ${name} = ${name === 'search_path' ? value : `'${value}'`}`,
      );
    await place.sql(
      'create table public."dé" (id int primary key, ts timestamptz, d date, i interval, f float8, b bytea, "é" text, r tstzrange, o regclass, a timestamptz[])',
    );
    await using opened = await place.open();
    const table = await describeOne(opened, 'public', 'dé');
    const scope = await scopeOf(opened, [table]);
    await place.sql(
      `insert into public."dé" values (1, '2024-06-01 00:00:00+09', '2024-12-31', '1 day 2 hours', 0.1::float8, '\\x00ff', 'é', '[2024-06-01 00:00:00+09,)', 'public."dé"', '{2024-06-01 00:00:00+09}')`,
    );
    await using reader = await capture(opened, scope.request());
    const events: Seen[] = [];
    for await (const piece of reader.events()) events.push(...piece.map(seen));
    expect(changesOf(events).map((change) => change.line)).toEqual(await linesOf(opened, table));
    expect(changesOf(events)[0]?.row?.slice(0, 4)).toEqual(['1', '2024-05-31 15:00:00', '2024-12-31', 'P1DT2H']);
    expect(changesOf(events)[0]?.row?.slice(5, 7)).toEqual(['00ff', 'é']);
    expect(await rereadLines(reader, 0, ['1'])).toEqual(changesOf(events).map((change) => change.line));
  });
});
