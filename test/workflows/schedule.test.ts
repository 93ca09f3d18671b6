import { describe, expect, it } from 'vitest';
import type { FullResult } from '../../src/workflows/children.ts';
import { databasesOf } from '../../src/workflows/destinations.ts';
import type { RequestAnswer } from '../../src/workflows/messages.ts';
import { details, overview } from '../../src/workflows/overview.ts';
import { cancel, request } from '../../src/workflows/requests.ts';
import { begin, end, fullInput } from '../../src/workflows/runs.ts';
import { due } from '../../src/workflows/schedule.ts';
import {
  addEvent,
  answerFor,
  newState,
  noteConnection,
  type PipelineState,
  rememberAnswer,
  setConnection,
  setSchedule,
  setScheduler,
  setTable,
} from '../../src/workflows/state.ts';

const now = Date.UTC(2026, 10, 21);
const params = { host: 'h', port: '1', uid: 'u', pwd: 'sealed' };
const manual = { type: 'manual', duration: null, offset: '0d00h00m', weekFlags: null } as const;
const periodic = { ...manual, type: 'periodic', duration: '0d00h05m00s' } as const;

function configured(destination: Record<string, string> = {}, more: Record<string, string> = {}): PipelineState {
  const source = {
    side: 'source',
    params: { ...params, type: 'rds.pgres', ...more },
    fingerprint: 's',
    revision: 0,
    unknown: [],
  } as const;
  const target = {
    side: 'destination',
    params: { ...params, type: 'rds.sstorem', ...destination },
    fingerprint: 'd',
    revision: 0,
    unknown: [],
  } as const;
  return setConnection(setConnection(newState('p', 'UTC'), source, now), target, now);
}
function select(state: PipelineState, schema: string, name: string, on = true): PipelineState {
  return setTable(state, { table: { database: 'shop', schema, name }, select: on, options: {} }, now);
}
function result(more: Partial<FullResult>): FullResult {
  return {
    state: 'succeeded',
    rows: 5,
    bytes: 9,
    position: 'p9',
    scope: 1,
    loaded: 1,
    failed: [],
    findings: [],
    error: null,
    ...more,
  };
}
const byFulls = (more: Record<string, string>): PipelineState => select(configured({}, more), 'a', 't');
const code = ([, answer]: [PipelineState, RequestAnswer]): string => (answer.accepted ? 'accepted' : answer.code);

describe('requests', () => {
  it.each([
    ['no connection', newState('p', 'UTC'), 'full', 'no_connection'],
    ['no table', configured(), 'full', 'no_tables'],
    ['a deselected table', select(select(configured(), 'a', 't'), 'a', 't', false), 'full', 'no_tables'],
    ['delta before full', select(configured(), 'a', 't'), 'delta', 'needs_full'],
    ['syncnew before full', select(configured(), 'a', 't'), 'syncnew', 'needs_full'],
    ['syncstruct before full', select(configured(), 'a', 't'), 'syncstruct', 'needs_full'],
    ['delta before full, full extracts only', byFulls({ capture: 'none' }), 'delta', 'full_only'],
    ['delta before full of such a type', byFulls({ type: 'rds.msfull' }), 'delta', 'full_only'],
    ['delta before full by cursors', byFulls({ type: 'rds.msfull', capture: 'cursor' }), 'delta', 'needs_full'],
    ['two tables on one name', select(select(configured({ db: 'x' }), 'a', 't'), 'b', 't'), 'full', 'name_conflict'],
    ['the same names in databases of their own', select(select(configured(), 'a', 't'), 'b', 't'), 'full', 'accepted'],
  ] as const)('%s: %s', (_, state, operation, expected) => {
    const answer = request(state, operation, now);
    expect(code(answer)).toBe(expected);
    if (expected !== 'accepted') expect(answer[0]).toBe(state);
  });

  it('of what needs changes are refused where the source, as it is saved now, captures none', () => {
    const state = { ...byFulls({ type: 'rds.msfull' }), everFull: true, main: { scope: 1, databases: ['d'] } };
    const asked = (now: PipelineState, knowing: boolean) => request(now, 'delta', 1, {}, () => knowing)[1];
    expect(asked(state, true)).toMatchObject({ code: 'full_only', text: expect.stringContaining('Set `capture`') });
    expect(asked(state, false)).toMatchObject({ accepted: true });
    const since = { ...byFulls({ capture: 'cursor' }), everFull: true, main: null };
    expect(asked(since, true)).toMatchObject({ code: 'full_only', text: expect.stringContaining('run another one') });
  });

  it('are refused while queued and while running', () => {
    const [queued] = request(select(configured(), 'a', 't'), 'full', now);
    expect(code(request(queued, 'full', now))).toBe('already_queued');
    const run = due(queued, now);
    const running = begin(queued, run as NonNullable<typeof run>, now);
    expect(code(request(running, 'full', now))).toBe('already_running');
    expect(due(running, now)).toBeNull();
  });
});

