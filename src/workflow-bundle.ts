import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const own = fileURLToPath(import.meta.url);
const folder = fileURLToPath(new URL('./workflows/', import.meta.url));

/** The file with the bundled workflow code, built when its sources have changed since; several workers may do so at once. */
export async function workflowBundle(dataDir: string): Promise<string> {
  const hash = createHash('sha256').update(process.version);
  for (const name of (await readdir(folder)).sort()) hash.update(name).update(await readFile(join(folder, name)));
  for (const name of ['./codes.ts', './options.ts', '../package-lock.json']) {
    const file = fileURLToPath(new URL(name, import.meta.url));
    if (existsSync(file)) hash.update(await readFile(file));
  }
  const path = join(dataDir, `workflows-${hash.digest('hex').slice(0, 16)}.js`);
  // In a process of its own: what the bundler leaves behind would more than double a worker's memory for as long as it runs.
  if (!existsSync(path)) await promisify(execFile)(process.execPath, [own, path]);
  return path;
}

async function build(path: string): Promise<void> {
  const { bundleWorkflowCode } = await import('@temporalio/worker');
  const { code } = await bundleWorkflowCode({ workflowsPath: join(folder, 'index.ts') });
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, code);
  await rename(draft, path);
}

if (process.argv[1] === own && process.argv[2] !== undefined) await build(process.argv[2]);
