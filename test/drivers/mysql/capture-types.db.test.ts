import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogEvent, RowChange } from '../../../src/drivers/changes.ts';
import type { Position, Table } from '../../../src/drivers/model.ts';
import type { Source } from '../../../src/drivers/source.ts';
import { describeOne, type Playground, playground } from '../mysql-fixture.ts';
import {
  changesSince,
  isRow,
  lastPosition,
  openAt,
  readLines,
  rereadLines,
  rowText,
  startAt,
} from './capture-fixture.ts';
import { CASES } from './type-cases.ts';

describe.each(['mysql9', 'mariadb'] as const)('snapshot value = change value on %s', (server) => {
  let ground: Playground;
  let source: Source;
  const cases = CASES.filter((one) => one.only === undefined || one.only === server).map((one, at) => ({ ...one, at }));
  const tables: Table[] = [];
  const inserted: string[][] = [];
  const moved: string[][] = [];
  const reread: string[][] = [];
  let events: LogEvent[] = [];
  let goal = '' as Position;

  beforeAll(async () => {
    ground = await playground(server);
    source = await ground.open();
    for (const { type, at } of cases) {
      await ground.sql(`create table t${at} (id int primary key, c ${type}, z varchar(3) not null default 'end')`);
      tables.push(await describeOne(source, ground.database, `t${at}`));
    }
    const start = await startAt(source, tables);
    for (const { values, at } of cases) {
      for (const [i, [literal]] of values.entries())
        await ground.sql(`insert into t${at} (id, c) values (${i}, ${literal})`);
      inserted.push(await readLines(source, tables[at] as Table));
      await ground.sql(`update t${at} set id = id + 1000 order by id desc`);
      moved.push(await readLines(source, tables[at] as Table));
    }
    await using capture = await openAt(source, tables, start);
    for (const { values, at } of cases)
      reread.push(
        await rereadLines(
          capture,
          at,
          [...values.keys()].map((i) => String(i + 1000)),
        ),
      );
    for (const { at } of cases) await ground.sql(`delete from t${at}`);
    goal = await source.written();
    events = await changesSince(source, tables, start);
  }, 300_000);
  afterAll(async () => {
    await source[Symbol.asyncDispose]();
    await ground[Symbol.asyncDispose]();
  });

  test.each(cases)('$type', ({ values, at }) => {
    const own = events.filter((event): event is RowChange => isRow(event) && event.table === at);
    expect(own.length).toBe(values.length * 3);
    const rows = (kind: string) => own.filter((change) => change.kind === kind);
    const keys = [...values.keys()];
    expect(rows('insert').map(rowText)).toEqual(inserted[at]);
    expect(rows('insert').map((change) => change.key)).toEqual(keys.map(String));
    expect(rows('update').map(rowText).sort()).toEqual([...(moved[at] ?? [])].sort());
    for (const { key, oldKey } of rows('update')) expect(Number(key) - Number(oldKey)).toBe(1000);
    expect(rows('delete').map((change) => change.key)).toEqual(keys.map((i) => String(i + 1000)));
    expect(reread[at]).toEqual(moved[at]);
    expect(own.every((change) => change.missing === null)).toBe(true);
  });

  test('nothing but rows and commits came', () => {
    expect(events.filter((event) => !isRow(event) && event.kind !== 'commit' && event.kind !== 'progress')).toEqual([]);
    expect(events.at(-1)).toMatchObject({ kind: 'progress', atEnd: true });
    expect(source.reached(lastPosition(events), goal)).toBe(true);
  });
});
