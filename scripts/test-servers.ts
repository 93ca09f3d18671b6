// Starts the servers that tests need, writes their connection data to a JSON file and stays up:
// node scripts/test-servers.ts [file], then FLOW_TEST_SERVERS=file npx vitest run --project servers test/…
import { rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestServers } from './servers/all.ts';

const file = process.argv[2] ?? join(tmpdir(), 'flow-test-servers.json');
const matrix = (process.env['FLOW_MATRIX'] ?? '').split(',').filter((name) => name !== '');
const { servers, stop } = await startTestServers(matrix);
await writeFile(`${file}.new`, `${JSON.stringify(servers, null, 2)}\n`);
await rename(`${file}.new`, file);
console.log(`FLOW_TEST_SERVERS=${file}`);

let ending = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, async () => {
    if (ending) return;
    ending = true;
    clearInterval(alive);
    await rm(file, { force: true });
    await stop();
  });
// Servers do not keep this process alive by themselves.
const alive = setInterval(() => {}, 3_600_000);
