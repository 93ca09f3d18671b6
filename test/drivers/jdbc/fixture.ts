import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type JdbcDriver, jdbcDrivers } from '../../../scripts/servers/jdbc.ts';
import { freePort, portAnswers } from '../../../scripts/servers/process.ts';
import { javaTools } from '../../../src/drivers/jdbc/runtime.ts';
import { open } from '../../../src/drivers/jdbc/source.ts';
import type { Params } from '../../../src/drivers/model.ts';
import type { Source } from '../../../src/drivers/source.ts';

// A test's JVM lives for seconds, most of which would go into optimising it.
process.env['JAVA_TOOL_OPTIONS'] = '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC';

/** Folders of driver jars; undefined, with a printed line, where Java or the jars can't be had. */
export const drivers = await jdbcDrivers().catch((error: Error) => {
  console.log(`SKIPPED: the tests of JDBC sources: ${error.message}`);
  return undefined;
});

/** How to reach a database by JDBC, as both the driver and the tests' own client take it. */
export type Place = {
  readonly jars: JdbcDriver;
  readonly drv: string;
  readonly url: string;
  readonly uid: string;
  readonly pwd: string;
};

export function jarsOf(driver: JdbcDriver): string {
  if (!drivers) throw new Error('there are no JDBC drivers');
  return drivers[driver];
}

export function paramsOf({ jars, ...place }: Place, more: Params = {}): Params {
  return { type: 'rds.jdbcfe', host: 'unused', port: '1', jdbc_drivers: jarsOf(jars), ...place, ...more };
}

export function openJdbc(place: Place, more: Params = {}): Promise<Source> {
  return open(paramsOf(place, more), new AbortController().signal);
}

/** The tests' own session by JDBC, which shares no code with the driver; one JVM for any number of databases, one open at a time. */
export type Client = {
  open(place: Pick<Place, 'drv' | 'url' | 'uid' | 'pwd'>): Promise<void>;
  sql(statement: string): Promise<(string | null)[][]>;
  close(): Promise<void>;
};

/** Starts a client that knows the drivers of `jars`. */
export async function startClient(jars: readonly JdbcDriver[]): Promise<Client> {
  const path = (await Promise.all(jars.map(classPath))).join(delimiter);
  const program = join(import.meta.dirname, 'SqlRunner.java');
  const args = ['-Duser.timezone=America/New_York', '-cp', path, program];
  const child = spawn(javaTools().java, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  const decode = (text: string): string => Buffer.from(text, 'base64').toString('utf8');
  async function ask(...words: string[]): Promise<(string | null)[][]> {
    const [order, ...fields] = words;
    child.stdin.write(`${[order, ...fields.map(encode)].join(' ')}\n`);
    const rows: (string | null)[][] = [];
    for (;;) {
      const next = await lines.next();
      if (next.done) throw new Error('the client has ended');
      const [word, ...cells] = next.value.split(' ');
      if (word === 'ok') return rows;
      if (word === 'error') throw new Error(`${decode(cells[0] ?? '')}: ${fields.join(' ').slice(0, 200)}`);
      rows.push(cells.map((cell) => (cell === '-' ? null : decode(cell.slice(1)))));
    }
  }
  return {
    open: async ({ drv, url, uid, pwd }) => void (await ask('open', drv, url, uid, pwd)),
    sql: (statement) => ask('sql', statement),
    async close() {
      child.stdin.end();
      await gone;
    },
  };
}

/** An H2 server with a database in memory that keeps names as they are written. */
export async function startH2(): Promise<{ place: Place; stop(): Promise<void> }> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'flow-h2-'));
  const child = spawn(
    javaTools().java,
    [
      '-cp',
      await classPath('h2'),
      'org.h2.tools.Server',
      '-tcp',
      '-tcpPort',
      String(port),
      '-ifNotExists',
      '-baseDir',
      folder,
    ],
    { stdio: 'ignore' },
  );
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  while (!(await portAnswers(port))) await new Promise((resolve) => setTimeout(resolve, 50));
  return {
    place: {
      jars: 'h2',
      drv: 'org.h2.Driver',
      url: `jdbc:h2:tcp://127.0.0.1:${port}/mem:flow;DATABASE_TO_UPPER=FALSE;DB_CLOSE_DELAY=-1`,
      uid: 'sa',
      pwd: 'h2-secret',
    },
    async stop() {
      child.kill('SIGKILL');
      await gone;
      await rm(folder, { recursive: true });
    },
  };
}

async function classPath(jars: JdbcDriver): Promise<string> {
  const folder = jarsOf(jars);
  return (await readdir(folder)).map((name) => join(folder, name)).join(delimiter);
}
