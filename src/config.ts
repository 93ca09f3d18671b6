/** Settings: the only reader of the environment. Every setting is listed in the README. */
import { randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { type LogFormat, type LogLevel, logLevels } from './log.ts';
import { newKeyText, parseKey, type SecretKey } from './secrets.ts';

export type TemporalTls = {
  readonly serverCaFile?: string;
  readonly clientCertFile?: string;
  readonly clientKeyFile?: string;
  readonly serverName?: string;
};

export type Config = {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly temporal: {
    /** Absent: `serve` runs the embedded server. */
    readonly address?: string;
    readonly namespace: string;
    readonly apiKey?: string;
    readonly tls?: TemporalTls;
    /** Ports of the embedded server; the next free ones when taken. */
    readonly port: number;
    readonly uiPort: number;
  };
  readonly workerProcesses: number;
  /** Absent: no authentication. */
  readonly apiKeysFile?: string;
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  readonly secretKeyFile: string;
  /** Zone in which new pipelines reckon their schedules. */
  readonly timeZone: string;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
};

/** Settings that stop the start, one clear line each. */
export class ConfigError extends Error {
  readonly lines: readonly string[];
  constructor(lines: readonly string[]) {
    super(lines.join('\n'));
    this.name = 'ConfigError';
    this.lines = lines;
  }
}

const port = (fallback: number, least = 0) =>
  z
    .string()
    .regex(/^\d{1,5}$/, 'must be a port number')
    .transform(Number)
    .refine((value) => value >= least && value <= 65_535, `must be between ${least} and 65535`)
    .default(fallback);
const flag = z
  .enum(['true', 'false'], 'must be true or false')
  .transform((value) => value === 'true')
  .default(false);
const path = z.string().refine((value) => !value.includes('\0'), 'must be a path');
const address = z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d{1,5}$/, 'must be host:port');

const settings = z.object({
  HOST: z
    .string()
    .regex(/^[^\s/]+$/, 'must be an address or a host name')
    .default('127.0.0.1'),
  PORT: port(8081),
  DATA_DIR: path.default('.data'),
  TEMPORAL_ADDRESS: address.optional(),
  TEMPORAL_NAMESPACE: z.string().regex(/^\S+$/, 'must be a name').default('default'),
  TEMPORAL_API_KEY: z.string().optional(),
  TEMPORAL_TLS: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((value) => value === 'true')
    .optional(),
  TEMPORAL_TLS_SERVER_CA_CERT_PATH: path.optional(),
  TEMPORAL_TLS_CLIENT_CERT_PATH: path.optional(),
  TEMPORAL_TLS_CLIENT_KEY_PATH: path.optional(),
  TEMPORAL_TLS_SERVER_NAME: z.string().optional(),
  TEMPORAL_PORT: port(7233, 1),
  TEMPORAL_UI_PORT: port(8233, 1),
  WORKER_PROCESSES: z
    .string()
    .regex(/^\d{1,3}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= 1 && value <= 256, 'must be between 1 and 256')
    .default(() => Math.max(1, availableParallelism() - 1)),
  API_KEYS_FILE: path.optional(),
  ALLOW_ANONYMOUS: flag,
  TLS_CERT_FILE: path.optional(),
  TLS_KEY_FILE: path.optional(),
  SECRET_KEY_FILE: path.optional(),
  TIME_ZONE: z
    .string()
    .refine(isZone, 'must be a time zone such as Europe/Berlin')
    .default(() => new Intl.DateTimeFormat().resolvedOptions().timeZone),
  LOG_LEVEL: z.enum(logLevels, `must be ${logLevels.join(', ')}`).default('info'),
  LOG_FORMAT: z.enum(['json', 'text'], 'must be json or text').default('json'),
});
type Settings = z.infer<typeof settings>;

/** Names of all settings. */
export const settingNames: readonly string[] = Object.keys(settings.shape);

/** Reads and checks all settings; an empty value counts as unset. Throws `ConfigError`. */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(settingNames.map((name) => [name, env[name] === '' ? undefined : env[name]]));
  const parsed = settings.safeParse(given);
  const lines = parsed.success ? [] : parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  // Other software may own any other name, but a mistyped name of this group would silently weaken the connection.
  for (const name of Object.keys(env)) {
    if (name.startsWith('TEMPORAL_TLS') && !settingNames.includes(name)) lines.push(`${name}: unknown setting`);
  }
  if (parsed.success) lines.push(...contradictions(parsed.data));
  if (!parsed.success || lines.length > 0) throw new ConfigError(lines);
  return shape(parsed.data);
}

