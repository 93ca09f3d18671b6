import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Params } from '../../src/drivers/model.ts';
import { translate } from '../../src/drivers/mssql/errors.ts';
import { mssqlOptions } from '../../src/drivers/mssql/options.ts';
import { type MssqlGround, mssqlGround } from './mssql-fixture.ts';

let ground: MssqlGround | undefined;
afterEach(async () => {
  await ground?.[Symbol.asyncDispose]();
  ground = undefined;
});

const failure = (opening: Promise<unknown>): Promise<Error & { action?: string }> =>
  opening.then(
    () => {
      throw new Error('nothing was refused');
    },
    (error: Error) => error,
  );

it('a condition that the server refuses, by whatever number, is the fault of its table', async () => {
  ground = await mssqlGround();
  ground.run('create table t (id int primary key)');
  await using source = await ground.open();
  const ask = (where: string) => ({ ref: { schema: 'dbo', name: 't' }, options: { where } });
  // The fake answers the second one by a number that no list has.
  const answers = await source.describe([ask('no such ('), ask('(((id = 1'), ask('id < 5')]);
  expect(answers.map((one) => ('error' in one ? one.error.message : ''))).toEqual([
    expect.stringMatching(/^The condition of dbo.t is refused by the source: /),
    expect.stringMatching(/^The condition of dbo.t is refused by the source: SQL Server error 50000: \w+ input$/),
    '',
  ]);
});

it.each([245, 8114, 8115, 8134, 241])(
  'a row that a view can not compute with (%i) is an error of its table',
  (number) => {
    const error = translate(Object.assign(new Error('No.'), { number }));
    expect(error).toMatchObject({ name: 'UnsupportedValue', message: 'No.', action: expect.stringContaining('view') });
  },
);

