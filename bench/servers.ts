import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedFolder, climb, exists } from '../scripts/servers/cache.ts';
import { unpackPackages, wrapProgram } from '../scripts/servers/debian.ts';
import { startDestination, startMysql } from '../scripts/servers/mysql.ts';
import { mysqlPrograms } from '../scripts/servers/mysql-programs.ts';
import { startPostgres } from '../scripts/servers/postgres.ts';
import type { Server } from '../scripts/servers/server.ts';
import { startTemporal, type TemporalServer } from '../scripts/servers/temporal.ts';
import { openMysql, openPostgres, sourceDatabase } from './orders.ts';

export type BenchServers = {
  readonly postgres: Server;
  readonly mariadb: Server;
  readonly destination: Server;
  readonly temporal: TemporalServer;
  /** Command-line clients for the raw pipes. */
  readonly psql: string;
  readonly client: string;
  stop(): Promise<void>;
};

/** Settings as docs/benchmarks.md states them; what is not here is as in `scripts/servers`. */
export const serverSettings = {
  postgres: { shared_buffers: '1GB', synchronous_commit: 'off', wal_level: 'logical' },
  mariadb: { 'innodb-buffer-pool-size': '1G', 'innodb-log-file-size': '512M', 'binlog-format': 'ROW' },
  destination: {
    'innodb-buffer-pool-size': '2G',
    'innodb-log-file-size': '1G',
    'innodb-flush-log-at-trx-commit': 2,
    'innodb-doublewrite': 0,
  },
} as const;

/** Private servers with an empty database at each source. */
export async function startServers(): Promise<BenchServers> {
  const started: (Server | TemporalServer)[] = [];
  const keep = async <T extends Server>(server: Promise<T>): Promise<T> => {
    const running = await server;
    started.push(running);
    return running;
  };
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
  };
  try {
    const { client } = await mysqlPrograms('mariadb10.11');
    if (client === undefined) throw new Error('no MariaDB client came with the server');
    const postgres = await keep(startPostgres({ major: 15, settings: serverSettings.postgres }));
    const mariadb = await keep(startMysql({ flavour: 'mariadb10.11', settings: serverSettings.mariadb }));
    const destination = await keep(startDestination({ settings: serverSettings.destination }));
    const temporal = await keep(startTemporal());
    const psql = await findPsql();
    const admin = await openPostgres(postgres, 'postgres');
    await admin.query(`create database ${sourceDatabase}`);
    await admin.end();
    const other = await openMysql(mariadb);
    await other.query(`create database ${sourceDatabase} character set utf8mb4`);
    await other.end();
    return { postgres, mariadb, destination, temporal, psql, client, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function findPsql(): Promise<string> {
  return climb('psql', [
    ['PostgreSQL on the machine', installedPsql],
    ['packages of the distribution', unpackPsql],
  ]);
}

async function installedPsql(): Promise<string | undefined> {
  const base = '/usr/lib/postgresql';
  const versions = (await readdir(base).catch(() => [])).sort((a, b) => Number(b) - Number(a));
  const places = [...versions.map((version) => join(base, version, 'bin')), ...(process.env['PATH'] ?? '').split(':')];
  for (const place of places) if (place !== '' && (await exists(join(place, 'psql')))) return join(place, 'psql');
  return undefined;
}

async function unpackPsql(): Promise<string> {
  const folder = await cachedFolder('psql-15', async (draft) => {
    await unpackPackages(draft, 'bookworm', ['postgresql-client-15']);
    await wrapProgram(draft, 'psql', 'usr/lib/postgresql/15/bin/psql');
  });
  return join(folder, 'psql');
}
