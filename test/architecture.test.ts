import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../src/', import.meta.url));

type Import = { readonly from: string; readonly to: string; readonly typeOnly: boolean };

async function sources(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true });
  return entries.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts')).sort();
}

/** All imports and re-exports of a file; `import type` and lists of only `type` names count as types. */
async function importsOf(file: string): Promise<Import[]> {
  const text = await readFile(join(root, file), 'utf8');
  const found: Import[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s+)?([^;'"]*?\bfrom\s+)?['"]([^'"]+)['"]/gms)) {
    const names =
      /\{([^}]*)\}/
        .exec(match[2] ?? '')?.[1]
        ?.split(',')
        .map((name) => name.trim())
        .filter(Boolean) ?? [];
    const typeOnly = match[1] !== undefined || (names.length > 0 && names.every((name) => name.startsWith('type ')));
    found.push({ from: file, to: target(file, match[3] ?? ''), typeOnly });
  }
  for (const match of text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)) {
    found.push({ from: file, to: target(file, match[1] ?? ''), typeOnly: false });
  }
  return found;
}

function target(file: string, specifier: string): string {
  return specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier;
}

const files = await sources(root);
const imports = (await Promise.all(files.map(importsOf))).flat();
const within = (path: string, folder: string): boolean => path.startsWith(`${folder}/`);
const ours = (path: string): boolean => files.includes(path);
const show = (bad: readonly Import[]): string[] => bad.map((one) => `${one.from} imports ${one.to}`);
const from = (folder: string) => imports.filter((one) => within(one.from, folder));

describe('who may import whom (DESIGN.md §7)', () => {
  it('finds the sources', () => expect(imports.length).toBeGreaterThan(50));

  it('drivers import nothing of ours outside drivers', () => {
    expect(show(from('drivers').filter((one) => ours(one.to) && !within(one.to, 'drivers')))).toEqual([]);
  });

  it('one database folder never imports another; only the registry reaches into them', () => {
    const databaseOf = (path: string): string | undefined => /^drivers\/([^/]+)\//.exec(path)?.[1];
    const bad = imports.filter((one) => {
      const to = databaseOf(one.to);
      return to !== undefined && databaseOf(one.from) !== to && one.from !== 'drivers/registry.ts';
    });
    expect(show(bad)).toEqual([]);
  });

  it('drivers know nothing of Temporal, Hono or the environment', async () => {
    expect(show(from('drivers').filter((one) => /^(@temporalio|hono|@hono)/.test(one.to)))).toEqual([]);
  });

  it('workflows import only types from drivers and activities, and no Node module', () => {
    const bad = from('workflows').filter(
      (one) =>
        !one.typeOnly &&
        ((ours(one.to) && !within(one.to, 'workflows') && one.to !== 'codes.ts') ||
          (!ours(one.to) && one.to !== '@temporalio/workflow')),
    );
    expect(show(bad)).toEqual([]);
  });

  it('activities import no workflow code but its messages', () => {
    const allowed = ['workflows/messages.ts', 'workflows/children.ts', 'workflows/progress.ts'];
    expect(show(from('activities').filter((one) => within(one.to, 'workflows') && !allowed.includes(one.to)))).toEqual(
      [],
    );
  });

  it('the API never imports drivers or activities, and of workflows only messages and how they are read', () => {
    const allowed = ['workflows/messages.ts', 'workflows/sight.ts'];
    const bad = from('api').filter(
      (one) =>
        (!one.typeOnly && (within(one.to, 'drivers') || within(one.to, 'activities'))) ||
        (!one.typeOnly && within(one.to, 'workflows') && !allowed.includes(one.to)),
    );
    expect(show(bad)).toEqual([]);
  });

  it('messages and codes import nothing of ours at run time but plain data', () => {
    const pure = ['workflows/messages.ts', 'codes.ts', 'options.ts'];
    const bad = imports.filter((one) => pure.includes(one.from) && !one.typeOnly && !pure.includes(one.to));
    expect(show(bad)).toEqual([]);
  });

  it('only config.ts and what finds programs (of Temporal, of Java) read the environment', async () => {
    const readers = [];
    for (const file of files) if (/process\.env/.test(await readFile(join(root, file), 'utf8'))) readers.push(file);
    expect(
      readers.filter(
        (file) => !['config.ts', 'main.ts', 'serve.ts', 'temporal-binary.ts', 'drivers/jdbc/runtime.ts'].includes(file),
      ),
    ).toEqual([]);
  });

  it('files stay under 300 lines', async () => {
    const long = [];
    for (const file of files) {
      const lines = (await readFile(join(root, file), 'utf8')).split('\n').length - 1;
      if (lines > 300) long.push(`${relative('.', file)}: ${lines}`);
    }
    expect(long).toEqual([]);
  });
});
