#!/usr/bin/env node
// The one script that must run before anything is installed: plain JavaScript for Node 20 and later, no dependencies.
// node scripts/run.mjs demo|test|bench|chaos|chaos-streams [arguments] installs what package-lock.json names and goes on with the pinned Node.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [task, ...rest] = process.argv.slice(2);

const program = {
  demo: 'scripts/demo.ts',
  test: 'scripts/test.ts',
  bench: 'bench/main.ts',
  chaos: 'scripts/chaos.ts',
  'chaos-streams': 'scripts/chaos-streams.ts',
}[task ?? ''];

if (program === undefined) fail(`unknown task ${task}`);
if (Number(process.versions.node.split('.')[0]) < 20)
  fail(`Node 20 or later is needed to start, this is ${process.version}`);
if (!installed()) install();
goOn();

/** npm writes its own copy of the lock file after an install, so an older copy means that the lock file has changed. */
function installed() {
  const copy = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(copy) || !existsSync(join(root, 'node_modules/.bin/node'))) return false;
  return statSync(copy).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs;
}

function install() {
  if (spawnSync('npm', ['--version'], { stdio: 'ignore' }).status !== 0) fail('npm is needed, and is not on the PATH');
  console.log('Installing packages (npm ci) ...');
  const options = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync('npm', options, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.status !== 0) fail('npm ci failed; see above');
  if (!existsSync(join(root, 'node_modules/.bin/node')))
    fail(
      'npm ci left no Node 24: install scripts must be allowed for the package "node" (npm config get ignore-scripts)',
    );
}

function goOn() {
  const node = join(root, 'node_modules/.bin/node');
  const env = { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}` };
  // The channel closes when this process dies in any way; the task ends its servers then.
  const stdio = ['inherit', 'inherit', 'inherit', 'ipc'];
  const child = spawn(node, [join(root, program), ...rest], { cwd: root, env, stdio });
  // Ctrl-C reaches the task by itself, and it needs time to stop its servers.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1);
  });
  child.on('error', (error) => fail(error.message));
}

function fail(text) {
  console.error(`flow-ingest: ${text}`);
  process.exit(1);
}
