import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/** Where fetched server programs are kept: `FLOW_CACHE_DIR`, else `.cache` in the project. */
export function cacheDir(): string {
  return resolve(process.env['FLOW_CACHE_DIR'] ?? join(import.meta.dirname, '../../.cache'));
}

/**
 * The cache folder `name`, filled by `fill` on first use. It appears whole or not at all, also when two processes fetch
 * at the same time or one is killed, so its content must not depend on the folder's name while it is filled.
 */
export async function cachedFolder(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const target = join(cacheDir(), name);
  if (await exists(target)) return target;
  await mkdir(cacheDir(), { recursive: true });
  const draft = await mkdtemp(join(cacheDir(), `.${name}-`));
  try {
    await fill(draft);
    await rename(draft, target).catch(async (error: unknown) => {
      if (!(await exists(target))) throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return target;
}

/** Whether something has this path. */
export function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

export type Rung<T> = readonly [name: string, attempt: () => Promise<T | undefined>];

/** The first rung that yields something; rejects with what each of them said when none does. */
export async function climb<T>(what: string, rungs: readonly Rung<T>[]): Promise<T> {
  const reasons: string[] = [];
  for (const [name, attempt] of rungs) {
    try {
      const found = await attempt();
      if (found !== undefined) return found;
      reasons.push(`${name}: not there`);
    } catch (error) {
      reasons.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(`${what} cannot be had on this machine. Tried:\n- ${reasons.join('\n- ')}`);
}

/** A field of the distribution's self-description, such as `ID` or `VERSION_CODENAME`; empty when there is none. */
export async function distribution(field: string): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return new RegExp(`^${field}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
}
