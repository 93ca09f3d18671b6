import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedFolder } from './cache.ts';
import { runCommand } from './process.ts';

/**
 * Python packages for tests, fetched on first use into the cache and installed nowhere: the folder for PYTHONPATH. Rejects where there is no
 * Python with pip, or no package index can be reached.
 */
export function pythonPackages(name: string, packages: readonly string[]): Promise<string> {
  return cachedFolder(name, async (draft) => {
    const folder = join(draft, 'lib');
    await mkdir(folder);
    const quiet = ['-q', '--disable-pip-version-check', '--root-user-action=ignore'];
    await runCommand('python3', ['-m', 'pip', 'install', ...quiet, '--target', folder, ...packages], { cwd: draft });
  }).then((folder) => join(folder, 'lib'));
}