describe('a run', () => {
  const [queued] = request(select(select(configured(), 'a', 't'), 'a', 'u'), 'full', now);
  const run = queued.queue[0] as NonNullable<(typeof queued.queue)[0]>;
  const running = begin(queued, run, now);
  const input = fullInput(running, run);

  it('takes the tables that were selected when it began', () => {
    expect(input.tables.map((table) => table.target)).toEqual([
      { database: 'shop_a', table: 't' },
      { database: 'shop_a', table: 'u' },
    ]);
    const later = select(running, 'a', 'later');
    expect(fullInput(later, run)).toEqual(input);
    expect(overview(later).tables).toEqual({ loading: 2, new: 1 });
  });

  it('ends with each table in its own state', () => {
    const error = { class: 'X', message: 'm', action: 'a' };
    const ended = end(
      running,
      run,
      input,
      result({ failed: [{ ref: { schema: 'a', name: 'u' }, error }] }),
      now + 1000,
    );
    expect(ended.tables['a.t']?.state).toBe('loaded');
    expect(ended.tables['a.u']).toMatchObject({ state: 'reload', error });
    expect(ended).toMatchObject({ running: null, everFull: true, position: 'p9' });
    expect(ended.runs.at(-1)).toMatchObject({ id: 1, state: 'succeeded', rows: { loaded: 5 } });
    expect(databasesOf(ended)).toEqual(['shop_a']);
  });

  it('gives tables their old state back when it was cancelled', () => {
    const loaded = end(running, run, input, result({}), now);
    const [again] = request(loaded, 'full', now);
    const second = again.queue[0] as typeof run;
    const busy = begin(again, second, now);
    const back = end(busy, second, fullInput(busy, second), result({ state: 'cancelled', position: null }), now);
    expect(overview(back).tables).toEqual({ loaded: 2 });
    expect(back).toMatchObject({ everFull: true, position: 'p9' });
    expect(back.tables['a.t']).not.toHaveProperty('was');
  });

  it('tells whether the saved parameters connect, only if they are still the same', () => {
    const good = end(running, run, input, result({}), now);
    expect([good.source.connected, good.destination.connected]).toEqual([true, true]);
    const error = { class: 'AccessDenied', message: '', action: '', side: 'destination' } as const;
    const bad = end(good, run, input, result({ state: 'failed', position: null, error }), now);
    expect([bad.source.connected, bad.destination.connected]).toEqual([true, false]);
    const other = noteConnection(bad, { side: 'destination', fingerprint: 'older', connected: true });
    expect(other.destination.connected).toBe(false);
  });
});

describe('cancel', () => {
  const [queued] = request(select(configured(), 'a', 't'), 'full', now);
  const run = queued.queue[0] as NonNullable<(typeof queued.queue)[0]>;
  it('empties the queue', () => {
    const [next, answer] = cancel(queued, { lane: 'queue' }, 0, now);
    expect(answer).toMatchObject({ cancelled: [1], stop: [] });
    expect(next).toMatchObject({ queue: [] });
    expect(next.runs.at(-1)).toMatchObject({ id: 1, state: 'cancelled' });
  });
  it('stops what runs, unless it can only go forward', () => {
    const running = begin(queued, run, now);
    expect(cancel(running, {}, 0, now)[1]).toMatchObject({ cancelled: [1], stop: [1] });
    expect(cancel(running, { lane: 'load' }, 1, now)[1]).toMatchObject({
      cancelled: [],
      stop: [],
      refused: [{ run: 1 }],
    });
    expect(cancel(running, { lane: 'queue' }, 0, now)[1]).toMatchObject({ cancelled: [], stop: [] });
  });
});

