import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { distribution, exists } from './cache.ts';
import { runCommand } from './process.ts';

/**
 * Fetches packages with all they depend on and unpacks them in `folder`/root. Nothing is installed and no service is
 * started, so it works as an ordinary user too. Asks for `suite` on Debian, else for the distribution's own release.
 */
export async function unpackPackages(folder: string, suite: string, packages: readonly string[]): Promise<void> {
  const apt = join(folder, '.apt');
  const debs = join(folder, 'debs');
  const root = join(folder, 'root');
  for (const path of [join(apt, 'lists/partial'), join(apt, 'archives/partial'), debs, root])
    await mkdir(path, { recursive: true });
  await writeFile(join(apt, 'status'), '');
  await writeFile(join(apt, 'sources.list'), await sourceLine(suite));
  const options = aptOptions(apt);
  const env = { ...process.env, LC_ALL: 'C' };
  await runCommand('apt-get', [...options, '-qq', 'update'], { env });
  // The empty status file makes the simulation list the whole closure, down to the C library.
  const plan = await runCommand('apt-get', [...options, '-s', 'install', ...packages], { env });
  const wanted = [...plan.stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '');
  const needed = wanted.filter((name) => !name.startsWith('perl'));
  if (needed.length === 0) throw new Error(`nothing to fetch for ${packages.join(' ')} in ${suite}`);
  await runCommand('apt-get', [...options, '-qq', 'download', ...needed], { cwd: debs, env });
  for (const file of await readdir(debs)) await runCommand('dpkg-deb', ['-x', join(debs, file), root]);
  await rm(debs, { recursive: true });
  await rm(apt, { recursive: true });
}

async function sourceLine(suite: string): Promise<string> {
  let site = await mirror();
  if (site === undefined && process.getuid?.() === 0) {
    // A machine that has never updated its package lists does not tell its mirror.
    await runCommand('apt-get', ['-qq', 'update']);
    site = await mirror();
  }
  if (site === undefined) throw new Error("apt knows no mirror; run 'apt-get update' once as root");
  const id = await distribution('ID');
  const keyring = `/usr/share/keyrings/${id}-archive-keyring.gpg`;
  const release = id === 'debian' ? suite : await distribution('VERSION_CODENAME');
  const components = id === 'debian' ? 'main' : 'main universe';
  return `deb ${(await exists(keyring)) ? `[signed-by=${keyring}] ` : ''}${site} ${release} ${components}\n`;
}

async function mirror(): Promise<string | undefined> {
  const targets = await runCommand('apt-get', ['indextargets', '--format', '$(SITE)', 'Created-By: Packages']);
  return targets.stdout.split('\n').find((line) => line !== '' && !line.includes('security'));
}

function aptOptions(apt: string): string[] {
  const settings = [
    `Dir::Etc::sourcelist=${apt}/sources.list`,
    'Dir::Etc::sourceparts=/dev/null',
    'Dir::Etc::preferences=/dev/null',
    'Dir::Etc::preferencesparts=/dev/null',
    `Dir::State::lists=${apt}/lists`,
    `Dir::State::status=${apt}/status`,
    `Dir::Cache::archives=${apt}/archives`,
    'Dir::Cache::pkgcache=',
    'Dir::Cache::srcpkgcache=',
    'Acquire::Languages=none',
    'APT::Install-Recommends=0',
    'APT::Sandbox::User=root',
    'Acquire::Retries=3',
    'Debug::NoLocking=1',
  ];
  return settings.flatMap((setting) => ['-o', setting]);
}

/**
 * Writes `folder`/`name`, a script that runs an unpacked program with the loader and libraries it was packed with, so
 * that it does not matter which C library this machine has.
 */
export async function wrapProgram(folder: string, name: string, program: string): Promise<void> {
  const root = join(folder, 'root');
  const loader = await findFirst(root, /\/ld-linux[^/]*\.so\.\d+$/);
  const libraries = new Set<string>();
  for (const top of ['usr/lib', 'lib']) {
    const entries = await readdir(join(root, top)).catch(() => []);
    for (const entry of entries) if (entry.includes('-linux-gnu')) libraries.add(join(root, top, entry));
  }
  libraries.add(join(root, 'usr/lib/mysql/private'));
  const inFolder = (path: string) => `$D/${relative(folder, path)}`;
  const text = `#!/bin/sh
D=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
exec "${inFolder(loader)}" --inhibit-cache --library-path "${[...libraries].map(inFolder).join(':')}" \\
  "${inFolder(join(root, program))}" "$@"
`;
  await writeFile(join(folder, name), text);
  await chmod(join(folder, name), 0o755);
}

/** The first file below `folder` whose path matches. */
export async function findFirst(folder: string, pattern: RegExp): Promise<string> {
  for (const entry of await readdir(folder, { recursive: true })) {
    const path = join(folder, entry);
    if (pattern.test(path)) return path;
  }
  throw new Error(`no file like ${pattern} was unpacked`);
}
