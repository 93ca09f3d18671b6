import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { isPermanent } from '../../src/drivers/errors.ts';
import { open as openMysql } from '../../src/drivers/mysql/source.ts';
import { open as openDestination } from '../../src/drivers/singlestore/destination.ts';

/** A server that dies when the client asks for TLS: what it says of itself before comes from a real one. */
let dying: Server;
beforeEach(async () => {
  const real = inject('mysql9');
  dying = createServer((client) => {
    const server = connect(real.port, real.host);
    server.on('data', (bytes) => client.write(bytes));
    server.on('error', () => {});
    client.on('error', () => {});
    client.once('data', () => {
      server.destroy();
      client.resetAndDestroy();
    });
  });
  await new Promise<void>((done) => dying.listen(0, '127.0.0.1', done));
});
afterEach(() => dying.close());

test.each([
  ['a source', openMysql, 'rds.mysql'],
  ['a destination', openDestination, 'rds.sstorem'],
] as const)('a connection to %s that is cut in the TLS handshake may be tried again', async (_what, open, type) => {
  const { user, password } = inject('mysql9');
  const { port } = dying.address() as AddressInfo;
  const params = { host: '127.0.0.1', port: String(port), uid: user, pwd: password, type, ssl_mode: 'require' };
  const error = await open(params, AbortSignal.timeout(30_000)).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(Error);
  expect([isPermanent(error), (error as Error).message]).toEqual([false, expect.any(String)]);
});