function contradictions(given: Settings): string[] {
  const lines: string[] = [];
  if (given.API_KEYS_FILE === undefined && !given.ALLOW_ANONYMOUS && !isLoopback(given.HOST)) {
    lines.push(
      `HOST: ${given.HOST} is reachable from other machines; set API_KEYS_FILE, or ALLOW_ANONYMOUS=true to do without keys`,
    );
  }
  const pairs = [
    ['TLS_CERT_FILE', 'TLS_KEY_FILE'],
    ['TEMPORAL_TLS_CLIENT_CERT_PATH', 'TEMPORAL_TLS_CLIENT_KEY_PATH'],
  ] as const;
  for (const [one, other] of pairs) {
    if (given[one] !== undefined && given[other] === undefined) lines.push(`${other}: needed together with ${one}`);
    if (given[other] !== undefined && given[one] === undefined) lines.push(`${one}: needed together with ${other}`);
  }
  const files = [
    'API_KEYS_FILE',
    'TLS_CERT_FILE',
    'TLS_KEY_FILE',
    'TEMPORAL_TLS_SERVER_CA_CERT_PATH',
    'TEMPORAL_TLS_CLIENT_CERT_PATH',
    'TEMPORAL_TLS_CLIENT_KEY_PATH',
  ] as const;
  for (const name of files) {
    const file = given[name];
    if (file !== undefined && !readable(file)) lines.push(`${name}: ${file} cannot be read`);
  }
  const wantsTls = temporalTls(given) !== undefined;
  if (given.TEMPORAL_TLS === false && wantsTls)
    lines.push('TEMPORAL_TLS: false contradicts the other TEMPORAL_TLS_ settings');
  return lines;
}

function shape(given: Settings): Config {
  const tls =
    given.TEMPORAL_TLS === true || given.TEMPORAL_API_KEY !== undefined
      ? (temporalTls(given) ?? {})
      : temporalTls(given);
  return {
    host: given.HOST,
    port: given.PORT,
    dataDir: given.DATA_DIR,
    temporal: {
      ...defined({ address: given.TEMPORAL_ADDRESS, apiKey: given.TEMPORAL_API_KEY }),
      ...(tls === undefined || given.TEMPORAL_TLS === false ? {} : { tls }),
      namespace: given.TEMPORAL_NAMESPACE,
      port: given.TEMPORAL_PORT,
      uiPort: given.TEMPORAL_UI_PORT,
    },
    workerProcesses: given.WORKER_PROCESSES,
    ...defined({ apiKeysFile: given.API_KEYS_FILE }),
    ...(given.TLS_CERT_FILE !== undefined && given.TLS_KEY_FILE !== undefined
      ? { tls: { certFile: given.TLS_CERT_FILE, keyFile: given.TLS_KEY_FILE } }
      : {}),
    secretKeyFile: given.SECRET_KEY_FILE ?? join(given.DATA_DIR, 'secret.key'),
    timeZone: given.TIME_ZONE,
    log: { level: given.LOG_LEVEL, format: given.LOG_FORMAT },
  };
}

function temporalTls(given: Settings): TemporalTls | undefined {
  const tls = defined({
    serverCaFile: given.TEMPORAL_TLS_SERVER_CA_CERT_PATH,
    clientCertFile: given.TEMPORAL_TLS_CLIENT_CERT_PATH,
    clientKeyFile: given.TEMPORAL_TLS_CLIENT_KEY_PATH,
    serverName: given.TEMPORAL_TLS_SERVER_NAME,
  });
  return Object.keys(tls).length === 0 ? undefined : tls;
}

/** Reads the secret key, making the file (mode 0600) when there is none. Any number of processes may do so at once: all get the same key. */
export function readSecretKey(file: string): SecretKey {
  const text = existing(file) ?? createKeyFile(file);
  const key = parseKey(text);
  if (key === undefined) throw new ConfigError([`SECRET_KEY_FILE: ${file} does not hold 32 bytes in base64`]);
  return key;
}

function createKeyFile(file: string): string {
  const draft = `${file}.${randomUUID()}`;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(draft, newKeyText(), { mode: 0o600, flag: 'wx', flush: true });
    try {
      // A link appears whole or not at all and never replaces a key that another process has just made.
      linkSync(draft, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      unlinkSync(draft);
    }
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError([`SECRET_KEY_FILE: ${file} cannot be made (${(error as NodeJS.ErrnoException).code})`]);
  }
}

function existing(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new ConfigError([`SECRET_KEY_FILE: ${file} cannot be read (${code})`]);
  }
}

function readable(file: string): boolean {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}

function isZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }) !== undefined;
  } catch {
    return false;
  }
}

/** True for addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

function defined<T extends Record<string, string | undefined>>(values: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: string;
  };
}
