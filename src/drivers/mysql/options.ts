import { existsSync, readFileSync } from 'node:fs';
import { type CursorSettings, cursorSettings } from '../cursor.ts';
import { Misconfigured } from '../errors.ts';
import type { Params } from '../model.ts';

/** Options of a MySQL source, read from its parameters (docs/sources/mysql.md). */
export type MysqlOptions = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Default database of the connections; '' for none. */
  readonly database: string;
  readonly ssl: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  /** PEM texts: certificates to trust (undefined: those of the system), client certificate and its key. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** `none`: no change log is needed, and positions are ''. `cursor`: changes are found by columns that tell when a row was written. */
  readonly capture: 'log' | 'none' | 'cursor';
  readonly cursor: CursorSettings;
  readonly onUnrepresentable: 'rule' | 'error';
  /** What becomes of tables whose rows foreign keys change below the log. */
  readonly cascade: 'refuse' | 'reload';
};

/** Throws `Misconfigured` for a missing or malformed parameter. */
export function mysqlOptions(params: Params): MysqlOptions {
  const port = Number(params['port'] ?? '3306');
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw malformed('port', 'a number from 1 to 65535');
  const host = params['host'] ?? '';
  if (host === '') throw malformed('host', "the server's name or address");
  return {
    host,
    port,
    user: params['uid'] ?? '',
    password: params['pwd'] ?? '',
    database: params['db'] ?? '',
    ssl: word(params, 'ssl_mode', ['prefer', 'disable', 'require', 'verify-ca', 'verify-full']),
    ca: pem(params, 'ssl_ca'),
    cert: pem(params, 'ssl_cert'),
    key: pem(params, 'ssl_key'),
    capture: word(params, 'capture', ['log', 'none', 'cursor']),
    cursor: cursorSettings(params),
    onUnrepresentable: word(params, 'on_unrepresentable', ['rule', 'error']),
    cascade: word(params, 'cascade', ['refuse', 'reload']),
  };
}

function word<const W extends string>(params: Params, name: string, words: readonly [W, ...W[]]): W {
  const value = params[name];
  if (value === undefined || value === '') return words[0];
  const known = words.find((one) => one === value);
  if (known === undefined) throw malformed(name, `one of ${words.join(', ')}`);
  return known;
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