describe('a login that is refused', () => {
  it.each([
    [18456, 'AccessDenied', /uid and pwd/],
    [18470, 'AccessDenied', /ENABLE/],
    [18486, 'AccessDenied', /UNLOCK/],
    [18487, 'AccessDenied', /expired/],
    [18488, 'AccessDenied', /must be changed/],
    [18452, 'AccessDenied', /mixed/],
    [4060, 'AccessDenied', /CREATE USER/],
    [40615, 'AccessDenied', /firewall/],
  ])('with %i is %s', async (number, name, action) => {
    ground = await mssqlGround();
    ground.fake.refuse(number, 'The server says no.');
    const error = await failure(ground.open());
    expect(error).toMatchObject({ name, message: 'The server says no.', action: expect.stringMatching(action) });
    expect(JSON.stringify([error.message, error.action])).not.toContain(ground.fake.password);
  });

  it.each([
    [40613, /not available now/],
    [18451, /shuts down/],
  ])('with %i is tried again', async (number, text) => {
    ground = await mssqlGround();
    ground.fake.refuse(number, 'Not now.');
    expect(await failure(ground.open())).toMatchObject({ name: 'Error', message: expect.stringMatching(text) });
  });

  it('names the database that is not there, and the server that is not', async () => {
    ground = await mssqlGround();
    expect(await failure(ground.open({ db: 'nowhere' }))).toMatchObject({
      name: 'AccessDenied',
      message: expect.stringMatching(/nowhere/),
    });
    expect(await failure(ground.open({ port: '1' }))).toMatchObject({
      name: 'Error',
      message: expect.stringMatching(/can't be reached/),
    });
  });
});

describe('errors of statements', () => {
  it.each([
    [229, 'AccessDenied'],
    [208, 'StructureChanged'],
    [207, 'StructureChanged'],
    [3961, 'StructureChanged'],
    [3952, 'Misconfigured'],
    [1205, 'Error'],
    [3960, 'Error'],
    [50_000, 'Error'],
  ])('%i is %s', (number, name) => {
    expect(translate(Object.assign(new Error('words'), { number }))).toMatchObject({ name, number });
  });
});

describe('TLS', () => {
  const pem = (file: string): string => readFileSync(join(import.meta.dirname, '../fixtures/tls', file), 'utf8');
  const tls = { key: pem('key.pem'), cert: pem('cert.pem') };

  it.each([
    ['prefer', {}, {}, 'fine'],
    ['prefer', { tls }, {}, 'fine'],
    ['require', { tls }, {}, 'fine'],
    ['disable', {}, {}, 'fine'],
    ['verify-full', { tls }, { ssl_ca: tls.cert, host: 'localhost' }, 'fine'],
    ['require', {}, {}, /does not offer TLS/],
    ['disable', { tls, tlsRequired: true }, {}, /encrypted connections only/],
    ['verify-full', { tls }, {}, /TLS connection was refused/],
  ] as const)('%s, server %o', async (ssl_mode, server, more, outcome) => {
    ground = await mssqlGround('rds.msfull', server);
    const opening = ground.open({ ssl_mode, ...more } as Params);
    if (outcome !== 'fine')
      return expect(await failure(opening)).toMatchObject({ message: expect.stringMatching(outcome) });
    await using source = await opening;
    ground.run('create table t (id int primary key)');
    expect(await source.tables('dbo')).toHaveLength(1);
  });
});

describe('parameters', () => {
  const base = { host: 'h', port: '1433', uid: 'u', pwd: 'p', type: 'rds.mscdcm' };
  it.each([
    [{}, { host: 'h', instance: undefined, port: 1433, capture: 'cdc', overlapMs: 600_000 }],
    [{ host: 'h\\SALES' }, { host: 'h', instance: 'SALES' }],
    [
      { host: 'h\\SALES', port: '50123' },
      { host: 'h', instance: undefined, port: 50_123 },
    ],
    [
      { type: 'rds.msts', cursor_overlap: '0' },
      { capture: 'cursor', overlapMs: 0 },
    ],
    [{ type: 'rds.msadbctm' }, { capture: 'tracking' }],
    [{ type: 'rds.msadbctm', capture: 'none' }, { capture: 'none' }],
    [{ type: 'rds.msfull' }, { capture: 'none' }],
  ])('%j', (more, expected) => expect(mssqlOptions({ ...base, ...more } as Params)).toMatchObject(expected));

  it.each([{ host: '' }, { port: 'x' }, { ssl_mode: 'maybe' }, { ssl_ca: '/nowhere.pem' }, { cdc_wait: '-1' }])(
    '%j is refused',
    (more) => {
      expect(() => mssqlOptions({ ...base, ...more } as Params)).toThrow(/missing or malformed/);
    },
  );

  it('a named instance is found by SQL Server Browser', async ({ skip }) => {
    const found = await mssqlGround();
    ground = found;
    const browser = createSocket('udp4');
    const bound = await new Promise<boolean>((resolve) => {
      browser.once('error', () => resolve(false));
      browser.bind(1434, '127.0.0.1', () => resolve(true));
    });
    if (!bound) console.log('skipped: UDP port 1434 is in use');
    skip(!bound);
    browser.on('message', (_, from) => {
      const text = `ServerName;H;InstanceName;SALES;IsClustered;No;Version;16.0.1000.6;tcp;${found.fake.tds.port};;`;
      browser.send(
        Buffer.concat([Buffer.from([5, text.length & 255, text.length >> 8]), Buffer.from(text)]),
        from.port,
        from.address,
      );
    });
    await using source = await found.open({ host: '127.0.0.1\\SALES', port: '1433' });
    expect(source.database).toBe('shop');
    browser.close();
  });
});

describe('preflight', () => {
  it('says of each setting what to run', async () => {
    ground = await mssqlGround('rds.msadbctm');
    ground.run('create table t (id int primary key)');
    const table = { schema: 'dbo', name: 't' };
    const { settings } = ground.fake.engine;
    settings.snapshot = false;
    settings.mayRead = false;
    await using tracked = await ground.open();
    expect(await tracked.preflight([table, { schema: 'dbo', name: 'gone' }])).toMatchObject([
      { severity: 'error', code: 'snapshot', message: expect.stringMatching(/ALLOW_SNAPSHOT_ISOLATION ON/) },
      { severity: 'error', code: 'tracking', message: expect.stringMatching(/SET CHANGE_TRACKING = ON/) },
      { severity: 'error', code: 'grant', message: expect.stringMatching(/GRANT SELECT ON \[dbo\]\.\[t\]/), table },
      { severity: 'error', code: 'tracking', message: expect.stringMatching(/ENABLE CHANGE_TRACKING/), table },
      { severity: 'error', code: 'table' },
    ]);
    await using captured = await ground.open({ type: 'rds.mscdcm' });
    expect((await captured.preflight([])).map(({ severity, code }) => [severity, code])).toEqual([
      ['warning', 'snapshot'],
      ['error', 'cdc'],
    ]);
    await expect(captured.begin('p', 'p_1', [table], () => {}, new AbortController().signal)).rejects.toThrow(
      /CDC is not enabled/,
    );
    settings.cdc = true;
    await using again = await ground.open({ type: 'rds.mscdcm' });
    expect((await again.preflight([table])).filter(({ severity }) => severity === 'error')).toMatchObject([
      { code: 'grant' },
      {
        code: 'cdc',
        message: expect.stringMatching(/sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't'/),
      },
    ]);
  });

  it('finds values and rows that the server hides from the user', async () => {
    ground = await mssqlGround('rds.msfull');
    ground.run('create table t (id int primary key, iban nvarchar(30))');
    const table = { schema: 'dbo', name: 't' };
    const { settings } = ground.fake.engine;
    settings.masked = 'iban';
    settings.filtered = 't';
    await using source = await ground.open();
    expect(await source.preflight([table])).toMatchObject([
      {
        severity: 'warning',
        code: 'mask',
        message: expect.stringMatching(/masks iban of \[dbo\]\.\[t\].*GRANT UNMASK/),
        table,
      },
      { severity: 'warning', code: 'rows', message: expect.stringMatching(/security policy filters/), table },
    ]);
    expect(await source.describe([{ ref: table, options: {} }])).toMatchObject([
      {
        table: {
          columns: [{ name: 'id' }],
          leftOut: [{ name: 'iban', reason: expect.stringMatching(/GRANT UNMASK/) }],
        },
      },
    ]);
  });
});
