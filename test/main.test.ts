import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keyFileAuth } from '../src/api/auth.ts';
import { createLog } from '../src/log.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const tls = (name: string) => fileURLToPath(new URL(`./fixtures/tls/${name}.pem`, import.meta.url));
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'flow-main-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

type Ended = { readonly code: number | null; readonly out: string; readonly err: string };

function start(
  args: readonly string[],
  env: Record<string, string> = {},
): { child: ChildProcess; ended: Promise<Ended>; said: (words: string) => Promise<string> } {
  const child = spawn(process.execPath, [main, ...args], {
    env: { PATH: process.env['PATH'], DATA_DIR: folder, ...env },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    err += data;
  });
  const ended = new Promise<Ended>((resolve) => child.on('exit', (code) => resolve({ code, out, err })));
  const said = async (words: string) => {
    for (let tries = 0; tries < 300; tries += 1) {
      const found = out.split('\n').find((line) => line.includes(words));
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`never said "${words}": ${out}${err}`);
  };
  return { child, ended, said };
}

describe('flow-ingest', () => {
  it.each([[], ['help'], ['--help']])('shows its commands: %j', async (...args) => {
    const { code, out } = await start(args.flat()).ended;
    expect(code).toBe(0);
    for (const command of ['serve', 'api', 'worker', 'api-key']) expect(out).toContain(`flow-ingest ${command}`);
  });

  it('refuses an unknown command', async () => {
    const { code, err } = await start(['dance']).ended;
    expect([code, err]).toEqual([2, expect.stringContaining('unknown command dance')]);
  });

  it.each(['serve', 'api', 'worker'])('%s stops at wrong settings with one clear line each', async (command) => {
    const { code, out, err } = await start([command], { PORT: 'x', HOST: 'a b', LOG_LEVEL: 'loud' }).ended;
    expect([code, out]).toEqual([2, '']);
    expect(err.trim().split('\n')).toEqual([
      expect.stringMatching(/^flow-ingest: HOST: /),
      expect.stringMatching(/^flow-ingest: PORT: /),
      expect.stringMatching(/^flow-ingest: LOG_LEVEL: /),
    ]);
  });

  it('api-key prints a key, and the line that admits it', async () => {
    const { code, out } = await start(['api-key', 'operator']).ended;
    expect(code).toBe(0);
    const key = /^[0-9a-f]{64}$/m.exec(out)?.[0];
    const line = /^operator:[0-9a-f]{64}$/m.exec(out)?.[0] ?? '';
    const file = join(folder, 'made.keys');
    writeFileSync(file, `${line}\n`);
    const log = createLog({ level: 'error', format: 'json' }, () => {});
    expect(keyFileAuth(file, log)(`Bearer ${key}`)).toBe('operator');
    expect((await start(['api-key', 'a:b']).ended).code).toBe(2);
  });
});

describe('flow-ingest api', () => {
  const nobody = { TEMPORAL_ADDRESS: '127.0.0.1:1' };

  it('starts and answers while Temporal is away, and stops on SIGTERM', async () => {
    const { child, said, ended } = start(['api'], { ...nobody, PORT: '0' });
    const url = /http:\S+/.exec(await said('listening on'))?.[0];
    expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: 'ok' });
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
  });

  it('serves TLS by its certificate files, and wants keys', async () => {
    const keys = join(folder, 'keys');
    const made = (await start(['api-key', 'me']).ended).out;
    const key = /^[0-9a-f]{64}$/m.exec(made)?.[0];
    writeFileSync(keys, /^me:.*$/m.exec(made)?.[0] ?? '');
    const files = { TLS_CERT_FILE: tls('cert'), TLS_KEY_FILE: tls('key'), API_KEYS_FILE: keys };
    const { child, said, ended } = start(['api'], { ...nobody, ...files, HOST: '0.0.0.0', PORT: '0' });
    const url = /https:\S+/.exec(await said('listening on'))?.[0] ?? '';
    const status = (path: string, headers = {}) =>
      new Promise<number | undefined>((resolve, reject) => {
        get(`${url}${path}`, { rejectUnauthorized: false, headers }, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).on('error', reject);
      });
    expect(await status('/healthz')).toBe(200);
    expect(await status('/openapi.json')).toBe(401);
    expect(await status('/openapi.json', { Authorization: `Bearer ${key}` })).toBe(200);
    child.kill('SIGTERM');
    const { code, err } = await ended;
    expect(code).toBe(0);
    expect(err).not.toContain(key);
  });

  it('says which port is taken', async () => {
    const server = await new Promise<Server>((resolve) => {
      const taken = createServer().listen(0, '127.0.0.1', () => resolve(taken));
    });
    const { port } = server.address() as { port: number };
    const { code, err } = await start(['api'], { ...nobody, PORT: String(port) }).ended;
    expect([code, err]).toEqual([2, expect.stringContaining(`PORT: 127.0.0.1:${port} is in use`)]);
    server.close();
  });
});
