/**
 * Sealing of secret connection parameters: AES-256-GCM, `sealed:<key id>:<base64url of nonce, tag, text>`, bound to the parameter's
 * name. Sealed values are stored in workflow histories: the form is for ever.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { credentialsIn, isSecret, mayHoldSecret } from './codes.ts';
import { hideInLogs } from './log.ts';

export type SecretKey = { readonly id: string; readonly cipher: Uint8Array; readonly mac: Uint8Array };

/** A sealed value that this process cannot open: another key, or an altered value. */
export class SealError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SealError';
  }
}

/** Text of a new key file. */
export function newKeyText(): string {
  return `${randomBytes(32).toString('base64')}\n`;
}

/** Reads a key file's text; undefined when it is not one. */
export function parseKey(text: string): SecretKey | undefined {
  const bytes = /^[A-Za-z0-9+/]{43}=\s*$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0);
  if (bytes.length !== 32) return undefined;
  const derive = (use: string) => new Uint8Array(hkdfSync('sha256', bytes, '', `flow-ingest ${use}`, 32));
  return {
    id: createHash('sha256').update(bytes).digest('hex').slice(0, 8),
    cipher: derive('seal'),
    mac: derive('fingerprint'),
  };
}

const prefix = 'sealed:';

export function isSealed(value: string): boolean {
  return value.startsWith(prefix);
}

/** Seals a text; `name` must be given again to open it. */
export function seal(key: SecretKey, text: string, name = ''): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key.cipher, nonce).setAAD(Buffer.from(name));
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return `${prefix}${key.id}:${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')}`;
}

/** Opens a sealed text. Throws `SealError`. */
export function open(key: SecretKey, sealed: string, name = ''): string {
  const [, id, body] = /^sealed:([0-9a-f]{8}):([A-Za-z0-9_-]+)$/.exec(sealed) ?? [];
  if (id === undefined || body === undefined)
    throw new SealError('A stored secret is not in sealed form. Save the connection again.');
  if (id !== key.id) {
    throw new SealError(
      `A stored secret was sealed with key ${id}, but this process has key ${key.id}. Give every API and worker process the same SECRET_KEY_FILE, or save the connection again.`,
    );
  }
  const bytes = Buffer.from(body, 'base64url');
  if (bytes.length < 28) throw new SealError('A stored secret is cut. Save the connection again.');
  const decipher = createDecipheriv('aes-256-gcm', key.cipher, bytes.subarray(0, 12), { authTagLength: 16 })
    .setAAD(Buffer.from(name))
    .setAuthTag(bytes.subarray(12, 28));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
  } catch {
    throw new SealError('A stored secret was altered. Save the connection again.');
  }
}

function sealable(name: string): boolean {
  return isSecret(name) || mayHoldSecret(name);
}

/** Connection parameters with their secret values sealed. The clear values disappear from this process's log. */
export function sealParams(key: SecretKey, params: Readonly<Record<string, string>>): Record<string, string> {
  return mapValues(params, (value, name) => {
    if (!sealable(name)) return value;
    hideInLogs(value);
    return seal(key, value, name);
  });
}

/** Connection parameters in clear. Throws `SealError`. The clear values disappear from this process's log. */
export function openParams(key: SecretKey, sealed: Readonly<Record<string, string>>): Record<string, string> {
  return mapValues(sealed, (value, name) => {
    if (!sealable(name)) return value;
    const clear = open(key, value, name);
    hideInLogs(clear);
    return clear;
  });
}

/** Values of clear parameters that no message may quote: whole secrets, and the credentials inside URLs. */
export function secretValues(params: Readonly<Record<string, string>>): string[] {
  return Object.entries(params).flatMap(([name, value]) => {
    if (value === '') return [];
    if (isSecret(name)) return [value];
    return mayHoldSecret(name) ? [value, ...credentialsIn(value)] : [];
  });
}

/** Keyed digest of clear parameters: equal when a connection would be made with the same ones. `pwd2` only confirms `pwd`. */
export function fingerprint(key: SecretKey, params: Readonly<Record<string, string>>): string {
  const lines = Object.entries(params)
    .filter(([name, value]) => name !== 'pwd2' && (value !== '' || name === 'pwd'))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return createHmac('sha256', key.mac).update(JSON.stringify(lines)).digest('base64url');
}

function mapValues(
  params: Readonly<Record<string, string>>,
  value: (text: string, name: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(params).map(([name, text]) => [name, value(text, name)]));
}
