import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Log } from '../log.ts';

/** The name of the caller that an `Authorization` header proves, or null. */
export type Authorize = (header: string | undefined) => string | null;

type Key = { readonly name: string; readonly digest: Buffer };

/** Checks bearer keys against a file of `name:sha256hex` lines, read again whenever it changes. While it can't be read nobody gets in. */
export function keyFileAuth(file: string, log: Log): Authorize {
  let version = '';
  let keys: readonly Key[] = [];
  const refresh = () => {
    try {
      const { mtimeNs, size, ino } = statSync(file, { bigint: true });
      const now = `${mtimeNs} ${size} ${ino}`;
      if (now === version) return;
      keys = readKeys(readFileSync(file, 'utf8'), (line) =>
        log.warn('a line of the API key file is not name:sha256hex', { line }),
      );
      version = now;
      log.info('API keys read', { keys: keys.length });
    } catch (error) {
      if (version !== 'unreadable') log.error('the API key file cannot be read, nobody gets in', { error });
      version = 'unreadable';
      keys = [];
    }
  };
  refresh();
  return (header) => {
    refresh();
    const given = /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1];
    if (given === undefined) return null;
    const digest = digestOf(given);
    // Every key is compared, in constant time, so that an answer's time says nothing about any of them.
    return keys.reduce<string | null>((found, key) => (timingSafeEqual(key.digest, digest) ? key.name : found), null);
  };
}

function readKeys(text: string, reject: (line: number) => void): Key[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (/^\s*(#.*)?$/.test(line)) return [];
    const [, name, hex] = /^\s*([^:\s][^:]*):([0-9a-f]{64})\s*$/i.exec(line) ?? [];
    if (name !== undefined && hex !== undefined) return [{ name, digest: Buffer.from(hex, 'hex') }];
    reject(index + 1);
    return [];
  });
}

/** A new key and the line that admits it. The key itself is stored nowhere. */
export function newApiKey(name: string): { key: string; line: string } {
  const key = randomBytes(32).toString('hex');
  return { key, line: `${name}:${digestOf(key).toString('hex')}` };
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
