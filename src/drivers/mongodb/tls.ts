import { isIP } from 'node:net';
import { connect } from 'node:tls';
import type { MongoOptions } from './options.ts';

const PROBE_MS = 3_000;

/**
 * Whether a server talks TLS. MongoDB has no way to ask: one that does not, closes the connection at the first byte of a handshake. The first server that
 * answers in either way decides; false when none does, since the client then says why.
 */
export async function offersTls({ hosts }: MongoOptions): Promise<boolean> {
  for (const host of hosts) {
    const answer = await probe(host);
    if (answer !== undefined) return answer;
  }
  return false;
}

function probe(address: string): Promise<boolean | undefined> {
  const cut = address.lastIndexOf(':');
  const host = address.slice(0, cut).replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    let reached = false;
    const socket = connect({
      host,
      port: Number(address.slice(cut + 1)),
      ...(isIP(host) === 0 && { servername: host }),
      // Only whether there is TLS is asked; nothing is sent over this connection.
      rejectUnauthorized: false,
      timeout: PROBE_MS,
    });
    const end = (answer: boolean | undefined) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => {
      reached = true;
    });
    socket.once('secureConnect', () => end(true));
    socket.once('timeout', () => end(reached ? false : undefined));
    socket.once('error', () => end(reached ? false : undefined));
    socket.once('close', () => end(reached ? false : undefined));
  });
}
