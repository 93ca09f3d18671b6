import { carefreeMariadb, startDestination, startMysql } from './mysql.ts';
import type { MysqlFlavour } from './mysql-programs.ts';
import { type PostgresMajor, startPostgres } from './postgres.ts';
import { type Server, type ServerInfo, serverInfo } from './server.ts';
import { startTemporal } from './temporal.ts';

export type TemporalInfo = ServerInfo & { address: string; uiAddress: string };

/** A further version of a source database, named as in `FLOW_MATRIX`: `postgres10`, `mysql5.5`, `mariadb11.4`. */
export type MatrixInfo = ServerInfo & { name: string; kind: 'postgres' | 'mysql' | 'mariadb' };

/** The connection data of everything that tests may use. */
export type TestServers = {
  postgres15: ServerInfo;
  postgres18: ServerInfo;
  mysql9: ServerInfo;
  mariadb: ServerInfo;
  destination: ServerInfo;
  temporal: TemporalInfo;
  matrix: MatrixInfo[];
};

/** Starts all servers side by side; when one cannot be had, those that came up are stopped again. */
export async function startTestServers(
  matrix: readonly string[],
): Promise<{ servers: TestServers; stop(): Promise<void> }> {
  const started: Server[] = [];
  const keep = async <T extends Server>(server: Promise<T>): Promise<T> => {
    const running = await server;
    started.push(running);
    return running;
  };
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
  };
  const all = await Promise.allSettled([
    keep(startPostgres({ major: 15 })),
    keep(startPostgres({ major: 18 })),
    keep(startMysql({ flavour: 'mysql9' })),
    keep(startMysql({ flavour: 'mariadb10.11', settings: carefreeMariadb })),
    keep(startDestination({ settings: carefreeMariadb })),
    keep(startTemporal()),
    Promise.all(matrix.map(async (name) => matrixInfo(name, await keep(startNamed(name))))),
  ]);
  const problems = all.filter((result) => result.status === 'rejected').map((result) => String(result.reason));
  if (problems.length > 0) {
    await stop();
    throw new Error(problems.join('\n'));
  }
  const [postgres15, postgres18, mysql9, mariadb, destination, temporal, others] = all.map(
    (result) => (result as PromiseFulfilledResult<unknown>).value,
  ) as [Server, Server, Server, Server, Server, Awaited<ReturnType<typeof startTemporal>>, MatrixInfo[]];
  const servers: TestServers = {
    postgres15: serverInfo(postgres15),
    postgres18: serverInfo(postgres18),
    mysql9: serverInfo(mysql9),
    mariadb: serverInfo(mariadb),
    destination: serverInfo(destination),
    temporal: { ...serverInfo(temporal), address: temporal.address, uiAddress: temporal.uiAddress },
    matrix: others,
  };
  return { servers, stop };
}

/** Every further version that `npm run test:matrix` covers. */
export const matrixNames: readonly string[] = [
  ...[10, 11, 12, 13, 14, 16, 17].map((major) => `postgres${major}`),
  'mysql5.5',
  'mariadb11.4',
];

/** Starts one version by its name in `matrixNames`. */
export function startNamed(name: string): Promise<Server> {
  if (!matrixNames.includes(name)) throw new Error(`FLOW_MATRIX: ${name} is none of ${matrixNames.join(', ')}`);
  if (name.startsWith('postgres')) return startPostgres({ major: Number(name.slice(8)) as PostgresMajor });
  return startMysql({ flavour: name as MysqlFlavour });
}

function matrixInfo(name: string, server: Server): MatrixInfo {
  const kind = (['postgres', 'mariadb', 'mysql'] as const).find((prefix) => name.startsWith(prefix)) ?? 'mysql';
  return { ...serverInfo(server), name, kind };
}
