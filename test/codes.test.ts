import { describe, expect, it } from 'vitest';
import {
  captureOf,
  codeAt,
  credentialsIn,
  destinationOf,
  isSecret,
  maskCredentials,
  missingParams,
  sourceCode,
  sourceCodes,
} from '../src/codes.ts';
import { optionNames, optionProblem, optionRules, optionsOf } from '../src/options.ts';

describe('codes', () => {
  it('are unique', () => {
    expect(new Set(sourceCodes.map(({ code }) => code)).size).toBe(23);
    expect(sourceCodes.filter(({ continuous }) => continuous).map(({ code }) => code)).toEqual(['rds.mysqlc']);
  });

  it.each([
    [{ type: 'rds.pgres' }, 'log'],
    [{ type: 'rds.pgres', capture: 'none' }, 'none'],
    [{ type: 'rds.pgres', capture: 'cursor' }, 'timestamp'],
    [{ type: 'rds.jdbcfe' }, 'none'],
    [{ type: 'rds.jdbcfe', capture: 'cursor' }, 'timestamp'],
    [{ type: 'rds.oraclefem', capture: 'cursor' }, 'timestamp'],
    [{ type: 'rds.msts', capture: 'log' }, 'timestamp'],
    [{ type: 'rds.mongo', capture: 'cursor' }, 'stream'],
    [{}, 'none'],
  ] as [Record<string, string>, string][])('learn of changes of %o: %s', (params, expected) => {
    expect(captureOf(params)).toBe(expected);
  });

  it('belong to one side', () => {
    expect(codeAt('source', 'rds.pgres')?.driver).toBe('postgres');
    expect(codeAt('destination', 'rds.sstorem')?.driver).toBe('singlestore');
    expect([
      codeAt('source', 'rds.sstorem'),
      codeAt('destination', 'rds.pgres'),
      codeAt('source', undefined),
      sourceCode('toString'),
    ]).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe('destinationOf', () => {
  const ref = { schema: 'public', name: 'orders' };
  it.each([
    ['rds.pgres', 'shop', {}, 'shop_public'],
    ['rds.mscdcm', 'shop', {}, 'shop_public'],
    ['rds.oracle11lm', 'XE', {}, 'XE_public'],
    ['rds.mysql', 'default', {}, 'public'],
    ['rds.mongo', 'default', {}, 'public'],
    ['rds.jdbcfe', 'shop', {}, 'shop_public'],
    ['rds.jdbcfe', 'default', {}, 'public'],
    ['rds.pgres', 'default', {}, 'default_public'],
    ['rds.pgres', 'shop', { db: 'target' }, 'target'],
    ['rds.mysql', 'default', { db: 'target' }, 'target'],
    ['rds.mysql', 'default', { db: '' }, 'public'],
  ])('%s in %s with %j', (type, database, params, expected) => {
    expect(destinationOf(type, database, ref, params)).toEqual({ database: expected, table: 'orders' });
  });
});

describe('missingParams', () => {
  const full = { host: 'h', port: '1', uid: 'u', pwd: '', type: 'rds.mysql' };
  it.each([
    [{}, ['host', 'port', 'uid', 'pwd', 'type']],
    [full, []],
    [{ ...full, host: '' }, ['host']],
    [{ ...full, type: 'rds.jdbcfe' }, ['drv', 'url']],
    [{ host: 'h', port: '1', type: 'rds.mongo' }, []],
    [{ host: 'h', port: '1', type: 'rds.mongo', uid: '', pwd: '' }, []],
    [{ host: 'h', port: '1', type: 'rds.mongoatlas', uid: 'u' }, ['pwd']],
    [{ port: '1', type: 'rds.mongo' }, ['host']],
  ])('%j', (params, missing) => expect(missingParams(params)).toEqual(missing));
});

describe('secrets by name', () => {
  it.each(['pwd', 'pwd2', 'password', 'ssl_key', 'API_KEY', 'oauth_token', 'clientSecret', 'private_key_passphrase'])(
    '%s is one',
    (name) => expect(isSecret(name)).toBe(true),
  );
  it.each(['host', 'uid', 'db', 'ssl_ca', 'ssl_cert', 'ssl_mode', 'key', 'primary_key'])('%s is none', (name) =>
    expect(isSecret(name)).toBe(false),
  );
});

describe('credentials inside a JDBC URL', () => {
  it.each([
    ['jdbc:postgresql://h/db?user=x&password=s3cr&ssl=1', ['s3cr'], 'jdbc:postgresql://h/db?user=x&password=***&ssl=1'],
    ['jdbc:oracle:thin:scott/tiger@h:1521:x', ['tiger'], 'jdbc:oracle:thin:scott/***@h:1521:x'],
    ['jdbc:mysql://u:pw@h/d', ['pw'], 'jdbc:mysql://u:***@h/d'],
    [
      'jdbc:sqlserver://h;user=a;password=b;clientSecret=c',
      ['b', 'c'],
      'jdbc:sqlserver://h;user=a;password=***;clientSecret=***',
    ],
    ['password=zz&a=b', ['zz'], 'password=***&a=b'],
    ['jdbc:db2://h:50000/d:password=p;user=u;', ['p'], 'jdbc:db2://h:50000/d:password=***;user=u;'],
    ['jdbc:teradata://h/USER=u,PASSWORD=p,CHARSET=UTF8', ['p'], 'jdbc:teradata://h/USER=u,PASSWORD=***,CHARSET=UTF8'],
    ['jdbc:mysql://(host=h,user=u,password=p)/d', ['p'], 'jdbc:mysql://(host=h,user=u,password=***)/d'],
    ['jdbc:mysql://u:p@ss@h:3306/d?a=b@c', ['p@ss'], 'jdbc:mysql://u:***@h:3306/d?a=b@c'],
    ['jdbc:oracle:oci:scott/ti@ger@h:1521:x', ['ti@ger'], 'jdbc:oracle:oci:scott/***@h:1521:x'],
    ['jdbc:sqlserver://h;password={a;b};user=u', ['{a;b}'], 'jdbc:sqlserver://h;password=***;user=u'],
    ['?passcode=1&AccountKey=2', ['1', '2'], '?passcode=***&AccountKey=***'],
    ['jdbc:x://h/d?passwordless=1', ['1'], 'jdbc:x://h/d?passwordless=***'],
    ['jdbc:x://h:5432/d', [], 'jdbc:x://h:5432/d'],
  ])('%s', (url, secrets, masked) => {
    expect(credentialsIn(url)).toEqual(secrets);
    expect(maskCredentials(url)).toBe(masked);
    expect(maskCredentials(masked)).toBe(masked);
  });
});

describe('options', () => {
  it('have the documented defaults', () => {
    expect(optionsOf({})).toMatchObject({
      ...{ extract_threads: 4, load_threads: 4, max_updates: 4, keyless_delta: 'skip', ddl_policy: 'additive' },
      ...{ on_unrepresentable: 'rule', on_row_error: 'park', ssl_mode: 'prefer', ssl_ca: null, jdbc_options: null },
    });
  });

  it('are read from text, empty meaning the default', () => {
    const read = optionsOf({
      extract_threads: '12',
      max_updates: '-1',
      ddl_policy: 'manual',
      ssl_mode: '',
      host: 'ignored',
    });
    expect(read).toMatchObject({ extract_threads: 12, max_updates: -1, ddl_policy: 'manual', ssl_mode: 'prefer' });
    expect(() => optionsOf({ extract_threads: 'many' })).toThrow(RangeError);
  });

  it.each(optionNames)('%s belongs to its side, accepts its default and explains itself', (name) => {
    const rule = optionRules[name];
    const sides = rule.side === 'both' ? (['source', 'destination'] as const) : ([rule.side] as const);
    const value = String(rule.default ?? (name.startsWith('ssl') ? '/etc/x.pem' : name === 'mining_port' ? 1521 : 'x'));
    for (const side of sides) expect(optionProblem(side, name, value)).toBeUndefined();
    if (rule.side !== 'both')
      expect(optionProblem(rule.side === 'source' ? 'destination' : 'source', name, value)).toContain(rule.side);
    expect(rule.effect).toMatch(/\.$/);
  });
});
