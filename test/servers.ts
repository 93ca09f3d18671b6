import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import type { TestProject } from 'vitest/node';
import { startTestServers, type TestServers } from '../scripts/servers/all.ts';
import { exists } from '../scripts/servers/cache.ts';

declare module 'vitest' {
  interface ProvidedContext extends TestServers {
    /** The workflow bundle of src/workflows/index.ts, built once for all test files. */
    bundlePath: string;
  }
}

/**
 * Starts every server that tests need, once for all test files. With `FLOW_TEST_SERVERS` naming the file that
 * scripts/test-servers.ts wrote, those servers are used instead, so that a single test starts at once.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [running, bundle] = await Promise.all([findOrStart(), bundleWorkflows()]);
  for (const [name, info] of Object.entries(running.servers)) project.provide(name as keyof TestServers, info as never);
  project.provide('bundlePath', bundle.path);
  return async () => {
    await bundle.remove();
    await running.stop();
  };
}

async function findOrStart(): Promise<{ servers: TestServers; stop(): Promise<void> }> {
  const file = process.env['FLOW_TEST_SERVERS'];
  if (file === undefined || file === '') {
    const matrix = (process.env['FLOW_MATRIX'] ?? '').split(',').filter((name) => name !== '');
    return startTestServers(matrix);
  }
  return { servers: JSON.parse(await readFile(file, 'utf8')) as TestServers, stop: async () => {} };
}

async function bundleWorkflows(): Promise<{ path: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'flow-bundle-'));
  const path = join(folder, 'workflows.js');
  const workflowsPath = fileURLToPath(new URL('../src/workflows/index.ts', import.meta.url));
  if (await exists(workflowsPath)) {
    const { code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('WARN') });
    await writeFile(path, code);
  }
  return { path, remove: () => rm(folder, { recursive: true, force: true }) };
}
