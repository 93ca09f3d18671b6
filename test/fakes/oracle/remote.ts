import { registerHooks } from 'node:module';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { HostCall } from './host.ts';

/**
 * In a process that is started with `--import` of this file, `oracledb` is this module: its fakes live in the process that started it
 * (`host.ts`, port in FAKE_ORACLE_PORT).
 */
registerHooks({
  resolve: (name, context, next) =>
    name === 'oracledb' ? { url: import.meta.url, shortCircuit: true } : next(name, context),
});

let socket: Socket | undefined;
let calls = 0;
const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();

function ask(on: number, call: HostCall['call'], ...args: unknown[]): Promise<unknown> {
  if (!socket) {
    socket = connect(Number(process.env['FAKE_ORACLE_PORT']), '127.0.0.1');
    socket.on('error', () => {});
    createInterface({ input: socket }).on('line', (line) => {
      const { id, value, error, code } = JSON.parse(line, bytes) as {
        id: number;
        value: unknown;
        error?: string;
        code?: string;
      };
      const one = waiting.get(id);
      waiting.delete(id);
      if (error === undefined) one?.resolve(value);
      else one?.reject(Object.assign(new Error(error), { code }));
    });
  }
  const id = ++calls;
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  waiting.set(id, { resolve, reject });
  socket.write(`${JSON.stringify({ id, on, call, args } satisfies HostCall)}\n`);
  return promise;
}

function bytes(_: string, value: unknown): unknown {
  const buffer = value as { type?: string; data?: number[] } | null;
  return buffer?.type === 'Buffer' && buffer.data ? Buffer.from(buffer.data) : value;
}

export default {
  OUT_FORMAT_ARRAY: 4001,
  STRING: {},
  BUFFER: {},
  DB_TYPE_NUMBER: {},
  DB_TYPE_CLOB: {},
  DB_TYPE_NCLOB: {},
  DB_TYPE_BLOB: {},
  async getConnection(options: unknown) {
    const { on, version } = (await ask(0, 'connect', options)) as { on: number; version: string };
    return {
      oracleServerVersionString: version,
      async execute(sql: string, binds: unknown, options: { resultSet?: boolean }) {
        const { rows, set } = (await ask(on, 'execute', sql, binds, { resultSet: options.resultSet ?? false })) as {
          rows?: unknown[][];
          set?: number;
        };
        if (set === undefined) return { rows };
        return { resultSet: { getRows: (count: number) => ask(set, 'rows', count), close: async () => {} } };
      },
      break: () => ask(on, 'break'),
      close: () => ask(on, 'close'),
    };
  },
};
