import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { type Config, ConfigError, readSecretKey } from '../config.ts';
import type { Log } from '../log.ts';
import { createApp } from './app.ts';
import { keyFileAuth } from './auth.ts';
import { temporalPipelines } from './temporal.ts';
import { connectTemporal } from './temporal-link.ts';

export type ApiServer = { readonly url: string; close(): Promise<void> };

/** How long answers under way (event streams never end by themselves) may take after a stop. */
const closeMs = 2_000;

/** Starts the API process's server. Rejects with `ConfigError` when the address can't be had. */
export async function startApi(config: Config, log: Log): Promise<ApiServer> {
  const key = readSecretKey(config.secretKeyFile);
  const link = connectTemporal(config);
  const authorize = config.apiKeysFile === undefined ? {} : { authorize: keyFileAuth(config.apiKeysFile, log) };
  const app = createApp(temporalPipelines(link, config.timeZone), { key, log, ...authorize });
  const listener = getRequestListener(app.fetch);
  const server = config.tls
    ? createHttpsServer({ cert: readFileSync(config.tls.certFile), key: readFileSync(config.tls.keyFile) }, listener)
    : createHttpServer(listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be used (${error.code})`;
      reject(new ConfigError([`PORT: ${config.host}:${config.port} ${why}`]));
    });
    server.listen(config.port, config.host, resolve);
  });
  const url = `${config.tls ? 'https' : 'http'}://${hostOf(config.host)}:${(server.address() as AddressInfo).port}`;
  return {
    url,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), closeMs);
      await closed;
      clearTimeout(timer);
      await link.close();
    },
  };
}

/** An address under which this machine reaches the server. */
function hostOf(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}
