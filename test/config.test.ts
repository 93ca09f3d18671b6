import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig, readSecretKey, settingNames } from '../src/config.ts';
import { newKeyText } from '../src/secrets.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'flow-config-'));
  writeFileSync(join(folder, 'file'), 'x');
});
afterAll(() => rmSync(folder, { recursive: true }));

const file = () => join(folder, 'file');
function refused(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.lines;
    throw error;
  }
  return [];
}

describe('settings', () => {
  it('have the documented defaults', () => {
    expect(loadConfig({})).toMatchObject({
      ...{
        host: '127.0.0.1',
        port: 8081,
        dataDir: '.data',
        secretKeyFile: '.data/secret.key',
        log: { level: 'info', format: 'json' },
      },
      temporal: { namespace: 'default', port: 7233, uiPort: 8233 },
    });
    expect(loadConfig({}).workerProcesses).toBeGreaterThanOrEqual(1);
    expect(loadConfig({}).temporal).not.toHaveProperty('address');
    expect(loadConfig({ PORT: '', TEMPORAL_ADDRESS: '', TIME_ZONE: '' })).toEqual(loadConfig({}));
  });

  it('are read', () => {
    const config = loadConfig({
      ...{
        HOST: '::1',
        PORT: '9',
        DATA_DIR: '/d',
        TEMPORAL_ADDRESS: '[::1]:7',
        TEMPORAL_NAMESPACE: 'n',
        WORKER_PROCESSES: '3',
      },
      ...{
        TIME_ZONE: 'Asia/Kolkata',
        LOG_LEVEL: 'warn',
        LOG_FORMAT: 'text',
        SECRET_KEY_FILE: '/k',
        API_KEYS_FILE: file(),
      },
      ...{
        TLS_CERT_FILE: file(),
        TLS_KEY_FILE: file(),
        TEMPORAL_TLS_SERVER_NAME: 's',
        TEMPORAL_TLS_CLIENT_CERT_PATH: file(),
        TEMPORAL_TLS_CLIENT_KEY_PATH: file(),
      },
    });
    expect(config).toEqual({
      ...{
        host: '::1',
        port: 9,
        dataDir: '/d',
        workerProcesses: 3,
        timeZone: 'Asia/Kolkata',
        log: { level: 'warn', format: 'text' },
      },
      ...{ secretKeyFile: '/k', apiKeysFile: file(), tls: { certFile: file(), keyFile: file() } },
      temporal: {
        address: '[::1]:7',
        namespace: 'n',
        port: 7233,
        uiPort: 8233,
        tls: { serverName: 's', clientCertFile: file(), clientKeyFile: file() },
      },
    });
    expect(loadConfig({ TEMPORAL_API_KEY: 'k' }).temporal).toMatchObject({ apiKey: 'k', tls: {} });
    expect(loadConfig({ TEMPORAL_TLS: 'true' }).temporal.tls).toEqual({});
    expect(loadConfig({ TEMPORAL_API_KEY: 'k', TEMPORAL_TLS: 'false' }).temporal).not.toHaveProperty('tls');
  });

  it.each([
    ['PORT', 'x'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['HOST', 'a b'],
    ['TEMPORAL_ADDRESS', 'localhost'],
    ['TEMPORAL_ADDRESS', 'http://localhost:7233'],
    ['TEMPORAL_NAMESPACE', 'a b'],
    ['TEMPORAL_TLS', 'yes'],
    ['TEMPORAL_PORT', '0'],
    ['TEMPORAL_UI_PORT', 'x'],
    ['WORKER_PROCESSES', '0'],
    ['WORKER_PROCESSES', '1.5'],
    ['ALLOW_ANONYMOUS', '1'],
    ['TIME_ZONE', 'Mars/Olympus'],
    ['LOG_LEVEL', 'loud'],
    ['LOG_FORMAT', 'xml'],
    ['API_KEYS_FILE', '/nowhere/keys'],
    ['TEMPORAL_TLS_SERVER_CA_CERT_PATH', '/nowhere/ca'],
    ['TEMPORAL_TLS_CA', 'mistyped'],
  ])('%s=%s stops the start with one clear line', (name, value) => {
    expect(refused({ [name]: value })).toEqual([expect.stringMatching(new RegExp(`^${name}: .`))]);
  });

  it('name every wrong one', () => {
    expect(refused({ PORT: 'x', LOG_LEVEL: 'y', TEMPORAL_TLS_X: '1' })).toHaveLength(3);
  });

  it('come in pairs where one alone makes no sense', () => {
    expect(refused({ TLS_CERT_FILE: file() })).toEqual([expect.stringContaining('TLS_KEY_FILE')]);
    expect(refused({ TLS_KEY_FILE: file() })).toEqual([expect.stringContaining('TLS_CERT_FILE')]);
    expect(refused({ TEMPORAL_TLS_CLIENT_CERT_PATH: file() })).toEqual([expect.stringContaining('CLIENT_KEY_PATH')]);
    expect(refused({ TEMPORAL_TLS: 'false', TEMPORAL_TLS_SERVER_NAME: 's' })).toHaveLength(1);
  });

  it.each(['0.0.0.0', '::', '192.168.1.5', 'example.org', '127.evil.com'])(
    'HOST=%s needs keys, or an explicit word',
    (host) => {
      expect(refused({ HOST: host })).toEqual([expect.stringContaining('ALLOW_ANONYMOUS')]);
      expect(refused({ HOST: host, ALLOW_ANONYMOUS: 'true' })).toEqual([]);
      expect(refused({ HOST: host, API_KEYS_FILE: file() })).toEqual([]);
    },
  );

  it.each(['127.0.0.1', '127.8.9.1', 'localhost', '::1'])('HOST=%s needs nothing', (host) =>
    expect(refused({ HOST: host })).toEqual([]),
  );

  it('are all in the README', () => {
    const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    expect(settingNames.filter((name) => !text.includes(name) && !name.startsWith('TEMPORAL_TLS'))).toEqual([]);
  });
});

describe('the secret key file', () => {
  it('is made once, for its owner only, and read again', () => {
    const path = join(folder, 'deep', 'er', 'secret.key');
    const made = readSecretKey(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readSecretKey(path)).toEqual(made);
  });

  it('is the same for processes that start at the same moment', async () => {
    const path = join(folder, 'race', 'secret.key');
    const code = `import('${new URL('../src/config.ts', import.meta.url).href}').then((m) => console.log(m.readSecretKey(process.argv[1]).id))`;
    const starts = Array.from({ length: 6 }, () => promisify(execFile)(process.execPath, ['-e', code, path]));
    const ids = (await Promise.all(starts)).map(({ stdout }) => stdout.trim());
    expect(ids[0]).toMatch(/^[0-9a-f]{8}$/);
    expect(new Set(ids).size).toBe(1);
  });

  it('is refused by name when it holds something else, or can’t be made', () => {
    expect(() => readSecretKey(file())).toThrow(/SECRET_KEY_FILE: .*32 bytes/);
    expect(() => readSecretKey(join(file(), 'under-a-file'))).toThrow(/SECRET_KEY_FILE/);
    const given = join(folder, 'given.key');
    writeFileSync(given, newKeyText());
    chmodSync(given, 0o400);
    expect(readSecretKey(given).id).toMatch(/^[0-9a-f]{8}$/);
  });
});
