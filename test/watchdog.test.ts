import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';

const watchdog = new URL('../src/watchdog.ts', import.meta.url).href;

/** How a process ends that does `body` under a watchdog of one second. */
async function run(body: string): Promise<{ signal: string | null; code: number | null; said: string }> {
  const program = `import { startWatchdog } from '${watchdog}'; startWatchdog(1); ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (bytes) => {
    said += bytes;
  });
  return new Promise((resolve) => child.once('close', (code, signal) => resolve({ signal, code, said })));
}

test.each([
  ['never ends', 'for (;;);'],
  ['waits for nothing in turn', 'for (;;) await null;'],
])('a process that %s is killed, and says why', async (_name, body) => {
  const { signal, said } = await run(`setTimeout(async () => { ${body} }, 300)`);
  expect(signal).toBe('SIGKILL');
  expect(JSON.parse(said.trim().split('\n').at(-1) ?? '')).toMatchObject({ level: 'error', group: 'Errors' });
});

test('a process that works and waits goes on, and may end', async () => {
  const busy =
    'const until = Date.now() + 3000; while (Date.now() < until) await new Promise((r) => setTimeout(r, 50));';
  expect(await run(busy)).toEqual({ signal: null, code: 0, said: '' });
});
