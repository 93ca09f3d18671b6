import { join } from 'node:path';
import { type JdbcDriver, jdbcDrivers } from '../scripts/servers/jdbc.ts';
import { runCommand } from '../scripts/servers/process.ts';
import { javaTools } from '../src/drivers/jdbc/runtime.ts';
import type { JdbcTask } from './jdbc-run.ts';
import type { Bench } from './load.ts';
import { makeMysqlOrders, makePostgresOrders, openMysql, openPostgres, orders, sourceDatabase } from './orders.ts';
import { figureOf, type Reading } from './reader-figure.ts';
import type { Figure } from './report.ts';
import { settle } from './sample.ts';

/** `bench_orders` read by the JDBC driver, beside the plain row API of the same jar in a JVM of its own, in turns. */
export async function measureJdbc({ servers, say }: Bench, rows: number, rounds: number): Promise<Figure[]> {
  const jars = await jdbcDrivers().catch((error: Error) => {
    say(`JDBC is left out: ${error.message}`);
    return undefined;
  });
  if (!jars) return [];
  const { postgres, mariadb } = servers;
  await makeMissing(servers, rows);
  const at = ({ host, port }: { host: string; port: number }): string => `${host}:${port}`;
  const sources: readonly [string, JdbcDriver, string, string, typeof postgres][] = [
    [
      'PostgreSQL',
      'postgres',
      'org.postgresql.Driver',
      `jdbc:postgresql://${at(postgres)}/${sourceDatabase}`,
      postgres,
    ],
    ['MariaDB', 'mariadb', 'org.mariadb.jdbc.Driver', `jdbc:mariadb://${at(mariadb)}/${sourceDatabase}`, mariadb],
  ];
  const figures: Figure[] = [];
  for (const [name, driver, drv, url, { user, password }] of sources) {
    const schema = driver === 'postgres' ? 'public' : sourceDatabase;
    const params = { type: 'rds.jdbcfe', drv, url, uid: user, pwd: password, jdbc_drivers: jars[driver] };
    const own: Reading[] = [];
    const plain: Reading[] = [];
    for (let round = 0; round < rounds; round++) {
      await settle();
      own.push(await ownRun({ params, schema, name: orders }));
      await settle();
      plain.push(await plainRun(join(jars[driver], '*'), [url, user, password, `select * from ${orders}`]));
    }
    figures.push(
      figureOf(`${name} by JDBC: load text from a JVM`, own, { runs: plain, least: 0.8 }),
      figureOf(`${name} by JDBC: plain row API`, plain),
    );
  }
  return figures;
}

/** The tables are there when the loads were measured before. */
async function makeMissing({ postgres, mariadb }: Bench['servers'], rows: number): Promise<void> {
  const pg = await openPostgres(postgres);
  const { rows: found } = await pg.query<{ name: string | null }>(`select to_regclass('${orders}')::text as name`);
  await pg.end();
  if (found[0]?.name == null) await makePostgresOrders(postgres, rows);
  const client = await openMysql(mariadb);
  const [tables] = await client.query(`show tables from ${sourceDatabase} like '${orders}'`);
  await client.end();
  if ((tables as unknown[]).length === 0) await makeMysqlOrders(mariadb, rows);
}

async function ownRun(task: JdbcTask): Promise<Reading> {
  const input = JSON.stringify(task);
  const { stdout } = await runCommand(process.execPath, [join(import.meta.dirname, 'jdbc-run.ts')], { input });
  return JSON.parse(stdout) as Reading;
}

async function plainRun(jars: string, args: readonly string[]): Promise<Reading> {
  const program = join(import.meta.dirname, 'PlainRows.java');
  const options = ['-Xmx512m', '-XX:+UseSerialGC', '-cp', jars, program, ...args];
  const [rows = 0, wall = 0, cpu = 0] = (await runCommand(javaTools().java, options)).stdout.split(' ').map(Number);
  return { rows, wall, cpu };
}