describe('configuration', () => {
  it('a save keeps status only for the same parameters', () => {
    const connected = noteConnection(configured(), { side: 'source', fingerprint: 's', connected: true });
    const save = { side: 'source', params, revision: 1, unknown: [] } as const;
    expect(setConnection(connected, { ...save, fingerprint: 's' }, now).source).toMatchObject({
      connected: true,
      revision: 2,
    });
    expect(setConnection(connected, { ...save, fingerprint: 'other' }, now).source.connected).toBe(false);
  });

  it('a schedule other than manual turns the scheduler on unless told otherwise', () => {
    const state = newState('p', 'UTC');
    expect(setSchedule(state, { schedule: periodic }, now).scheduler).toMatchObject({ on: true });
    expect(setSchedule(state, { schedule: periodic, isScheduled: false }, now).scheduler).toMatchObject({ on: false });
    expect(setSchedule(setSchedule(state, { schedule: periodic }, now), { schedule: manual }, now).scheduler.on).toBe(
      false,
    );
    expect(setScheduler(state, { on: true, reason: 'Maintenance over' }, now).scheduler).toEqual({
      on: true,
      reason: 'Maintenance over',
    });
  });

  it('options merge, null unsets, and an untouched table is forgotten', () => {
    const table = { database: 'd', schema: 'a', name: 't' };
    let state = setTable(newState('p', 'UTC'), { table, options: { where: 'x > 1', mask: ['m'] } }, now);
    expect(state.tables['a.t']).toMatchObject({ selected: false, options: { where: 'x > 1', mask: ['m'] } });
    state = setTable(state, { table, options: { where: null }, unknown: { odd: 'Y' } }, now);
    expect(state.tables['a.t']).toMatchObject({ options: { mask: ['m'] }, unknown: { odd: 'Y' } });
    state = setTable(state, { table, options: { mask: null }, unknown: { odd: null } }, now);
    expect(state.tables).toEqual({});
  });

  it('selecting again makes a table new', () => {
    let state = select(configured(), 'a', 't');
    const name = 'a.t';
    state = {
      ...state,
      tables: { [name]: { ...(state.tables[name] as NonNullable<(typeof state.tables)[string]>), state: 'loaded' } },
    };
    expect(select(state, 'a', 't').tables[name]?.state).toBe('loaded');
    expect(select(select(state, 'a', 't', false), 'a', 't').tables[name]?.state).toBe('new');
  });

  it('bounds events and remembered answers', () => {
    let state = newState('p', 'UTC');
    for (let n = 0; n < 700; n++) {
      state = addEvent(state, now, {
        level: 'info',
        group: 'Others',
        code: 'c',
        message: `${n}`,
        run: null,
        table: null,
      });
      state = rememberAnswer(state, `k${n}`, n);
    }
    expect(state.events).toHaveLength(500);
    expect(state.events.at(-1)).toMatchObject({ seq: 700, message: '699' });
    expect(answerFor(state, 'k699')).toEqual({ answer: 699 });
    expect(answerFor(state, 'k1')).toBeUndefined();
  });

  it('shows no secret in the details', () => {
    expect(details(configured())).not.toContain('sealed');
  });

  it('holds 5,000 tables in less than 900 KB and its details stay small', () => {
    const tables: Record<string, PipelineState['tables'][string]> = {};
    for (let n = 0; n < 5000; n++) {
      const name = `table_with_a_usual_name_${n}`;
      tables[`public.${name}`] = {
        schema: 'public',
        name,
        database: 'shop',
        selected: true,
        state: 'loading',
        was: 'new',
        options: {},
      };
    }
    const state = { ...configured(), tables };
    expect(JSON.stringify(state).length).toBeLessThan(1_200_000);
    expect(details(state).length).toBeLessThan(2000);
  });
});
