import { readlinkSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * This process's folder for what JDBC needs on disk: compiled classes, and a temporary folder for each JVM (SQLite's driver unpacks a library
 * of a megabyte). It goes with the process; what a killed one has left goes when the next one begins. Nobody else can write into it.
 */
let made: Promise<string> | undefined;

/** The process's folder, made when it is first asked for. */
export function scratch(): Promise<string> {
  made ??= make();
  made.catch(() => {
    made = undefined;
  });
  return made;
}

/** An empty folder in it for one JVM; whoever started the JVM removes it. */
export async function jvmFolder(): Promise<string> {
  return mkdtemp(join(await scratch(), 'jvm-'));
}

const PREFIX = 'flow-ingest-jdbc-';

async function make(): Promise<string> {
  await sweep();
  const folder = await mkdtemp(join(tmpdir(), `${PREFIX}${namespace()}-${process.pid}-`));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Removes folders whose processes are gone. Those of other users stay, and those of containers that share the folder but not the numbers of processes. */
async function sweep(): Promise<void> {
  const own = new RegExp(`^${PREFIX}${namespace()}-(\\d+)-`);
  for (const name of await readdir(tmpdir()).catch(() => [])) {
    const pid = Number(own.exec(name)?.[1] ?? '0');
    if (pid === 0 || isAlive(pid)) continue;
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => {});
  }
}

/** What the numbers of processes are counted in (Linux); elsewhere there is one for all. */
function namespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0';
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
