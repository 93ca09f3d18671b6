// Everything that `npm test` checks, in this order: types, style, dead code, tests. `--matrix` runs the tests of drivers and
// whole pipelines instead, on further versions of the source databases and in their full sizes. Other arguments go to vitest.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { matrixNames } from './servers/all.ts';
import { dockerAnswers } from './servers/singlestore.ts';

type Counts = { passed: number; failed: number; skipped: number };

const root = join(import.meta.dirname, '..');
const bin = (name: string) => join(root, 'node_modules/.bin', name);
const args = process.argv.slice(2).filter((arg) => arg !== '--matrix');
const matrix = process.argv.includes('--matrix');
let running: ChildProcess | undefined;
// Ctrl-C reaches vitest by itself, and it needs time to stop its servers.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => running?.kill());
// The starter has died.
process.once('disconnect', () => running?.kill());

const failures: string[] = [];
if (!matrix) {
  await check('types', 'tsc', ['--noEmit']);
  await check('style', 'biome', ['check', '.']);
  await check('dead code', 'knip', []);
}
const counts = await runTests();
if (!(await dockerAnswers()))
  console.log('\nNot to be had here, as no Docker engine answers: SingleStore itself. MariaDB stood in for it.');
for (const failure of failures) console.log(`FAILED: ${failure}`);
console.log(`${counts.passed} passed, ${counts.failed + failures.length} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed + failures.length === 0 && counts.passed > 0 ? 0 : 1;
if (process.connected) process.disconnect();

async function check(what: string, program: string, options: string[]): Promise<void> {
  console.log(`\n> ${program} ${options.join(' ')}`);
  if ((await run(bin(program), options, process.env)) !== 0) failures.push(`${what} (${program})`);
}

async function runTests(): Promise<Counts> {
  const folder = await mkdtemp(join(tmpdir(), 'flow-results-'));
  const file = join(folder, 'results.json');
  const scope = matrix && args.length === 0 ? ['test/drivers', 'test/e2e', 'test/fakes'] : [];
  const options = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...scope, ...args];
  const env = matrix
    ? { ...process.env, FLOW_MATRIX: process.env['FLOW_MATRIX'] ?? matrixNames.join(',') }
    : process.env;
  console.log(`\n> vitest ${options.filter((option) => !option.includes('reporter')).join(' ')}`);
  try {
    const code = await run(bin('vitest'), options, env);
    const results = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    const counted = {
      passed: Number(results['numPassedTests']),
      failed: Number(results['numFailedTests']),
      skipped: Number(results['numPendingTests']) + Number(results['numTodoTests'] ?? 0),
    };
    // A file that could not be loaded, or an unhandled rejection, fails the run without a failed test.
    if (code !== 0 && counted.failed === 0) failures.push('tests (vitest reported an error outside of a test)');
    return counted;
  } catch {
    failures.push('tests (vitest wrote no results)');
    return { passed: 0, failed: 0, skipped: 0 };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(command: string, options: string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [command, ...options], {
      cwd: root,
      env,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    running = child;
    child.once('error', () => resolve(1));
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
