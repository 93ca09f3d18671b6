import { readFileSync } from 'node:fs';
import type { ConnectionOptions, SslOptions } from 'mysql2';
import { Misconfigured } from '../errors.ts';
import type { Params } from '../model.ts';

/** How much a connection insists on TLS. `prefer`: encrypted when the server offers it, like the MySQL clients' default. */
export type TlsMode = 'disable' | 'prefer' | 'require' | 'verify_ca' | 'verify_full';

/** The documented parameters of a destination connection, checked. */
export type Address = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string | undefined;
  readonly tls: TlsMode;
  readonly ca: string | undefined;
};

const MODES: Readonly<Record<string, TlsMode>> = {
  disable: 'disable',
  disabled: 'disable',
  prefer: 'prefer',
  preferred: 'prefer',
  require: 'require',
  required: 'require',
  verify_ca: 'verify_ca',
  verify_full: 'verify_full',
  verify_identity: 'verify_full',
};

/**
 * Reads connection parameters; throws `Misconfigured` naming the parameter. `ssl_mode` takes MySQL's and PostgreSQL's words; with `ssl_ca`
 * (a PEM text or a file's path) it is `verify_full` unless said otherwise.
 */
export function readAddress(params: Params): Address {
  const host = required(params, 'host');
  const port = Number(params['port'] || '3306');
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw wrong('port', 'a number from 1 to 65535');
  const ca = readCa(params['ssl_ca']);
  const word = (params['ssl_mode'] || (ca === undefined ? 'prefer' : 'verify_full')).toLowerCase().replaceAll('-', '_');
  const tls = MODES[word];
  if (tls === undefined) throw wrong('ssl_mode', 'disable, prefer, require, verify_ca or verify_full');
  return {
    host,
    port,
    user: required(params, 'uid'),
    password: params['pwd'] ?? '',
    database: params['db'] || undefined,
    tls,
    ca,
  };
}

/** What becomes of a row that the destination refuses while changes are applied; `park` unless said otherwise. */
export function readOnRowError(params: Params): 'park' | 'table' | 'pipeline' {
  const word = params['on_row_error'] || 'park';
  if (word !== 'park' && word !== 'table' && word !== 'pipeline')
    throw wrong('on_row_error', 'park, table or pipeline');
  return word;
}

/** Versions of one row that a batch brings at most: twice `max_updates`, 4 unless said otherwise, as documented (flow-product.md §6.2); -1: all. */
export function readMaxVersions(params: Params): number {
  const word = params['max_updates'] || '4';
  const number = Number(word);
  if (!/^-?\d+$/.test(word) || number < -1) throw wrong('max_updates', 'a number from -1');
  return number === -1 ? Number.POSITIVE_INFINITY : Math.max(1, 2 * number);
}

/** Options for mysql2. Everything that could change a value on its way (dates, big numbers) is off; multiple statements too. */
export function connectionOptions(
  address: Address,
  encrypted: boolean,
  database: string | undefined,
): ConnectionOptions {
  return {
    host: address.host,
    port: address.port,
    user: address.user,
    password: address.password,
    charset: 'utf8mb4',
    dateStrings: true,
    supportBigNumbers: true,
    connectTimeout: 10_000,
    enableKeepAlive: true,
    keepAliveInitialDelay: 10_000,
    ...(database === undefined ? {} : { database }),
    ...(encrypted ? { ssl: tlsOptions(address) } : {}),
  };
}

function tlsOptions(address: Address): SslOptions {
  const verified = address.tls === 'verify_ca' || address.tls === 'verify_full';
  return {
    rejectUnauthorized: verified,
    verifyIdentity: address.tls === 'verify_full',
    ...(address.ca === undefined ? {} : { ca: address.ca }),
  };
}

function readCa(value: string | undefined): string | undefined {
  if (!value) return undefined;
  if (value.includes('-----BEGIN')) return value;
  try {
    return readFileSync(value, 'utf8');
  } catch {
    throw wrong('ssl_ca', 'a PEM text or the path of a file that the worker can read');
  }
}

function required(params: Params, name: string): string {
  const value = params[name];
  if (!value) throw wrong(name, 'set');
  return value;
}

function wrong(name: string, must: string): Misconfigured {
  return new Misconfigured(
    `The destination connection's \`${name}\` must be ${must}.`,
    `Correct \`${name}\` of the destination connection.`,
  );
}
