import { spawn } from 'node:child_process';
import type { ServerInfo } from '../scripts/servers/server.ts';
import { childrenOf, peakMb } from './meter.ts';
import { openMysql, orders, sourceDatabase } from './orders.ts';
import { readCpu, type Sample, usedBetween } from './sample.ts';
import type { BenchServers } from './servers.ts';

/** The raw pipe: command-line clients alone, one stream, into an empty table that is defined like the product's copy. */

export const pipeDatabase = 'bench_pipe';

/** The SELECT or COPY of a source, and what the loading client must be told about its output. */
const reads = {
  pg: `"$PSQL" -X -q -d ${sourceDatabase} -c 'copy ${orders} to stdout'`,
  // This client prints NULL as a word, which LOAD DATA takes as NULL only where fields may be enclosed; no text here is that word.
  mysql: `"$CLIENT" --no-defaults -h "$SRC_HOST" -P "$SRC_PORT" -u "$SRC_USER" -p"$SRC_PWD" --default-character-set=utf8mb4 -N --batch --quick ${sourceDatabase} -e 'select * from ${orders}'`,
} as const;
const fields = { pg: '', mysql: ` fields optionally enclosed by x'01'` } as const;

export type PipeSource = keyof typeof reads;

/** Makes the table that the pipe fills, like the one that the product made. */
export async function emptyPipeTable(destination: ServerInfo, like: string): Promise<void> {
  const client = await openMysql(destination);
  await client.query(`create database if not exists ${pipeDatabase}`);
  await client.query(`drop table if exists ${pipeDatabase}.${orders}`);
  await client.query(`create table ${pipeDatabase}.${orders} like ${like}`);
  await client.end();
}

/** Runs the pipe once. The shell's `times` says what its clients used. */
export async function runPipe(servers: BenchServers, kind: PipeSource, rows: number): Promise<Sample> {
  const source = kind === 'pg' ? servers.postgres : servers.mariadb;
  const { destination } = servers;
  const load = `load data local infile '/dev/stdin' into table ${orders} character set utf8mb4${fields[kind]}`;
  const script = `set -o pipefail
    ${reads[kind]} | "$CLIENT" --no-defaults -h "$DST_HOST" -P "$DST_PORT" -u "$DST_USER" -p"$DST_PWD" --local-infile=1 ${pipeDatabase} -e "set unique_checks = 0; ${load}"
    status=$?; times; exit $status`;
  const env = {
    ...process.env,
    PSQL: servers.psql,
    CLIENT: servers.client,
    PGHOST: source.host,
    PGPORT: String(source.port),
    PGUSER: source.user,
    PGPASSWORD: source.password,
    ...addressOf('SRC', source),
    ...addressOf('DST', destination),
  };
  const pids = {
    tool: undefined,
    api: undefined,
    temporal: undefined,
    source: source.pid,
    destination: destination.pid,
  };
  const before = readCpu(pids);
  const started = performance.now();
  const { text, peak } = await shell(script, env);
  const wall = (performance.now() - started) / 1000;
  const used = usedBetween(before, readCpu(pids));
  return { ...used, wall, rows, tool: childSeconds(text), peak };
}

async function shell(script: string, env: NodeJS.ProcessEnv): Promise<{ text: string; peak: number }> {
  const child = spawn('bash', ['-c', script], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    errors += part;
  });
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, childrenPeak(child.pid ?? 0));
  }, 200);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearInterval(timer);
  if (code !== 0) throw new Error(`the pipe ended with ${code}: ${errors}`);
  return { text, peak };
}

/** Peak memory of a shell's children together. */
function childrenPeak(shell: number): number {
  try {
    return childrenOf(shell).reduce((sum, pid) => sum + peakMb(pid), 0);
  } catch {
    // One of them has just ended.
    return 0;
  }
}

/** `times` prints user and system time of the shell, and on a second line of its children: `0m0.12s 0m0.03s`. */
function childSeconds(text: string): number {
  const line = text.trim().split('\n').at(-1) ?? '';
  return [...line.matchAll(/(\d+)m([\d.]+)s/g)].reduce((sum, [, m, s]) => sum + Number(m) * 60 + Number(s), 0);
}

function addressOf(prefix: string, { host, port, user, password }: ServerInfo): Record<string, string> {
  return {
    [`${prefix}_HOST`]: host,
    [`${prefix}_PORT`]: String(port),
    [`${prefix}_USER`]: user,
    [`${prefix}_PWD`]: password,
  };
}
