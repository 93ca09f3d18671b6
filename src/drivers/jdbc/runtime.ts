import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';

import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Misconfigured } from '../errors.ts';
import type { JdbcOptions } from './options.ts';

const run = promisify(execFile);

/** The helper's Java sources, and the classes that the image's build has made of them. */
const SOURCES = join(import.meta.dirname, 'java');
const PREBUILT = join(import.meta.dirname, 'classes');
const MAIN = 'FlowJdbc';

/** Programs found on the PATH of the worker. */
export type Tools = { readonly java: string; readonly javac: string };
export const TOOLS: Tools = { java: 'java', javac: 'javac' };

/** Arguments for a JVM that serves one connection. Throws `Misconfigured` with what to install or copy. No secret is among them. */
export async function javaArguments(options: JdbcOptions, tools: Tools = TOOLS): Promise<string[]> {
  const jars = await jarsIn(options.folder);
  return [
    `-Xmx${options.heapMb}m`,
    '-XX:+UseSerialGC',
    // A JVM that goes on after this answers no one; its exit code says what happened.
    '-XX:+ExitOnOutOfMemoryError',
    '-XX:+DisplayVMOutputToStderr',
    // Snowflake's driver needs the second from Java 16 on, and Java 8 does not know it.
    '-XX:+IgnoreUnrecognizedVMOptions',
    '--add-opens=java.base/java.nio=ALL-UNNAMED',
    // Drivers reckon java.sql's types in the JVM's zone, whose clock must not jump.
    '-Duser.timezone=UTC',
    '-Dfile.encoding=UTF-8',
    '-Djava.awt.headless=true',
    '-cp',
    [await classes(tools), ...jars].join(delimiter),
    MAIN,
  ];
}

/** The jars of a folder, sorted. Throws `Misconfigured` when there are none. */
export async function jarsIn(folder: string): Promise<string[]> {
  const path = resolve(folder);
  const names = await readdir(path).catch(() => undefined);
  if (!names)
    throw new Misconfigured(
      `There is no folder ${folder} on the worker for the JDBC driver: make it and put the driver's jar files there, or name another one in jdbc_drivers.`,
      'Put the driver’s jar files into a folder on each worker and name it in `jdbc_drivers`.',
    );
  const jars = names.filter((name) => name.toLowerCase().endsWith('.jar')).sort();
  if (jars.length === 0)
    throw new Misconfigured(
      `The folder ${folder} on the worker holds no jar file: put the JDBC driver's jars there.`,
      'Put the driver’s jar files into the folder that `jdbc_drivers` names, on each worker.',
    );
  return jars.map((name) => join(path, name));
}

/** What to do when there is no `java`. */
export function noJava(): Misconfigured {
  const cure =
    'install a Java runtime, version 8 or what the driver needs (Debian: apt-get install default-jre-headless), with `java` on the PATH of the worker';
  return new Misconfigured(
    `There is no Java on the worker, which a JDBC source needs: ${cure}.`,
    `On each worker, ${cure}.`,
  );
}

let compiled: Promise<string> | undefined;

/** A folder with the helper's classes: those of the image, unless the sources are others, else compiled once for this process. */
async function classes(tools: Tools): Promise<string> {
  if (await isFresh(PREBUILT, SOURCES)) return PREBUILT;
  compiled ??= compile(tools, SOURCES);
  // A compiler that is installed meanwhile is found.
  compiled.catch(() => {
    compiled = undefined;
  });
  return compiled;
}

/** Whether `classes` was made by build.sh of just these sources. Times of files say nothing: an image's layers and a clone's files have times of their own. */
export async function isFresh(classes: string, sources: string): Promise<boolean> {
  const made = await readFile(join(classes, 'sources.sha256'), 'utf8').catch(() => undefined);
  if (made === undefined) return false;
  const digest = createHash('sha256');
  for (const file of await javaFiles(sources)) digest.update(await readFile(file));
  return made.trim() === digest.digest('hex');
}

async function javaFiles(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.java')).sort();
  return names.map((name) => join(folder, name));
}

/** Compiles the helper into a folder of its own, which goes when this process ends. A shared one could be filled by somebody else. */
export async function compile({ java, javac }: Tools, sources: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'flow-ingest-jdbc-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  try {
    await run(javac, ['--release', '8', '-nowarn', '-encoding', 'UTF-8', '-d', folder, ...(await javaFiles(sources))]);
    return folder;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw new Misconfigured(
        'The Java compiler on the worker (javac) can not compile the JDBC helper: it must be that of a JDK 9 or later.',
        'Install a JDK 9 or later on each worker, or use the container image, which holds the compiled helper.',
      );
    const hasJava = await run(java, ['-version']).then(
      () => true,
      (failed: NodeJS.ErrnoException) => failed.code !== 'ENOENT',
    );
    if (!hasJava) throw noJava();
    const cure =
      'install a JDK (Debian: apt-get install default-jdk-headless), or copy src/drivers/jdbc/classes from the container image, made by sh src/drivers/jdbc/java/build.sh';
    throw new Misconfigured(
      `There is a Java runtime on the worker, but no Java compiler (javac), and the JDBC helper is not compiled: ${cure}.`,
      `On each worker, ${cure}.`,
    );
  }
}
