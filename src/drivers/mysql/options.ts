import { type CursorSettings, cursorSettings } from '../cursor.ts';
import type { Params } from '../model.ts';
import { malformed, pem, portOf, type SslMode, sslMode, word } from '../params.ts';

/** Options of a MySQL source, read from its parameters (docs/sources/mysql.md). */
export type MysqlOptions = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Default database of the connections; '' for none. */
  readonly database: string;
  readonly ssl: SslMode;
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
  const port = portOf(params, 'port', 3306);
  const host = params['host'] ?? '';
  if (host === '') throw malformed('host', "the server's name or address");
  return {
    host,
    port,
    user: params['uid'] ?? '',
    password: params['pwd'] ?? '',
    database: params['db'] ?? '',
    ssl: sslMode(params),
    ca: pem(params, 'ssl_ca'),
    cert: pem(params, 'ssl_cert'),
    key: pem(params, 'ssl_key'),
    capture: word(params, 'capture', ['log', 'none', 'cursor']),
    cursor: cursorSettings(params),
    onUnrepresentable: word(params, 'on_unrepresentable', ['rule', 'error']),
    cascade: word(params, 'cascade', ['refuse', 'reload']),
  };
}
