import { describe, expect, it } from 'vitest';
import { createLog, hideInLogs, type LogFormat, type LogLevel } from '../src/log.ts';
import { newKeyText, parseKey, type SecretKey, sealParams } from '../src/secrets.ts';

function lines(level: LogLevel = 'debug', format: LogFormat = 'json') {
  const written: string[] = [];
  return { written, log: createLog({ level, format }, (line) => written.push(line)) };
}

describe('a log', () => {
  it('writes one JSON object a line, own fields after those of its parents', () => {
    const { written, log } = lines();
    log
      .with({ pipeline: 'sales', run: 3 })
      .with({ table: 'a.b' })
      .info('loaded\nwell', { rows: 5n, group: 'Destination' });
    expect(written).toHaveLength(1);
    expect(JSON.parse(written[0] ?? '')).toEqual({
      ...{ at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/), level: 'info', message: 'loaded\nwell' },
      ...{ pipeline: 'sales', run: 3, table: 'a.b', rows: '5', group: 'Destination' },
    });
    expect(written[0]?.match(/\n/g)).toHaveLength(1);
  });

  it('writes one text line a line', () => {
    const { written, log } = lines('debug', 'text');
    log.warn('two\nlines', { pipeline: 'sales', why: 'be cause', list: [1] });
    expect(written[0]).toMatch(/^\S+Z WARN {2}two\\nlines pipeline=sales why="be cause" list=\[1\]\n$/);
  });

  it.each([
    ['debug', 4],
    ['info', 3],
    ['warn', 2],
    ['error', 1],
  ] as const)('at level %s writes %i of four', (level, count) => {
    const { written, log } = lines(level);
    for (const one of ['debug', 'info', 'warn', 'error'] as const) log[one]('x');
    expect(written).toHaveLength(count);
  });

  it('shows errors without their causes and own properties', () => {
    const { written, log } = lines();
    log.error('failed', {
      error: Object.assign(new Error('outer', { cause: new Error('inner row 42') }), { sql: 'select secret' }),
    });
    expect(JSON.parse(written[0] ?? '').error).toEqual({
      name: 'Error',
      message: 'outer',
      stack: expect.stringContaining('log.test'),
    });
    expect(written[0]).not.toMatch(/inner row|select secret/);
  });

  it.each(['json', 'text'] as const)('never writes a known secret (%s)', (format) => {
    const { written, log } = lines('debug', format);
    sealParams(parseKey(newKeyText()) as SecretKey, { pwd: 'pa"ss\\wo\nrd', uid: 'visible' });
    hideInLogs('abc');
    const secret = 'pa"ss\\wo\nrd';
    log.info(`tried ${secret} for visible abc`, {
      nested: { list: [`x${secret}x`] },
      error: new Error(`denied: ${secret}`),
    });
    expect(written[0]).not.toMatch(/wo\\{0,2}n?rd/);
    expect(written[0]).toContain('tried *** for visible abc');
  });
});
