import { describe, expect, it } from 'vitest';
import type { DeltaResult, FullResult } from '../../src/workflows/children.ts';
import type { Run } from '../../src/workflows/messages.ts';
import { begin, deltaInput, end, fullInput, NO_LOAD, NO_STREAM } from '../../src/workflows/runs.ts';
import { newRun, newState, type PipelineState, setTable } from '../../src/workflows/state.ts';
import { endStream } from '../../src/workflows/stream-runs.ts';

const now = Date.UTC(2026, 0, 1);
const params = { host: 'h', port: '1', uid: 'u', pwd: 'p' };

/** A pipeline that follows `public.a` and has loaded `public.views`, which no delta follows. */
function following(option: string): PipelineState {
  let state = newState('p', 'UTC');
  for (const name of ['a', 'views'])
    state = setTable(state, { table: { database: 'd', schema: 'public', name }, select: true, options: {} }, now);
  const [a, views] = ['public.a', 'public.views'].map((name) => state.tables[name]);
  if (!a || !views) throw new Error('The tables are not selected.');
  return {
    ...state,
    source: { ...state.source, params: { ...params, type: 'rds.pgres', keyless_delta: option } },
    destination: { ...state.destination, params: { ...params, type: 'rds.sstorem', db: 'd' } },
    everFull: true,
    main: { scope: 1, databases: ['d'] },
    tables: { 'public.a': { ...a, state: 'consistent' }, 'public.views': { ...views, state: 'loaded' } },
  };
}

function streamed(state: PipelineState, result: Partial<DeltaResult>): PipelineState {
  const run = { ...newRun(state, 'delta', now), state: 'running' } as Run;
  const during = begin(state, run, now);
  return endStream(
    during,
    run,
    deltaInput(during, run),
    { ...NO_STREAM, state: 'succeeded', error: null, ...result },
    now,
  );
}

const views = { schema: 'public', name: 'views' };
const waiting = (state: PipelineState) => state.queue.map((run) => run.operation);

describe('tables that a delta does not follow', () => {
  const keyless = { keyless: [views], behind: [views] };

  it('stay as they are with keyless_delta = skip', () => {
    const after = streamed(following('skip'), keyless);
    expect(waiting(after)).toEqual([]);
    expect(after.tables['public.views']?.state).toBe('loaded');
  });

  it('are loaded again behind it with keyless_delta = reload', () => {
    const after = streamed(following('reload'), keyless);
    expect(waiting(after)).toEqual(['syncnew']);
    expect(after.tables['public.views']?.state).toBe('reload');
    expect(after.tables['public.a']?.state).toBe('consistent');
  });

  it('are not loaded behind a delta that failed or was cancelled', () => {
    for (const state of ['failed', 'cancelled', 'yielded'] as const)
      expect(waiting(streamed(following('reload'), { ...keyless, state })).filter((one) => one === 'syncnew')).toEqual(
        [],
      );
  });

  it('are loaded once although two deltas have ended meanwhile', () => {
    const once = streamed(following('reload'), keyless);
    expect(waiting(streamed(once, keyless))).toEqual(['syncnew']);
  });
});

describe('a table that is lost while tables are being loaded', () => {
  const error = { class: 'StructureChanged', message: 'Another key.', action: 'Load again.' } as const;
  const left = [{ ref: { schema: 'public', name: 'a' }, error }];

  function loading(): { state: PipelineState; run: Run } {
    const before = following('skip');
    const name = 'public.views';
    const waits = {
      ...before,
      tables: { ...before.tables, [name]: { ...views, ...before.tables[name], state: 'reload' } },
    } as PipelineState;
    const run = { ...newRun(waits, 'syncnew', now), state: 'running' } as Run;
    return { state: begin(waits, run, now), run };
  }
  const loaded: FullResult = { ...NO_LOAD, state: 'succeeded', error: null, follows: true } as FullResult;

  it('is loaded behind them', () => {
    const { state, run } = loading();
    const lost = streamed(state, { left });
    expect(waiting(lost)).toEqual([]);
    const after = end(lost, run, fullInput(lost, run), loaded, now);
    expect(waiting(after)).toEqual(['syncnew']);
    expect(after.tables['public.a']).toMatchObject({ state: 'reload', error: { class: 'StructureChanged' } });
    const again = begin(after, after.queue[0] as Run, now);
    expect(fullInput(again, again.running as Run).tables.map(({ ref }) => ref.name)).toEqual(['a']);
    expect(waiting(end(again, again.running as Run, fullInput(again, again.running as Run), loaded, now))).toEqual([]);
  });

  it('is loaded again when its structure changed during the load, five times in a row at most', () => {
    let { state, run } = loading();
    const changed: FullResult = {
      ...loaded,
      state: 'failed',
      failed: [
        {
          ref: { schema: 'public', name: 'views' },
          error: { class: 'StructureChanged', message: 'A column came.', action: 'Load it.' },
        },
      ],
    };
    for (let loads = 1; loads <= 6; loads++) {
      const old = end(state, run, fullInput(state, run), changed, now, () => false);
      expect(waiting(old)).toEqual([]);
      state = end(state, run, fullInput(state, run), changed, now);
      expect(waiting(state), `after ${loads}`).toEqual(loads < 6 ? ['syncnew'] : []);
      if (loads === 3) {
        // One that went well begins to count anew.
        const next = state.queue[0] as Run;
        const going = begin(state, next, now);
        const good = end(going, going.running as Run, fullInput(going, going.running as Run), loaded, now);
        expect([waiting(good), good.tables['public.views']?.changed]).toEqual([[], undefined]);
      }
      if (loads < 6) {
        state = begin(state, state.queue[0] as Run, now);
        run = state.running as Run;
      }
    }
    expect(state.tables['public.views']).toMatchObject({ state: 'reload', error: { class: 'StructureChanged' } });
  });

  it('asks for nothing when none was', () => {
    const { state, run } = loading();
    expect(waiting(end(state, run, fullInput(state, run), loaded, now))).toEqual([]);
  });
});
