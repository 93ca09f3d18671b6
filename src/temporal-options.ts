import { readFileSync } from 'node:fs';
import type { Config } from './config.ts';

/** How client and worker reach Temporal. TLS files are read here, once, so that a missing one stops the start. */
export function temporalOptions(config: Config) {
  const { address, apiKey, tls } = config.temporal;
  const certFile = tls?.clientCertFile;
  const keyFile = tls?.clientKeyFile;
  return {
    address: address ?? `127.0.0.1:${config.temporal.port}`,
    ...(apiKey ? { apiKey } : {}),
    ...(tls
      ? {
          tls: {
            ...(tls.serverCaFile ? { serverRootCACertificate: readFileSync(tls.serverCaFile) } : {}),
            ...(tls.serverName ? { serverNameOverride: tls.serverName } : {}),
            ...(certFile && keyFile
              ? { clientCertPair: { crt: readFileSync(certFile), key: readFileSync(keyFile) } }
              : {}),
          },
        }
      : {}),
  };
}
