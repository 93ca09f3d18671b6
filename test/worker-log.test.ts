import { describe, expect, it } from 'vitest';
import { createLog } from '../src/log.ts';
import { workerFields } from '../src/worker-log.ts';

describe('a line of a worker', () => {
  it.each([
    ['pipeline/sales/delta/12', { pipeline: 'sales', run: 12 }],
    ['pipeline/sales', { pipeline: 'sales' }],
    ['pipeline/sales/report/3f2c', { pipeline: 'sales' }],
    ['temporal-sys-scheduler/x/y/1', {}],
    ['', {}],
  ])('of %s names pipeline and run', (workflowId, wanted) => {
    const { workflowId: _, group, ...found } = workerFields('INFO', { workflowId });
    expect({ ...found, group }).toEqual({ ...wanted, group: 'Others' });
  });

  it('belongs to one of the four groups', () => {
    expect(workerFields('INFO', { group: 'Source' }).group).toBe('Source');
    expect(workerFields('WARN', { error: new Error('x') }).group).toBe('Errors');
    expect(workerFields('ERROR').group).toBe('Errors');
    expect(workerFields('WARN').group).toBe('Others');
  });

  it('keeps its own words, but no task token', () => {
    const written: string[] = [];
    const log = createLog({ level: 'info', format: 'json' }, (line) => written.push(line));
    const meta = { workflowId: 'pipeline/p/full/1', table: 'a.b', run: 7, taskToken: 'secret', attempt: 2 };
    log.info('loaded', workerFields('INFO', meta));
    const { at, ...line } = JSON.parse(written[0] ?? '');
    expect(at).toMatch(/Z$/);
    expect(line).toEqual({
      ...{ level: 'info', message: 'loaded', pipeline: 'p', run: 7, group: 'Others' },
      ...{ workflowId: 'pipeline/p/full/1', table: 'a.b', attempt: 2 },
    });
  });
});
