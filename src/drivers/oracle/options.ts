import type { Params } from '../model.ts';
import { given, malformed, pem, portOf, type SslMode, sslMode, word } from '../params.ts';

/** Where sessions go. */
export type Address = {
  readonly host: string;
  readonly port: number;
  /** A service name, or `sid:NAME`. */
  readonly service: string;
  readonly user: string;
  readonly password: string;
};

/** What a type code asks of the LogMiner engine. */
export type MiningMode = {
  /** The current redo logs too; otherwise archived logs only. */
  readonly online: boolean;
  /** The logs are read by another database, with the dictionary from the logs. */
  readonly remote: boolean;
  /** The code names a pluggable database. */
  readonly pluggable: boolean;
};

export type OracleOptions = Address & {
  readonly tls: 'off' | 'verify-ca' | 'verify-full';
  /** PEM text of authorities, client certificate and key; undefined: those of the system. */
  readonly wallet: string | undefined;
  /** Folder of the Oracle client libraries; undefined: none is needed (12.1 and later). */
  readonly thickClient: string | undefined;
  /** How changes are learned: by LogMiner, by cursor columns, or not at all. */
  readonly capture: 'log' | 'cursor' | 'none';
  /** How far behind the last look a cursor looks for rows that were committed late. */
  readonly overlapMs: number;
  readonly onUnrepresentable: 'rule' | 'error';
  readonly mode: MiningMode;
  /** The pluggable database that is copied, when `service` is the root's. */
  readonly pluggableName: string | undefined;
  /** The database that reads the logs, when that is another one. */
  readonly mining: Address | undefined;
  /** Where the mining database finds copies of the log files; undefined: under the same paths. */
  readonly miningFolder: string | undefined;
};

/** What each code of the LogMiner means (docs/sources/oracle.md). RAC needs no option: the logs of all threads are always read. */
const MODES: Readonly<Record<string, MiningMode>> = {
  'rds.oracle11lm': { online: false, remote: false, pluggable: false },
  'rds.oracle11lfm': { online: true, remote: false, pluggable: false },
  'rds.oracle11lmrm': { online: false, remote: true, pluggable: false },
  'rds.oracle11lmc': { online: true, remote: false, pluggable: false },
  'rds.oracle11lmp': { online: true, remote: false, pluggable: true },
  'rds.oracle11lmcp': { online: true, remote: false, pluggable: true },
  'rds.oracle11lmrac': { online: false, remote: false, pluggable: false },
  'rds.oracle11lmcrac': { online: true, remote: false, pluggable: false },
  'rds.oracle11lmracp': { online: false, remote: false, pluggable: true },
  'rds.oracle11lmc19': { online: true, remote: false, pluggable: false },
  'rds.oracle11lmcp19': { online: true, remote: false, pluggable: true },
};

/** Throws `Misconfigured` for a missing or malformed parameter. */
export function oracleOptions(params: Params): OracleOptions {
  const mode = MODES[params['type'] ?? ''];
  const wanted = word(params, 'capture', ['log', 'none', 'cursor']);
  const ofCode = mode !== undefined ? 'log' : params['type'] === 'rds.oraclets' ? 'cursor' : 'none';
  const capture = wanted === 'log' ? ofCode : wanted;
  const overlap = Number(given(params, 'cursor_overlap') ?? '600');
  if (!Number.isInteger(overlap) || overlap < 0) throw malformed('cursor_overlap', 'seconds');
  const address = addressOf(params, '');
  return {
    ...address,
    tls: tlsOf(sslMode(params)),
    wallet: walletOf(params),
    thickClient: given(params, 'thick_client'),
    capture,
    overlapMs: overlap * 1000,
    onUnrepresentable: word(params, 'on_unrepresentable', ['rule', 'error']),
    mode: mode ?? { online: true, remote: false, pluggable: false },
    pluggableName: given(params, 'pdb'),
    mining: miningOf(params, address, mode?.remote ?? false),
    miningFolder: given(params, 'mining_folder'),
  };
}

function addressOf(params: Params, prefix: '' | 'mining_', other?: Address): Address {
  const of = (name: string) => given(params, `${prefix}${name}`);
  const port = portOf(params, `${prefix}port`, other?.port ?? 1521);
  const host = of('host') ?? other?.host;
  if (host === undefined) throw malformed(`${prefix}host`, "the server's name or address");
  const service = of('db') ?? other?.service;
  if (service === undefined)
    throw malformed(`${prefix}db`, 'the service name of the database, e.g. ORCLPDB1 (or sid:ORCL for a SID)');
  return {
    host,
    port,
    service,
    user: of('uid') ?? other?.user ?? '',
    password: of('pwd') ?? other?.password ?? '',
  };
}

function miningOf(params: Params, address: Address, remote: boolean): Address | undefined {
  const named = ['host', 'port', 'db', 'uid', 'pwd'].some((name) => given(params, `mining_${name}`) !== undefined);
  if (!named && remote)
    throw malformed(
      'mining_host',
      'the database that reads the logs (with mining_port, mining_db, mining_uid, mining_pwd)',
    );
  return named ? addressOf(params, 'mining_', address) : undefined;
}

/** Listeners have a port of their own for TLS: there is no `prefer`. */
function tlsOf(mode: SslMode): OracleOptions['tls'] {
  if (mode === 'prefer' || mode === 'disable') return 'off';
  return mode === 'verify-full' ? 'verify-full' : 'verify-ca';
}

function walletOf(params: Params): string | undefined {
  const parts = ['ssl_key', 'ssl_cert', 'ssl_ca'].flatMap((name) => pem(params, name) ?? []);
  return parts.length === 0 ? undefined : parts.join('\n');
}
