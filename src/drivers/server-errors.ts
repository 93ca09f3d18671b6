import { AccessDenied, Misconfigured } from './errors.ts';

/** Makes the error for one number or code of a server, of the server's own text. */
export type Maker = (text: string) => Error;

export function denied(action: string): Maker {
  return (text) => new AccessDenied(text, action);
}

export function wrong(action: string): Maker {
  return (text) => new Misconfigured(text, action);
}

/** Transient; the hint is part of the message. */
export function passing(hint: string): Maker {
  return (text) => new Error(`${text} ${hint}`);
}

/** A certificate or the handshake was refused, by either side. */
export const tlsRefused: Maker = (text) =>
  new Misconfigured(
    `The TLS connection was refused: ${text}`,
    'Check ssl_ca and the host name, or choose another ssl_mode.',
  );
