import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { exists } from './cache.ts';
import { type MysqlFlavour, type MysqlPrograms, mysqlPrograms } from './mysql-programs.ts';
import {
  freePort,
  logTail,
  portAnswers,
  type RunningProgram,
  runCommand,
  startProgram,
  waitUntilReady,
} from './process.ts';
import { makeRunFolder, makeServer, type Server } from './server.ts';

export type MysqlSettings = Record<string, string | number | true>;

export type MysqlOptions = {
  flavour: MysqlFlavour;
  /** Server options by name, with hyphens; they replace the defaults. `true` stands for an option without value. */
  settings?: MysqlSettings;
  /** Kept when the server stops; without it the data lives in a folder that is deleted. */
  dataDir?: string;
};

const user = 'flow';
const password = 'flow-test-secret';

const everyServer: MysqlSettings = {
  'bind-address': '127.0.0.1',
  'skip-name-resolve': true,
  'secure-file-priv': '',
  'local-infile': 1,
  'max-connections': 400,
  'max-allowed-packet': '1G',
  'character-set-server': 'utf8mb4',
  'innodb-flush-log-at-trx-commit': 2,
  'innodb-buffer-pool-size': '256M',
};

const everySource: MysqlSettings = {
  'log-bin': 'binlog',
  'binlog-format': 'ROW',
  'sync-binlog': 0,
};

const fullRows: MysqlSettings = { 'binlog-row-image': 'FULL', 'binlog-row-metadata': 'FULL' };

const flavourSettings: Record<MysqlFlavour, MysqlSettings> = {
  mysql9: {
    ...fullRows,
    mysqlx: 'OFF',
    'gtid-mode': 'ON',
    'enforce-gtid-consistency': 'ON',
    'innodb-redo-log-capacity': '256M',
    'innodb-doublewrite': 0,
  },
  'mariadb10.11': { ...fullRows, 'innodb-log-file-size': '128M', 'innodb-doublewrite': 0 },
  'mariadb11.4': { ...fullRows, 'innodb-log-file-size': '128M', 'innodb-doublewrite': 0 },
  // 5.5 knows neither row images nor packets above 1 GiB - 1, and its server files must match the ready-made data.
  'mysql5.5': { 'innodb-file-per-table': 1, 'character-set-server': 'utf8' },
};

/**
 * For a MariaDB whose data need not outlive the machine's power: nothing waits for the disk. A killed server loses nothing, because the operating system
 * has it all. Makes DDL seven times as fast.
 */
export const carefreeMariadb: MysqlSettings = {
  'innodb-flush-method': 'nosync',
  'sync-frm': 0,
  'debug-no-sync': true,
};

/** Starts a private MySQL or MariaDB as a source: row binlog with full images and names, GTIDs where it has them. */
export function startMysql(options: MysqlOptions): Promise<Server> {
  const serverId = 1000 + Math.floor(Math.random() * 1_000_000);
  const settings = { ...everyServer, ...everySource, ...flavourSettings[options.flavour], 'server-id': serverId };
  return start(options.flavour, { ...settings, ...options.settings }, options.dataDir);
}

export type DestinationOptions = { bufferPool?: string; settings?: MysqlSettings; dataDir?: string };

/** Starts a private MariaDB as the destination: no binlog, LOAD DATA LOCAL allowed, tuned for bulk loads. */
export function startDestination(options: DestinationOptions = {}): Promise<Server> {
  const settings: MysqlSettings = {
    ...everyServer,
    'skip-log-bin': true,
    'innodb-buffer-pool-size': options.bufferPool ?? '256M',
    'innodb-log-file-size': '256M',
    'innodb-log-buffer-size': '32M',
    'innodb-doublewrite': 0,
    'character-set-server': 'utf8mb4',
  };
  return start('mariadb10.11', { ...settings, ...options.settings }, options.dataDir);
}

