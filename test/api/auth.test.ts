import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keyFileAuth, newApiKey } from '../../src/api/auth.ts';
import { createLog } from '../../src/log.ts';
import { harness } from './harness.ts';

let folder = '';
let file = '';
let logged: string[] = [];
const log = createLog({ level: 'info', format: 'json' }, (line) => logged.push(line));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flow-auth-'));
  file = join(folder, 'keys');
  logged = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const bearer = (key: string) => ({ Authorization: `Bearer ${key}` });

describe('API keys', () => {
  it('open every route but the health ones', async () => {
    const { key, line } = newApiKey('ops');
    writeFileSync(file, `# people\n\n${line}\n`);
    const api = harness({ authorize: keyFileAuth(file, log) });
    for (const path of ['/healthz', '/readyz']) expect((await api.send('GET', path)).status).toBe(200);
    for (const path of [
      'status',
      'conn-src',
      'list-db',
      '/pipelines',
      '/metrics',
      '/openapi.json',
      '/docs',
      '/nope',
      'rollback-points',
    ]) {
      const refused = await api.send('GET', path);
      expect([path, refused.status, refused.headers.get('www-authenticate')]).toEqual([path, 401, 'Bearer']);
      expect(refused.json()).toMatchObject({ success: false, status: 401 });
      expect([path, (await api.send('GET', path, undefined, bearer(key))).status]).not.toEqual([path, 401]);
    }
    expect(api.world.calls).toEqual([]);
  });

  it('are told apart in the log by name, never by value', async () => {
    const { key, line } = newApiKey('ops');
    writeFileSync(file, line);
    const api = harness({ authorize: keyFileAuth(file, log) });
    await api.send('GET', 'status', undefined, bearer(key));
    expect(JSON.parse(api.logged[0] ?? '')).toMatchObject({ caller: 'ops' });
    expect([...api.logged, ...logged].join('')).not.toContain(key);
  });

  it('are read again when the file changes; nobody gets in while it is gone', async () => {
    const [one, two] = [newApiKey('one'), newApiKey('two')];
    writeFileSync(file, one.line);
    const authorize = keyFileAuth(file, log);
    expect([authorize(`Bearer ${one.key}`), authorize(`Bearer ${two.key}`)]).toEqual(['one', null]);
    writeFileSync(file, `${one.line}\n${two.line}`);
    expect([authorize(`Bearer ${one.key}`), authorize(`Bearer ${two.key}`)]).toEqual(['one', 'two']);
    writeFileSync(file, two.line.toUpperCase().replace('TWO', 'two'));
    expect([authorize(`Bearer ${one.key}`), authorize(`Bearer ${two.key}`)]).toEqual([null, 'two']);
    rmSync(file);
    expect(authorize(`Bearer ${two.key}`)).toBeNull();
    expect(logged.join('')).toContain('cannot be read');
    writeFileSync(file, two.line);
    expect(authorize(`Bearer ${two.key}`)).toBe('two');
  });

  it.each(['', 'Bearer', 'Bearer ', 'Basic abc', 'Bearer a b', 'bearerabc', 'Bearer abc'])(
    '%j opens nothing',
    (header) => {
      writeFileSync(file, `x:${'0'.repeat(64)}\nnot a line\nshort:abc\n`);
      const authorize = keyFileAuth(file, log);
      expect(authorize(header)).toBeNull();
      expect(authorize(undefined)).toBeNull();
      expect(logged.filter((line) => line.includes('not name:sha256hex')).map((line) => JSON.parse(line).line)).toEqual(
        [2, 3],
      );
    },
  );

  it('are announced in the OpenAPI document', async () => {
    const { key, line } = newApiKey('ops');
    writeFileSync(file, line);
    const api = harness({ authorize: keyFileAuth(file, log) });
    const document = (await api.send('GET', '/openapi.json', undefined, bearer(key))).json();
    expect(document.security).toEqual([{ key: [] }]);
    expect(document.components.securitySchemes.key).toEqual({ type: 'http', scheme: 'bearer' });
    expect((await harness().send('GET', '/openapi.json')).json().security).toBeUndefined();
  });
});
