import { describe, expect, test } from 'vitest';
import type { LogEvent, RowChange } from '../../src/drivers/changes.ts';
import { endOfTransaction, foldEvent, isFull, newBatch } from '../../src/drivers/singlestore/apply-batch.ts';
import {
  endTransaction,
  foldChange,
  newFold,
  overlay,
  type Row,
  type TableFold,
} from '../../src/drivers/singlestore/fold.ts';
import { type Cells, type ChangeLog, changeLog, randomTransactions, seeded } from '../fakes/change-log.ts';
import { BIGINT, column, sourceTable } from './singlestore-fixture.ts';

const TABLE = sourceTable(
  't',
  [
    column('a', BIGINT),
    column('k', BIGINT, false),
    column('b', BIGINT),
    column('l', BIGINT, false),
    column('c', BIGINT),
  ],
  { key: ['k', 'l'] },
);

function randomRow(_: number, random: () => number): Cells {
  const below = (n: number) => String(Math.floor(random() * n));
  return [below(100), below(4), random() < 0.2 ? '\\N' : below(100), below(4), `x\\t${below(9)}\\n`];
}

const cellsOf = ({ data, from, to }: Row) =>
  Buffer.from(data.subarray(from, to)).toString('utf8').replace(/\n$/, '').split('\t');

/** What a write does with a fold, on rows in memory; keys that it reads again are counted. */
function write(rows: Map<string, Cells>, fold: TableFold, log: ChangeLog, again: string[]): void {
  if (fold.emptied) rows.clear();
  const source = log.contents[0] as Map<string, Cells>;
  const reread = (key: string) => {
    again.push(key);
    const now = source.get(key);
    if (now) rows.set(key, now);
    else rows.delete(key);
  };
  for (const [key, state] of fold.states) if (state === 'gone') rows.delete(key);
  for (const [key, state] of fold.states) {
    if (state === 'gone') continue;
    if (state === 'reread') reread(key);
    else if (state.missing === null) rows.set(key, cellsOf(state));
    else {
      const base = rows.get(key);
      const cells = cellsOf(state);
      const unknown = state.missing;
      if (base === undefined) reread(key);
      else
        rows.set(
          key,
          cells.map((cell, i) => (unknown.includes(i) ? (base[i] as string) : cell)),
        );
    }
  }
}

