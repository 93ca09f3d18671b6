import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fakeOracledb } from './client.ts';

/**
 * Fakes for other processes: `remote.ts`, put in oracledb's place there, asks this one over a socket, a JSON text a line. Sessions of a process
 * that dies are closed.
 */
export type FakeHost = { readonly port: number; close(): Promise<void> };

export type HostCall = {
  readonly id: number;
  readonly on: number;
  readonly call: 'connect' | 'execute' | 'rows' | 'break' | 'close';
  readonly args: readonly unknown[];
};

export async function startHost(): Promise<FakeHost> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    serve(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Connection = Awaited<ReturnType<typeof fakeOracledb.getConnection>>;
type Answer = Awaited<ReturnType<Connection['execute']>>;

function serve(socket: Socket): void {
  const connections = new Map<number, Connection>();
  const sets = new Map<number, NonNullable<Answer['resultSet']>>();
  let last = 0;

  async function work({ on, call, args }: HostCall): Promise<unknown> {
    if (call === 'connect') {
      const made = await fakeOracledb.getConnection(args[0] as never);
      connections.set(++last, made);
      return { on: last, version: made.oracleServerVersionString };
    }
    if (call === 'rows') return sets.get(on)?.getRows(args[0] as number);
    const connection = connections.get(on);
    if (call === 'execute') {
      const { rows, resultSet } = (await connection?.execute(...(args as [string, never, never]))) ?? {};
      if (!resultSet) return { rows };
      sets.set(++last, resultSet);
      return { set: last };
    }
    return call === 'break' ? connection?.break() : connection?.close();
  }

  socket.on('error', () => {});
  socket.once('close', () => {
    for (const connection of connections.values()) void connection.close();
  });
  const lines = createInterface({ input: socket });
  // It passes on the errors of its socket.
  lines.on('error', () => {});
  lines.on('line', async (line) => {
    const asked = JSON.parse(line) as HostCall;
    const answer = await work(asked).then(
      (value) => ({ id: asked.id, value }),
      (error: Error & { code?: string }) => ({ id: asked.id, error: error.message, code: error.code }),
    );
    if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
  });
}
