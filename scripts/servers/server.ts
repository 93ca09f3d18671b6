import { chownSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Identity, RunningProgram } from './process.ts';

/** What a client needs to connect; plain data that may be written to JSON. */
export type ServerInfo = {
  host: string;
  port: number;
  user: string;
  password: string;
  pid?: number | undefined;
  dataDir?: string | undefined;
};

/** A private server on the loopback address. After `kill9` or `stop`, `restart` brings it back on the same port and data. */
export type Server = ServerInfo & {
  pid: number;
  dataDir: string;
  /** Ends it and deletes its folder, unless the caller has named the folder. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
  restart(): Promise<void>;
};

/** Launches a server and returns the handle with which it is killed, restarted and stopped. */
export async function makeServer(
  info: ServerInfo & { dataDir: string },
  launch: () => Promise<RunningProgram>,
  cleanUp: () => Promise<void>,
): Promise<Server> {
  let program = await launch().catch(async (error: unknown) => {
    await cleanUp();
    throw error;
  });
  let restarting: Promise<void> | undefined;
  const again = async (): Promise<void> => {
    await program.stop();
    program = await launch();
  };
  return {
    ...info,
    get pid() {
      return program.pid;
    },
    async stop() {
      await restarting?.catch(() => {});
      await program.stop();
      await cleanUp();
    },
    async kill9() {
      await restarting?.catch(() => {});
      await program.kill9();
    },
    restart() {
      // Two programs on one data folder spoil it.
      restarting ??= again().finally(() => {
        restarting = undefined;
      });
      return restarting;
    },
  };
}

/** The plain connection data of a server, as tests receive it. */
export function serverInfo(server: Server): ServerInfo {
  const { host, port, user, password, pid, dataDir } = server;
  return { host, port, user, password, pid, dataDir };
}

const prefix = 'flow-ingest-';

/** Makes a folder that the server's user can reach; folders whose maker has died are swept first. */
export async function makeRunFolder(name: string, identity?: Identity): Promise<string> {
  await sweepRunFolders();
  const folder = await mkdtemp(join(tmpdir(), `${prefix}${name}-`));
  await writeFile(join(folder, '.owner'), String(process.pid));
  if (identity !== undefined) chownSync(folder, identity.uid, identity.gid);
  return folder;
}

let swept: Promise<void> | undefined;

function sweepRunFolders(): Promise<void> {
  swept ??= sweep().catch(() => {});
  return swept;
}

async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(prefix)) continue;
    const folder = join(tmpdir(), name);
    const owner = await readFile(join(folder, '.owner'), 'utf8').catch(() => undefined);
    if (owner === undefined || isAlive(Number(owner))) continue;
    await killUsers(folder);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Kills programs that name this folder in their command line: servers of a process that died with its guards. */
async function killUsers(folder: string): Promise<void> {
  for (const entry of await readdir('/proc').catch(() => [])) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const commandLine = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.includes(`${folder}/`) && isAlive(pid)) process.kill(pid, 'SIGKILL');
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
