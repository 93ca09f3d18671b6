import { type ChildProcess, spawn } from 'node:child_process';
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
const LARGEST_ANSWER = 512 * 1024 * 1024;
const ERROR_TAIL = 2_000;
/** What a JVM under ExitOnOutOfMemoryError exits with. */
const OUT_OF_MEMORY = 3;

/** Starts a JVM; nothing is connected yet. `clean` takes secrets out of what it printed. */
export function startJvm(java: string, args: readonly string[], heapMb: number, clean: (text: string) => string): Jvm {
  const child = spawn(java, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const gone = ending(child);
  let over = false;
  void gone.then(() => {
    over = true;
  });
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed = (printed + text).slice(-ERROR_TAIL);
  });
  // Its end is told by the exit, wherever the pipe breaks first.
  child.stdin.on('error', () => {});
  const frames = frameReader(child.stdout as Readable);

  const send = (operation: string, fields: readonly Field[]): void => {
    child.stdin.write(encodeRequest(operation, fields));
  };
  const head = async (): Promise<{ type: string; length: number }> => {
    const frame = await frames.head().catch(() => null);
    if (frame && frame.length >= 0 && frame.length <= LARGEST_ANSWER) return frame;
    throw endOf(await gone, clean(printed), heapMb);
  };
  const payload = async (length: number): Promise<Buffer> => {
    try {
      return await frames.take(length);
    } catch {
      throw endOf(await gone, clean(printed), heapMb);
    }
  };

  return {
    ended: () => over,

    async ask(operation, fields) {
      send(operation, fields);
      const { type, length } = await head();
      const answer = fieldsOf(await payload(length));
      if (type === 'E') throw raised(answer);
      return Array.from({ length: answer.number() }, answer.row);
    },

    async *read(fields) {
      send('R', fields);
      let rows = 0;
      for (;;) {
        const { type, length } = await head();
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
            throw endOf(await gone, clean(printed), heapMb);
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
      const insist = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
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

function endOf({ code, error }: End, printed: string, heapMb: number): Error {
  if (error?.code === 'ENOENT') return noJava();
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
  const last = printed.trim().split('\n').slice(-5).join(' ').slice(0, 500);
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
