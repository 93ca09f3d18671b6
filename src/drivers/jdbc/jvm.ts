import { type ChildProcess, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Batch, ChunkRead, Rule, RuleUse } from '../model.ts';
import { JvmError } from './failure.ts';
import { encodeRequest, type Field, fieldsOf, frameReader, type Texts } from './frames.ts';
import { noJava } from './runtime.ts';

/**
 * A JVM with one JDBC connection. Requests are answered one after the other. Errors of the driver throw `JvmError`; the JVM's own end
 * throws a class of `errors.ts` or a transient error.
 */
export type Jvm = {
  ask(operation: string, fields: readonly Field[]): Promise<Texts>;
  /** Rows as load text, as fast as they are taken; the generator must be run to its end, or the JVM stopped. */
  read(fields: readonly Field[]): AsyncGenerator<Batch, ChunkRead, undefined>;
  /** Cancels at the database what is under way and ends the JVM; resolves when it is gone. */
  stop(): Promise<void>;
  /** It can answer no more. */
  ended(): boolean;
};

/** A JVM cancels its statement and ends by itself in half of this. */
const PATIENCE_MS = 3_000;
const NONSENSE_MS = 500;
const LARGEST_ANSWER = 512 * 1024 * 1024;
/** More than what people are shown, so that a secret is whole, or behind it, when it is taken out. */
const PRINTED_KEPT = 20_000;
const PRINTED_SHOWN = 500;
/** What a JVM under ExitOnOutOfMemoryError exits with. */
const OUT_OF_MEMORY = 3;

/** What a JVM is started with. */
export type Start = {
  readonly java: string;
  readonly args: readonly string[];
  readonly heapMb: number;
  /** The JVM's own, removed when it is gone. */
  readonly temporary?: string;
  /** Takes secrets out of what it printed. */
  readonly clean: (text: string) => string;
};

/** Starts a JVM; nothing is connected yet. */
export function startJvm({ java, args, heapMb, temporary, clean }: Start): Jvm {
  const child = spawn(java, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let over = false;
  const gone = ending(child).then(async (end) => {
    over = true;
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true }).catch(() => {});
    return end;
  });
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed = (printed + text).slice(-PRINTED_KEPT);
  });
  // Its end is told by the exit, wherever the pipe breaks first.
  child.stdin.on('error', () => {});
  const frames = frameReader(child.stdout as Readable);
  const kill = (): void => void child.kill('SIGKILL');

  /** Why no answer came: by the JVM's end, which is brought about where it goes on without one. */
  const lost = async (patienceMs = PATIENCE_MS): Promise<Error> => {
    const insist = setTimeout(kill, patienceMs);
    const end = await gone;
    clearTimeout(insist);
    return endOf(end, java, clean(printed), heapMb);
  };
  const send = (operation: string, fields: readonly Field[]): void => {
    child.stdin.write(encodeRequest(operation, fields));
  };
  const head = async (wanted: string): Promise<{ type: string; length: number }> => {
    const frame = await frames.head().catch(() => null);
    if (frame && frame.length >= 0 && frame.length <= LARGEST_ANSWER && `${wanted}E`.includes(frame.type)) return frame;
    // Nonsense is never an end; what it prints about its death comes within a moment.
    throw await lost(frame ? NONSENSE_MS : PATIENCE_MS);
  };
  const payload = async (length: number): Promise<Buffer> => {
    try {
      return await frames.take(length);
    } catch {
      throw await lost();
    }
  };

  return {
    ended: () => over,

    async ask(operation, fields) {
      send(operation, fields);
      const { type, length } = await head('T');
      const answer = fieldsOf(await payload(length));
      if (type === 'E') throw raised(answer);
      return Array.from({ length: answer.number() }, answer.row);
    },

    async *read(fields) {
      send('R', fields);
      let rows = 0;
      for (;;) {
        const { type, length } = await head('DF');
        if (type !== 'D') {
          const answer = fieldsOf(await payload(length));
          if (type === 'E') throw raised(answer);
          const said = answer.long();
          if (said !== rows) throw new Error(`The JVM says that it read ${said} rows, but ${rows} have come.`);
          return { rows, rules: Array.from({ length: answer.number() }, () => ruleUse(answer.row())) };
        }
        const ending = (await payload(4)).readInt32BE();
        // As they come from the pipe: pieces need not end with a row, and the rows count where the last of them ends.
        for (let left = length - 4; left > 0; ) {
          const data = await frames.some(left).catch(async () => {
            throw await lost();
          });
          left -= data.length;
          yield { data, rows: left === 0 ? ending : 0 };
        }
        rows += ending;
      }
    },

    async stop() {
      child.stdin.end();
      // Nobody reads any more: what it still writes must not hold it up.
      child.stdout.destroy();
      const insist = setTimeout(kill, PATIENCE_MS);
      await gone;
      clearTimeout(insist);
    },
  };
}

type End = { readonly code: number | null; readonly error?: NodeJS.ErrnoException };

function ending(child: ChildProcess): Promise<End> {
  return new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => resolve({ code: null, error }));
    child.once('close', (code) => resolve({ code }));
  });
}

function endOf({ code, error }: End, java: string, printed: string, heapMb: number): Error {
  if (error?.code === 'ENOENT' || error?.code === 'EACCES') return noJava({ java, javac: '' });
  if (error) return new Error(`Java can not be started: ${error.code ?? error.message}`);
  if (code === OUT_OF_MEMORY || /OutOfMemoryError/.test(printed))
    return new UnsupportedValue(
      `The JVM of the JDBC driver needs more memory than ${heapMb} MB: raise jdbc_heap_mb.`,
      'Raise `jdbc_heap_mb`: a row must fit in it several times, and some drivers hold a whole result (see their manuals).',
    );
  if (/Could not reserve enough space|Invalid maximum heap size/.test(printed))
    return new Misconfigured(
      `The worker has no room for a JVM of ${heapMb} MB: lower jdbc_heap_mb.`,
      'Lower `jdbc_heap_mb`, or give the worker more memory.',
    );
  if (/UnsupportedClassVersionError.*FlowJdbc|FlowJdbc.*UnsupportedClassVersionError/s.test(printed))
    return new Misconfigured(
      'The worker’s Java is too old for the JDBC helper: it must be 8 or later.',
      'Install Java 8 or later on each worker, and let JAVA_HOME or the PATH lead to it.',
    );
  const last = printed.trim().split('\n').slice(-5).join(' ').slice(-PRINTED_SHOWN);
  return new Error(
    `The JVM of the JDBC driver ended before it had answered (exit code ${code ?? 'none'})${last === '' ? '' : `: ${last}`}`,
  );
}

function raised(answer: ReturnType<typeof fieldsOf>): JvmError {
  const [kind, className, state, code, text] = Array.from({ length: 5 }, () => answer.text() ?? '') as [
    string,
    string,
    string,
    string,
    string,
  ];
  return new JvmError({ kind, className, state, code, text });
}

function ruleUse([rule, column, count, ...examples]: readonly (string | null)[]): RuleUse {
  return {
    rule: rule as Rule,
    column: column ?? '',
    count: Number(count),
    examples: examples.map((example) => example ?? ''),
  };
}