describe('fold', () => {
  test('batches of random transactions, however cut, bring a copy to where the source is', () => {
    for (let seed = 1; seed <= 400; seed++) {
      const random = seeded(seed);
      const log = changeLog([TABLE]);
      const rows = new Map<string, Cells>();
      const most = 1 + Math.floor(random() * 12);
      randomTransactions(log, random, 60, randomRow, { truncates: 0.01, most });
      const again: string[] = [];
      let batch = newBatch(1);
      for (const event of log.events('0' as never)) {
        foldEvent(batch, event);
        if (event.kind === 'commit') endOfTransaction(batch, 0);
        // Also in the middle of a transaction: the next part goes on with it.
        if (random() > 0.05) continue;
        const fold = batch.folds[0];
        if (fold) write(rows, fold, log, again);
        batch = newBatch(1, undefined, batch);
      }
      const fold = batch.folds[0];
      if (fold) write(rows, fold, log, again);
      expect([...rows].sort(), `seed ${seed}`).toEqual([...(log.contents[0] as Map<string, Cells>)].sort());
    }
  });

  test.each([false, true])(
    'where no two rows share a key, whole rows are never read again (parts of rows: %s)',
    (partial) => {
      const kinds = [{ immediate: true }];
      let asked = 0;
      for (let seed = 1; seed <= 300; seed++) {
        const random = seeded(seed);
        const log = changeLog([TABLE]);
        const rows = new Map<string, Cells>();
        const most = 1 + Math.floor(random() * 12);
        randomTransactions(log, random, 60, randomRow, { truncates: 0.01, most, deferrable: false, partial });
        const again: string[] = [];
        let batch = newBatch(1, { tables: new Set(), most: 0, kinds });
        for (const event of log.events('0' as never)) {
          foldEvent(batch, event);
          if (event.kind === 'commit') endOfTransaction(batch, 0);
          if (random() > 0.05) continue;
          const fold = batch.folds[0];
          if (fold) write(rows, fold, log, again);
          batch = newBatch(1, batch.versions, batch);
        }
        const fold = batch.folds[0];
        if (fold) write(rows, fold, log, again);
        expect([...rows].sort(), `seed ${seed}`).toEqual([...(log.contents[0] as Map<string, Cells>)].sort());
        asked += again.length;
      }
      expect(asked === 0).toBe(!partial);
    },
  );

  const row = (text: string, missing: readonly number[] | null = null): Row => {
    const data = Buffer.from(`before\n${text}\nafter`);
    return { data, from: 7, to: 8 + text.length, missing };
  };
  const change = (kind: RowChange['kind'], key: string, text: string, more: Partial<RowChange> = {}): RowChange => ({
    kind,
    table: 0,
    key,
    oldKey: null,
    ...row(text),
    ...more,
  });
  const folded = (...changes: LogEvent[]): TableFold => {
    const fold = newFold();
    for (const one of changes) foldChange(fold, one as RowChange);
    return fold;
  };
  const shown = (fold: TableFold) =>
    Object.fromEntries(
      [...fold.states].map(([key, state]) => [
        key,
        typeof state === 'string' ? state : `${cellsOf(state)} ${state.missing ?? ''}`,
      ]),
    );

  test('an insert that is deleted again is read again inside a transaction, where its key may be deferrable', () => {
    const changes = [change('insert', '1', '1\ta'), change('delete', '1', '')] as const;
    expect(shown(folded(...changes))).toEqual({ 1: 'reread' });
    const batch = newBatch(1);
    for (const one of changes) {
      foldEvent(batch, one);
      endOfTransaction(batch, 0);
    }
    expect(shown(batch.folds[0] as TableFold)).toEqual({ 1: 'gone' });
    expect(shown(folded(change('delete', '1', ''), change('insert', '1', '1\tb')))).toEqual({ 1: '1,b ' });
  });

  test('a whole row is not read again when its key changes without all columns', () => {
    const fold = folded(change('insert', '1', '1\ta\tb'));
    endTransaction(fold);
    foldChange(fold, change('update', '2', '2\t\\N\tc', { oldKey: '1', missing: [1] }));
    expect(shown(fold)).toEqual({ 1: 'gone', 2: '2,a,c ' });
  });

  test('rows that share a key inside a transaction: what stays is what the source has', () => {
    // Rows have a name of their own here, as in a source; the log knows them by key only.
    for (let seed = 1; seed <= 1500; seed++) {
      const random = seeded(seed);
      const below = (n: number) => Math.floor(random() * n);
      const held = new Map<number, readonly [key: string, value: string]>();
      const copy = new Map<string, Cells>();
      const again: string[] = [];
      let batch = newBatch(1);
      let name = 0;
      const line = (key: string, value: string) => `${key}\t${value}`;
      const source = () => new Map([...held.values()].map(([key, value]) => [key, [key, value]]));
      const flush = () => {
        const fold = batch.folds[0];
        if (fold) write(copy, fold, { contents: [source()] } as unknown as ChangeLog, again);
      };
      // A part may end inside a transaction; what is read again then is newer than the part, and stays the source's last word.
      for (let transaction = 0; transaction < 6; transaction++) {
        const events: RowChange[] = [];
        const shared = () => new Set([...held.values()].map(([key]) => key)).size < held.size;
        for (let i = below(5); i >= 0 || shared(); i--) {
          const rows = [...held.keys()];
          const row = rows[below(rows.length)];
          const kind = i < 0 ? (random() < 0.5 ? 'delete' : 'move') : ['insert', 'update', 'move', 'delete'][below(4)];
          const [old] = row === undefined ? [''] : (held.get(row) as readonly [string, string]);
          const value = String(++name);
          const key = kind === 'update' ? old : String(below(4));
          if (kind === 'insert') {
            held.set(name, [key, value]);
            events.push(change('insert', key, line(key, value)));
          } else if (row === undefined) continue;
          else if (kind === 'delete') {
            held.delete(row);
            events.push(change('delete', old, ''));
          } else {
            held.set(row, [key, value]);
            events.push(change('update', key, line(key, value), key === old ? {} : { oldKey: old }));
          }
        }
        const cut = below(2 * events.length + 1);
        events.forEach((event, i) => {
          foldEvent(batch, event);
          if (i !== cut) return;
          flush();
          batch = newBatch(1, undefined, batch);
        });
        endOfTransaction(batch, 0);
        if (random() < 0.5) continue;
        flush();
        batch = newBatch(1);
      }
      flush();
      expect([...copy].sort(), `seed ${seed}`).toEqual([...source()].sort());
    }
  });

  test('of many keys in one transaction those that came are read again, and few others', () => {
    const fold = newFold();
    for (let i = 0; i < 300_000; i++) foldChange(fold, change('insert', String(i), '1\ta'));
    fold.states.clear();
    for (let i = 0; i < 400_000; i++) foldChange(fold, change('delete', String(i), ''));
    for (let i = 0; i < 300_000; i += 1000) expect(fold.states.get(String(i))).toBe('reread');
    const others = [...fold.states].filter(([key, state]) => Number(key) >= 300_000 && state === 'reread');
    expect(others.length).toBeLessThan(1000);
  });

  test('a key change without all columns of a row that is not in the batch is read again', () => {
    expect(shown(folded(change('update', '2', '2\t\\N', { oldKey: '1', missing: [1] })))).toEqual({
      1: 'gone',
      2: 'reread',
    });
  });

  test('parts of rows add up', () => {
    const fold = folded(
      change('update', '1', '1\ta\t\\N\t\\N', { missing: [2, 3] }),
      change('update', '1', '1\t\\N\tb\t\\N', { missing: [1, 3] }),
    );
    expect(shown(fold)).toEqual({ 1: '1,a,b,\\N 3' });
  });

  test('a part of a row that is gone is read again', () => {
    const fold = folded(change('delete', '1', ''), change('update', '1', '1\ta\t\\N', { missing: [2] }));
    expect(shown(fold)).toEqual({ 1: 'reread' });
  });

  test('rows that swap keys at once are both kept; which one stays under a key is asked', () => {
    const fold = folded(change('update', '2', '2\ta', { oldKey: '1' }), change('update', '1', '1\tb', { oldKey: '2' }));
    expect(shown(fold)).toEqual({ 1: '1,b ', 2: 'reread' });
  });

  test('a batch is full before its transaction writes more tables than the destination takes', () => {
    const batch = newBatch(1000);
    const tables = (count: number) => {
      for (let table = 0; table < count; table++) foldEvent(batch, { ...change('delete', '1', ''), table });
    };
    tables(439);
    expect(isFull(batch)).toBe(false);
    tables(440);
    expect(isFull(batch)).toBe(true);
  });

  test('an overlay copies escaped and empty cells as they are', () => {
    const found = overlay(row('1\ta\\tb\t\t\\N'), row('1\t\\N\tx\t\\N', [1, 3]), [1, 3]);
    expect(cellsOf(found)).toEqual(['1', 'a\\tb', 'x', '\\N']);
    expect(found.missing).toBeNull();
    expect(() => overlay(row('1\ta'), row('1\ta\tb'), [])).toThrow('different numbers of columns');
  });
});
