import { existsSync, readFileSync } from 'node:fs';
import { Misconfigured } from '../errors.ts';
import type { Params } from '../model.ts';

/** How changes are learned: CDC's change tables, change tracking, a cursor column, or not at all. */
export type CaptureMode = 'cdc' | 'tracking' | 'cursor' | 'none';

/** Options of a SQL Server source, read from its parameters (docs/sources/mssql.md). */
export type MssqlOptions = {
  readonly host: string;
  /** A named instance whose port SQL Server Browser tells; undefined: `port` is used. */
  readonly instance: string | undefined;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** '' : the login's default database. */
  readonly database: string;
  readonly ssl: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  readonly ca: string | undefined;
  readonly capture: CaptureMode;
  readonly onUnrepresentable: 'rule' | 'error';
  /** How far behind the last slice a cursor looks for rows that were committed late. */
  readonly overlapMs: number;
  /** How long the capture job of CDC is waited for, where nothing tells that it has seen what is committed by now. */
  readonly waitMs: number;
};

const MODES: Readonly<Record<string, CaptureMode>> = {
  'rds.mscdcm': 'cdc',
  'rds.msadbctm': 'tracking',
  'rds.msts': 'cursor',
  'rds.msfull': 'none',
};

/** Throws `Misconfigured` for a missing or malformed parameter. */
export function mssqlOptions(params: Params): MssqlOptions {
  const [host = '', instance] = (params['host'] ?? '').split('\\', 2);
  if (host === '') throw malformed('host', "the server's name or address, with \\instance for a named instance");
  const port = Number(params['port'] || '1433');
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw malformed('port', 'a number from 1 to 65535');
  const capture = word(params, 'capture', ['log', 'none', 'cursor']);
  return {
    host,
    // As Microsoft's clients do: a port that is not the default one needs no Browser.
    instance: instance !== undefined && instance !== '' && port === 1433 ? instance : undefined,
    port,
    user: params['uid'] ?? '',
    password: params['pwd'] ?? '',
    database: params['db'] ?? '',
    ssl: word(params, 'ssl_mode', ['prefer', 'disable', 'require', 'verify-ca', 'verify-full']),
    ca: pem(params, 'ssl_ca'),
    capture: capture === 'log' ? (MODES[params['type'] ?? ''] ?? 'none') : capture,
    onUnrepresentable: word(params, 'on_unrepresentable', ['rule', 'error']),
    overlapMs: seconds(params, 'cursor_overlap', 600),
    waitMs: seconds(params, 'cdc_wait', 15),
  };
}

function word<const W extends string>(params: Params, name: string, words: readonly [W, ...W[]]): W {
  const value = params[name];
  if (value === undefined || value === '') return words[0];
  const known = words.find((one) => one === value);
  if (known === undefined) throw malformed(name, `one of ${words.join(', ')}`);
  return known;
}

function seconds(params: Params, name: string, fallback: number): number {
  const value = Number(params[name] || fallback);
  if (!Number.isInteger(value) || value < 0) throw malformed(name, 'a number of seconds');
  return value * 1000;
}

/** PEM text, or the path of a file that holds it on the worker. */
function pem(params: Params, name: string): string | undefined {
  const value = params[name];
  if (value === undefined || value === '') return undefined;
  if (value.includes('-----BEGIN ')) return value;
  if (!existsSync(value)) throw malformed(name, 'PEM text or the path of a file on the worker');
  return readFileSync(value, 'utf8');
}

function malformed(name: string, wanted: string): Misconfigured {
  return new Misconfigured(`The parameter ${name} is missing or malformed.`, `Set ${name} to ${wanted}.`);
}