async function start(flavour: MysqlFlavour, settings: MysqlSettings, kept: string | undefined): Promise<Server> {
  const programs = await mysqlPrograms(flavour);
  const folder = await makeRunFolder(flavour.replace('.', ''));
  const dataDir = kept ?? join(folder, 'data');
  const log = join(folder, 'server.log');
  const port = await freePort();
  // Not the system's folder: a MariaDB that starts there deletes the temporary tables of all others.
  const temporary = join(folder, 'tmp');
  await mkdir(temporary);
  const args = [
    ...programs.args,
    `--user=${userInfo().username}`,
    `--datadir=${dataDir}`,
    `--tmpdir=${temporary}`,
    `--port=${port}`,
    `--socket=${join(folder, 's.sock')}`,
    `--pid-file=${join(folder, 'server.pid')}`,
    ...Object.entries(settings).map(([name, value]) => `--${name}${value === true ? '' : `=${value}`}`),
  ];
  const cleanUp = () => rm(folder, { recursive: true, force: true });
  const init = join(folder, 'init.sql');
  const launchIt = async () => {
    const fresh = !(await exists(join(dataDir, 'mysql')));
    if (fresh) {
      await writeFile(init, accounts(flavour));
      const initLog = join(folder, 'init.log');
      await initialise(flavour, programs, dataDir, temporary, initLog).catch((error: unknown) => {
        throw new Error(
          `${flavour} could not be set up: ${error instanceof Error ? error.message : error}\n${logTail(initLog)}`,
        );
      });
    }
    return launch(programs.server, fresh ? [...args, `--init-file=${init}`] : args, log, folder, port);
  };
  return makeServer({ host: '127.0.0.1', port, user, password, dataDir }, launchIt, cleanUp);
}

function accounts(flavour: MysqlFlavour): string {
  // Old servers know GRANT … IDENTIFIED BY only; the binlog of a source must not begin with accounts.
  const lines =
    flavour === 'mysql5.5'
      ? [`GRANT ALL ON *.* TO '${user}'@'%' IDENTIFIED BY '${password}' WITH GRANT OPTION;`]
      : [
          `CREATE USER IF NOT EXISTS '${user}'@'%' IDENTIFIED BY '${password}';`,
          `GRANT ALL ON *.* TO '${user}'@'%' WITH GRANT OPTION;`,
        ];
  const anonymous = flavour === 'mysql5.5' ? ["DELETE FROM mysql.user WHERE User = '';", 'FLUSH PRIVILEGES;'] : [];
  return ['SET sql_log_bin = 0;', ...anonymous, ...lines, ''].join('\n');
}

async function initialise(
  flavour: MysqlFlavour,
  programs: MysqlPrograms,
  dataDir: string,
  temporary: string,
  log: string,
): Promise<void> {
  if (flavour === 'mysql5.5') {
    await cp(programs.share, dataDir, { recursive: true });
    return;
  }
  const common = [`--user=${userInfo().username}`, `--datadir=${dataDir}`, `--tmpdir=${temporary}`];
  const args = [...programs.args, ...common];
  if (flavour === 'mysql9') {
    // Small redo files make this step and the copy of them on disk cheap; the server resizes them when it starts.
    await runCommand(programs.server, [
      ...args,
      '--initialize-insecure',
      '--innodb-redo-log-capacity=8M',
      `--log-error=${log}`,
    ]);
    return;
  }
  await mkdir(dataDir, { recursive: true });
  const bootstrap = [...args, '--bootstrap', '--innodb-log-file-size=128M', `--log-error=${log}`];
  const input = await bootstrapSql(programs.share);
  await runCommand(programs.server, [...bootstrap, '--max-allowed-packet=16M', '--net-buffer-length=16K'], { input });
}

/** What the vendor's set-up script feeds a new MariaDB; done here because that script wants an installed layout. */
async function bootstrapSql(share: string): Promise<string> {
  const prefix = (await exists(join(share, 'mariadb_system_tables.sql'))) ? 'mariadb' : 'mysql';
  const files = [
    `${prefix}_system_tables.sql`,
    `${prefix}_performance_tables.sql`,
    `${prefix}_system_tables_data.sql`,
    'maria_add_gis_sp_bootstrap.sql',
    `${prefix}_sys_schema.sql`,
  ];
  const texts = await Promise.all(files.map((file) => readFile(join(share, file), 'utf8')));
  return ['create database mysql;', 'use mysql;', 'set @auth_root_socket = null;', ...texts, ''].join('\n');
}

async function launch(
  server: string,
  args: readonly string[],
  log: string,
  folder: string,
  port: number,
): Promise<RunningProgram> {
  const program = startProgram(server, args, { log, cwd: folder, orphanFolder: folder });
  // The port opens only after the init file has run.
  await waitUntilReady(server, program, log, () => portAnswers(port), 120_000);
  return program;
}
