import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Misconfigured } from '../errors.ts';
import type { JdbcOptions } from './options.ts';
import { scratch } from './scratch.ts';

const run = promisify(execFile);

/** The helper's Java sources, and the classes that the image's build has made of them. */
const SOURCES = join(import.meta.dirname, 'java');
const PREBUILT = join(import.meta.dirname, 'classes');
const MAIN = 'FlowJdbc';

/** Programs of Java. */
export type Tools = { readonly java: string; readonly javac: string };

/** Those of JAVA_HOME where it is set, else those on the PATH of the worker. */
export function javaTools(home = process.env['JAVA_HOME'] ?? ''): Tools {
  if (home.trim() === '') return { java: 'java', javac: 'javac' };
  return { java: join(home, 'bin', 'java'), javac: join(home, 'bin', 'javac') };
}

/** Arguments for a JVM that serves one connection and keeps its own files in `temporary`. Throws `Misconfigured` with what to install or copy. No secret is among them. */
export async function javaArguments(options: JdbcOptions, temporary: string, tools = javaTools()): Promise<string[]> {
  const jars = await jarsIn(options.folder);
  return [
    `-Xmx${options.heapMb}m`,
    '-XX:+UseSerialGC',
    // A JVM that goes on after this answers no one; its exit code says what happened.
    '-XX:+ExitOnOutOfMemoryError',
    '-XX:+DisplayVMOutputToStderr',
    // Libraries that drivers unpack, and what a JVM that crashes writes.
    `-Djava.io.tmpdir=${temporary}`,
    `-XX:ErrorFile=${join(temporary, 'crash.log')}`,
    '-XX:-UsePerfData',
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

/** What to do when there is no `java`, or JAVA_HOME leads to none. */
export function noJava({ java } = javaTools()): Misconfigured {
  const cure =
    'install a Java runtime, version 8 or what the driver needs (Debian: apt-get install default-jre-headless), with `java` on the PATH of the worker or in the `bin` of JAVA_HOME';
  const where = !isAbsolute(java) ? 'on the worker' : `at ${java}, where the worker's JAVA_HOME says`;
  return new Misconfigured(
    `There is no Java ${where}, which a JDBC source needs: ${cure}.`,
    `On each worker, ${cure}.`,
  );
}

/** For a JVM that lives for a second. */
const BRIEF = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'];

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

/**
 * Compiles the helper into this process's folder. A shared one could be filled by somebody else. Without a `javac`, by the compiler that
 * some runtimes hold (Debian's do; those made by jlink and most vendors' JREs don't).
 */
export async function compile({ java, javac }: Tools, sources: string): Promise<string> {
  const folder = join(await scratch(), 'classes');
  await mkdir(folder, { recursive: true });
  const task = ['-nowarn', '-encoding', 'UTF-8', '-d', folder, ...(await javaFiles(sources))];
  // For the Java 8 that may be beside a newer compiler, as long as compilers know it.
  const ways: readonly (readonly [string, ...string[]])[] = [
    [javac, ...BRIEF.map((option) => `-J${option}`), '--release', '8', ...task],
    [javac, ...task],
    [java, ...BRIEF, '-m', 'jdk.compiler/com.sun.tools.javac.Main', ...task],
  ];
  for (const [program, ...args] of ways)
    try {
      await run(program, args);
      return folder;
    } catch {
      // The next one may do.
    }
  if (!(await starts(java))) throw noJava({ java, javac });
  const cure =
    'install a JDK (Debian: apt-get install default-jdk-headless), or copy src/drivers/jdbc/classes from the container image, made by sh src/drivers/jdbc/java/build.sh';
  throw new Misconfigured(
    `There is a Java runtime on the worker, but no Java compiler (javac), and the JDBC helper is not compiled: ${cure}.`,
    `On each worker, ${cure}.`,
  );
}

/** Whether there is such a program. */
function starts(program: string): Promise<boolean> {
  return run(program, ['-version']).then(
    () => true,
    (failed: NodeJS.ErrnoException) => failed.code !== 'ENOENT' && failed.code !== 'EACCES',
  );
}
