import type { Params } from '../model.ts';
import { malformed, pem, portOf, type SslMode, sslMode, word } from '../params.ts';

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
  readonly ssl: SslMode;
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
  const port = portOf(params, 'port', 1433);
  const capture = word(params, 'capture', ['log', 'none', 'cursor']);
  return {
    host,
    // As Microsoft's clients do: a port that is not the default one needs no Browser.
    instance: instance !== undefined && instance !== '' && port === 1433 ? instance : undefined,
    port,
    user: params['uid'] ?? '',
    password: params['pwd'] ?? '',
    database: params['db'] ?? '',
    ssl: sslMode(params),
    ca: pem(params, 'ssl_ca'),
    capture: capture === 'log' ? (MODES[params['type'] ?? ''] ?? 'none') : capture,
    onUnrepresentable: word(params, 'on_unrepresentable', ['rule', 'error']),
    overlapMs: seconds(params, 'cursor_overlap', 600),
    waitMs: seconds(params, 'cdc_wait', 15),
  };
}

function seconds(params: Params, name: string, fallback: number): number {
  const value = Number(params[name] || fallback);
  if (!Number.isInteger(value) || value < 0) throw malformed(name, 'a number of seconds');
  return value * 1000;
}
