import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startMysql } from '../scripts/servers/mysql.ts';
import type { Server } from '../scripts/servers/server.ts';
import { openMysql, openPostgres, sourceDatabase } from './orders.ts';
import type { PipeSource } from './pipe.ts';
import type { BenchServers } from './servers.ts';

/**
 * What the databases' own tools need for the same changes: `pg_recvlogical` into nothing for PostgreSQL, a replica of the same product for
 * MariaDB. Neither loads another product, and the first writes nothing at all.
 */
export type Floor = {
  readonly name: string;
  /** Seconds for what was written since the last call, or since the floor was opened. */
  run(): Promise<number>;
  close(): Promise<void>;
};

export function openFloor(servers: BenchServers, kind: PipeSource): Promise<Floor> {
  return kind === 'pg' ? openReceiver(servers) : openReplica(servers);
}

const slot = 'bench_floor';

async function openReceiver({ postgres, psql }: BenchServers): Promise<Floor> {
  const client = await openPostgres(postgres);
  await client.query(`create publication ${slot} for all tables`);
  await client.query('select pg_create_logical_replication_slot($1, $2)', [slot, 'pgoutput']);
  const { host, port, user, password } = postgres;
  return {
    name: 'pg_recvlogical to nothing',
    run: async () => {
      const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn');
      const started = performance.now();
      const args = [
        '-h',
        host,
        '-p',
        String(port),
        '-U',
        user,
        '-d',
        sourceDatabase,
        '--slot',
        slot,
        '--start',
        '-n',
        '-f',
        '/dev/null',
      ];
      const options = ['-o', 'proto_version=1', '-o', `publication_names=${slot}`, '--endpos', rows[0]?.lsn ?? '0/0'];
      await program(join(dirname(psql), 'pg_recvlogical'), [...args, ...options], { PGPASSWORD: password });
      return (performance.now() - started) / 1000;
    },
    close: async () => {
      await client.query('select pg_drop_replication_slot($1)', [slot]);
      await client.query(`drop publication ${slot}`);
      await client.end();
    },
  };
}

async function openReplica({ mariadb }: BenchServers): Promise<Floor> {
  const replica: Server = await startMysql({
    flavour: 'mariadb10.11',
    settings: {
      'server-id': 4711,
      'innodb-buffer-pool-size': '512M',
      'innodb-flush-log-at-trx-commit': 2,
      'log-bin': 'binlog',
    },
  });
  const source = await openMysql(mariadb);
  const client = await openMysql(replica);
  const { host, port, user, password } = mariadb;
  await client.query(
    `change master to master_host = '${host}', master_port = ${port}, master_user = '${user}', master_password = '${password}', master_use_gtid = slave_pos`,
  );
  const follow = async (): Promise<void> => {
    const [rows] = await source.query('select @@gtid_binlog_pos as pos');
    const { pos } = (rows as { pos: string }[])[0] as { pos: string };
    await client.query('start slave');
    for (;;) {
      const [answer] = await client.query(`select master_gtid_wait('${pos}', 1) as waited`);
      if ((answer as { waited: number }[])[0]?.waited === 0) break;
      const [status] = await client.query('show slave status');
      const { Last_Error: failed } = (status as { Last_Error: string }[])[0] ?? { Last_Error: '' };
      if (failed) throw new Error(`the replica stopped: ${failed}`);
    }
    await client.query('stop slave');
  };
  await follow();
  return {
    name: 'a MariaDB replica',
    run: async () => {
      await delay(500);
      const started = performance.now();
      await follow();
      return (performance.now() - started) / 1000;
    },
    close: async () => {
      await source.end();
      await client.end();
      await replica.stop();
    },
  };
}

function program(path: string, args: readonly string[], env: Record<string, string>): Promise<void> {
  const child = spawn(path, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...env } });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`${path} ended with ${code}`))));
  });
}
