import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  fingerprint,
  isSealed,
  newKeyText,
  open,
  openParams,
  parseKey,
  SealError,
  type SecretKey,
  seal,
  sealParams,
  secretValues,
} from '../src/secrets.ts';

const key = parseKey(newKeyText()) as SecretKey;
const other = parseKey(newKeyText()) as SecretKey;

describe('a key file', () => {
  it('holds 32 bytes in base64 and nothing else', () => {
    expect(parseKey(newKeyText())?.id).toMatch(/^[0-9a-f]{8}$/);
    expect(newKeyText()).not.toBe(newKeyText());
    for (const text of [
      '',
      'x',
      Buffer.alloc(31).toString('base64'),
      Buffer.alloc(33).toString('base64'),
      `${newKeyText()}more`,
    ])
      expect(parseKey(text)).toBeUndefined();
  });
});

describe('sealing', () => {
  it('gives back any text, and never the same seal twice', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, name) => {
        const sealed = seal(key, text, name);
        expect(isSealed(sealed)).toBe(true);
        expect(sealed.startsWith(`sealed:${key.id}:`)).toBe(true);
        expect(open(key, sealed, name)).toBe(text.toWellFormed());
        expect(seal(key, text, name)).not.toBe(sealed);
      }),
    );
  });

  it('names the key that is missing', () => {
    expect(() => open(other, seal(key, 'x'))).toThrow(new RegExp(`${key.id}.*${other.id}.*SECRET_KEY_FILE`));
    expect(() => open(other, seal(key, 'x'))).toThrow(SealError);
  });

  it('refuses what was altered, cut, moved to another name, or never sealed', () => {
    const sealed = seal(key, 'secret text', 'pwd');
    const at = sealed.length - 5;
    const flipped = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1);
    for (const bad of [flipped, sealed.slice(0, 30), `sealed:${key.id}:AAAA`, 'plain', '', 'sealed::'])
      expect(() => open(key, bad, 'pwd')).toThrow(SealError);
    expect(() => open(key, sealed, 'pwd2')).toThrow(SealError);
    expect(() => open({ ...other, id: key.id }, sealed, 'pwd')).toThrow(/altered/);
  });

  it('covers every secret parameter and no other', () => {
    const params = {
      host: 'h',
      uid: 'u',
      pwd: 'p1',
      pwd2: 'p1',
      ssl_key: 'PEM',
      url: 'jdbc:x',
      jdbc_options: '&a=b',
      my_token: 't',
      type: 'rds.jdbcfe',
    };
    const sealed = sealParams(key, params);
    expect(
      Object.entries(sealed)
        .filter(([, value]) => isSealed(value))
        .map(([name]) => name),
    ).toEqual(['pwd', 'pwd2', 'ssl_key', 'url', 'jdbc_options', 'my_token']);
    expect(openParams(key, sealed)).toEqual(params);
    expect(() => openParams(other, sealed)).toThrow(SealError);
  });

  it('lists the values that messages must not quote', () => {
    expect(secretValues({ host: 'h', pwd: 'p', pwd2: '', url: 'jdbc:x;password=q' })).toEqual([
      'p',
      'jdbc:x;password=q',
      'q',
    ]);
  });
});

describe('a fingerprint', () => {
  const params = { host: 'h', pwd: 'p', type: 't' };
  it('is the same for the same connection', () => {
    expect(fingerprint(key, { type: 't', pwd: 'p', host: 'h', pwd2: 'p', db: '' })).toBe(fingerprint(key, params));
  });
  it('is another for any difference, or another key', () => {
    const all = [
      params,
      { ...params, host: 'i' },
      { ...params, pwd: '' },
      { host: 'h', type: 't' },
      { ...params, db: 'x' },
      { ...params, 'a"b': 'x' },
    ];
    expect(new Set(all.map((one) => fingerprint(key, one))).size).toBe(all.length);
    expect(fingerprint(other, params)).not.toBe(fingerprint(key, params));
  });
});
