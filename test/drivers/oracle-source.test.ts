import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { sourceCodes } from '../../src/codes.ts';
import { daysText, momentText, numberText, parseMoment, yearsText } from '../../src/drivers/oracle/exact-text.ts';
import { type CatalogColumn, columnType, fullType } from '../../src/drivers/oracle/types.ts';
import { servers } from '../fakes/oracle/client.ts';
import { startOracle } from '../fakes/oracle/server.ts';
import { applyTo, begin, follow, type Ground, isRow, oracleGround, readAll, snapshot } from './oracle-fixture.ts';

vi.mock('oracledb', async () => ({ default: (await import('../fakes/oracle/client.ts')).fakeOracledb }));

let ground: Ground | undefined;
afterEach(async () => {
  await ground?.[Symbol.asyncDispose]();
  ground = undefined;
});

describe('what goes wrong says what to run', () => {
  test.each([
    ['ORA-28000: the account is locked', 'AccessDenied', /ACCOUNT UNLOCK/],
    ['ORA-28001: the password has expired', 'AccessDenied', /ALTER USER <user> IDENTIFIED BY/],
    ['ORA-01045: user lacks CREATE SESSION privilege; logon denied', 'AccessDenied', /GRANT CREATE SESSION/],
    [
      'ORA-12514: TNS:listener does not currently know of service requested in connect descriptor',
      'Misconfigured',
      /service of the database/,
    ],
    [
      'ORA-12505: TNS:listener does not currently know of SID given in connect descriptor',
      'Misconfigured',
      /sid:<SID>/,
    ],
    ['ORA-01017: invalid credential or not authorized; logon denied', 'AccessDenied', /uid and pwd/],
    ['ORA-28002: the password will expire within 7 days', 'AccessDenied', /password will expire/],
    ['NJS-138: connections to this database server version are not supported', 'Misconfigured', /thick_client/],
    ['NJS-116: password verifier type 0x939 is not supported', 'AccessDenied', /thick_client/],
  ])('%s', async (message, name, action) => {
    const made = await oracleGround();
    ground = made;
    made.server.fail(/^connect /, message);
    await expect(made.open()).rejects.toMatchObject({
      name,
      action: expect.stringMatching(action),
      message: expect.not.stringContaining('flow-secret'),
    });
  });

  test.each([
    ['ORA-12541: Cannot connect. No listener at host h port 1521.', /No listener answers/],
    ['NJS-511: connection to listener at host "h" port 1521 was refused', /No listener answers/],
    ['NJS-510: connection to host h port 1521 timed out', /firewalls/],
    ['ORA-01034: ORACLE not available', /instance is down/],
    ['ORA-12516: Cannot connect. No handler available', /PROCESSES/],
  ])('%s is tried again', async (message, hint) => {
    const made = await oracleGround();
    ground = made;
    made.server.fail(/^connect /, message);
    await expect(made.open()).rejects.toMatchObject({ name: 'Error', message: expect.stringMatching(hint) });
    await expect(made.open({ host: 'h' })).resolves.toBeDefined();
  });

  test.each([
    [/from v\$archived_log a join/, 'ORA-00942: table or view does not exist', 'views of the redo log'],
    [/last_redo_change#\)\)/, 'ORA-01031: insufficient privileges', 'views of the redo log'],
    [/start_logmnr/, "ORA-06550: line 1, column 7: PLS-00201: identifier 'SYS.DBMS_LOGMNR' must be declared", 'LOGMNR'],
  ])('a right on the log that was taken away: %s', async (statement, message, what) => {
    const made = await oracleGround();
    ground = made;
    made.server.sql('create table t (id int primary key)');
    const table = await made.table('t');
    const { position } = await begin(made.source);
    made.server.fail(statement, message);
    await expect(follow(made.source, position, [table])).rejects.toMatchObject({
      name: 'AccessDenied',
      message: expect.stringContaining(what),
      action: expect.stringMatching(/GRANT LOGMINING, SELECT_CATALOG_ROLE.*DBMS_LOGMNR/),
    });
  });

  test('preflight at a standby, and of a mining database: its rights and those at the source', async () => {
    const made = await oracleGround({ openMode: 'READ ONLY WITH APPLY' });
    ground = made;
    expect((await made.source.preflight([])).find(({ code }) => code === 'open_mode')?.message).toContain('primary');
    const mining = startOracle({ minesFor: made.server, privileges: [] });
    servers.set('MINES2', mining);
    await using remote = await made.open({ type: 'rds.oracle11lmrm', mining_host: 'm', mining_db: 'MINES2' });
    made.server.fail(/from v\$archived_log where 1 = 0/, 'ORA-00942: table or view does not exist');
    mining.fail(/from v\$logmnr_contents where 1 = 0/, 'ORA-00942: table or view does not exist');
    const grants = (await remote.preflight([])).filter(({ code }) => code === 'grant').map(({ message }) => message);
    expect(grants).toEqual([
      expect.stringContaining('GRANT SELECT ON SYS.V_$ARCHIVED_LOG'),
      expect.stringContaining('GRANT SELECT ON SYS.V_$LOGMNR_CONTENTS'),
      expect.stringContaining('GRANT LOGMINING'),
    ]);
    servers.delete('MINES2');
    mining.close();
  });

  test('a service that is not there; no service; a mining database that is missing; client libraries that are not there', async () => {
    ground = await oracleGround();
    await expect(ground.open({ db: 'NOWHERE' })).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('NOWHERE'),
    });
    await expect(ground.open({ db: 'sid:NOWHERE' })).rejects.toMatchObject({ name: 'Misconfigured' });
    await expect(ground.open({ db: '' })).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('db'),
    });
    await expect(ground.open({ db: 'a)(b' })).rejects.toMatchObject({ name: 'Misconfigured' });
    await expect(ground.open({ type: 'rds.oracle11lmrm' })).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('mining_host'),
    });
    await expect(ground.open({ thick_client: '/nowhere' })).rejects.toMatchObject({
      name: 'Misconfigured',
      action: expect.stringContaining('libclntsh'),
    });
    await expect(ground.open({ type: 'rds.oracle11lmp' })).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('pluggable'),
    });
  });

  test('preflight: log mode, supplemental logging, grants, the root, by table', async () => {
    ground = await oracleGround({
      logMode: 'NOARCHIVELOG',
      supplementalMin: 'NO',
      supplementalAll: 'NO',
      privileges: [],
      container: 'CDB$ROOT',
      containerId: 1,
    });
    const { server, source } = ground;
    server.sql('create table t (id int primary key)');
    server.fail(/from v\$thread where 1 = 0/, 'ORA-00942: table or view does not exist');
    server.fail(/as of scn/, 'ORA-01031: insufficient privileges');
    const found = await source.preflight([
      { schema: 'main', name: 't' },
      { schema: 'main', name: 'gone' },
    ]);
    const said = new Map(found.map((one) => [`${one.code} ${one.table?.name ?? ''}`.trim(), one.message]));
    expect(said.get('archivelog')).toContain('ALTER DATABASE ARCHIVELOG');
    expect(said.get('supplemental_log')).toContain('ALTER DATABASE ADD SUPPLEMENTAL LOG DATA');
    expect(said.get('supplemental_log t')).toContain('ALTER TABLE "main"."t" ADD SUPPLEMENTAL LOG DATA (ALL) COLUMNS');
    expect(said.get('grant t')).toContain('GRANT FLASHBACK ON "main"."t"');
    expect(said.get('table gone')).toContain('GRANT SELECT');
    expect(said.get('pdb')).toContain('Set `pdb`');
    expect(
      found
        .filter((one) => one.code === 'grant')
        .map((one) => one.message)
        .join(),
    ).toMatch(/V_\$THREAD.*GRANT LOGMINING/s);
    server.sql("insert into cat.all_log_groups values ('main', 't', 'ALL COLUMN LOGGING')");
    expect((await source.preflight([{ schema: 'main', name: 't' }])).filter((one) => one.table)).toEqual([]);
  });

  test('full extracts need no log at all', async () => {
    ground = await oracleGround(
      { logMode: 'NOARCHIVELOG', supplementalMin: 'NO', privileges: [] },
      { type: 'rds.oraclefem' },
    );
    expect((await ground.source.preflight([])).filter((one) => one.severity === 'error')).toEqual([]);
    expect(ground.source.capture).toBeUndefined();
    expect(await ground.source.written()).toBe('');
  });

  test('every code of the Log Miner opens', async () => {
    for (const { code, capture } of sourceCodes) {
      if (!code.startsWith('rds.oracle')) continue;
      const made = await oracleGround(
        { container: 'SHOP', containerId: 3 },
        { type: code, mining_host: code.endsWith('rm') ? 'm' : '' },
      );
      expect(made.source.capture === undefined).toBe(capture === 'none');
      expect(made.source.database).toBe('SHOP');
      await made[Symbol.asyncDispose]();
    }
  });
});

describe('timestamps as cursors (rds.oraclets)', () => {
  const stamp = (ms: number) => ` ${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}`;

  test('rows with a newer time come, again within the overlap; a table needs a cursor; DDL loads it again', async () => {
    const made = await oracleGround({ logMode: 'NOARCHIVELOG' }, { type: 'rds.oraclets', cursor_overlap: '60' });
    ground = made;
    const { server, source } = made;
    server.sql('create table "T" (id NUMBER(9) not null, v VARCHAR2(20), changed DATE, primary key (id))');
    const now = Date.now();
    for (const [id, age] of [
      [1, 7200_000],
      [2, 30_000],
      [3, 0],
    ] as const)
      server.sql(`insert into "T" values (${id}, 'old', '${stamp(now - age)}')`);
    await expect(made.table('T')).rejects.toThrow(/no column that is known to tell/);
    await expect(made.table('T', { cursor: ['v'] })).rejects.toThrow(/neither a date with time/);
    const options = { cursor: ['changed'] };
    const table = await made.table('T', options);
    expect(table.warnings.join()).toContain('Deleted rows');
    expect((await source.preflight([table.ref])).filter((one) => one.severity === 'error')).toEqual([]);
    const { position } = await begin(source);
    const copy = await snapshot(source, table);
    server.sql(
      `update "T" set v = 'new', changed = '${stamp(Date.now() + 1000)}' where id = 1`,
      `insert into "T" values (4, 'x', '${stamp(Date.now())}')`,
    );
    const first = await follow(source, position, [table], { options });
    expect(
      first.events
        .filter(isRow)
        .map((event) => event.key)
        .sort(),
    ).toEqual(['1', '2', '3', '4']);
    await applyTo(copy, source, table, first.events);
    expect(copy).toEqual(await snapshot(source, table));
    expect(source.reached(first.position, position)).toBe(true);
    expect(source.reached(position, first.position)).toBe(position === first.position);
    server.sql('alter table "T" add w int');
    const second = await follow(source, first.position, [table], { options });
    expect(second.events.filter((event) => event.kind === 'structure')).toMatchObject([{ table: 0, now: null }]);
    expect(second.events.filter(isRow)).toEqual([]);
  });
});

describe('undo that is gone', () => {
  test.each([
    ['id int primary key', true],
    ['id varchar(10) primary key', false],
  ])('%s', async (column, replaced) => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql(`create table t (${column}, pad varchar(100))`);
    server.sql(
      `insert into t values ${Array.from({ length: 3000 }, (_, i) => `('${i}', '${'p'.repeat(90)}')`).join(', ')}`,
    );
    const table = await ground.table('t');
    const split = await source.split(table, undefined, 50_000);
    expect([split.ranges.length > 3, split.replace]).toEqual([true, replaced]);
    // In the middle of a range, after rows have been given out.
    server.fail(
      /^fetch 1?0* ?of select "id".*as of scn/,
      'ORA-01555: snapshot too old: rollback segment number 3 with name "x" too small',
    );
    const rows = new Set<string>();
    const all = async () => {
      for (const range of split.ranges)
        for await (const batch of source.read(table, undefined, range, new AbortController().signal))
          for (const line of Buffer.from(batch.data).toString().split('\n'))
            if (line !== '') rows.add(line.split('\t')[0] as string);
    };
    if (!replaced) {
      await expect(all()).rejects.toMatchObject({
        name: 'StructureChanged',
        action: expect.stringContaining('UNDO_RETENTION'),
      });
      return;
    }
    await all();
    expect(rows.size).toBe(3000);
    expect(server.failures).toEqual([]);
  });

  test('a condition that the server refuses, by whatever number, is the fault of its table', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id NUMBER(5) primary key)');
    const ask = (where: string) => ({ ref: { schema: 'main', name: 't' }, options: { where } });
    server.fail(/id like/, 'ORA-00920: invalid relational operator');
    expect(await source.describe([ask('id like'), ask('id < 5')])).toMatchObject([
      { error: { class: 'Misconfigured', message: expect.stringContaining('ORA-00920') } },
      { table: { key: ['id'] } },
    ]);
    // What is the server's own trouble fails without the condition, too.
    for (const pattern of [/id like/, /1 = 0/]) server.fail(pattern, 'ORA-00018: maximum number of sessions exceeded');
    await expect(source.describe([ask('id like')])).rejects.toMatchObject({ name: 'Error' });
  });

  test('a row that a view can not compute with is an error of its table', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id NUMBER(5) primary key)');
    server.sql('insert into t values (1)');
    const table = await ground.table('t');
    server.fail(/from .*"t"/i, 'ORA-01476: divisor is equal to zero');
    const { ranges } = await source.split(table, undefined, 1_000_000);
    const read = source.read(table, undefined, ranges[0] as string, new AbortController().signal);
    await expect(read.next()).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringContaining('ORA-01476'),
    });
  });

  test('ranges are of one moment, whatever happens meanwhile', async () => {
    ground = await oracleGround();
    const { server, source } = ground;
    server.sql('create table t (id varchar(10) primary key, v int)');
    server.sql(`insert into t values ${Array.from({ length: 2000 }, (_, i) => `('${i}', 0)`).join(', ')}`);
    const table = await ground.table('t');
    const split = await source.split(table, undefined, 1_200);
    expect(split.ranges.length).toBeGreaterThan(3);
    const read: string[] = [];
    for (const range of split.ranges) {
      server.sql(
        'update t set v = v + 1',
        "delete from t where id like '%7'",
        "insert or ignore into t select 'n' || id, 5 from t where id like '%11'",
      );
      for await (const batch of source.read(table, undefined, range, new AbortController().signal))
        read.push(...Buffer.from(batch.data).toString().trim().split('\n'));
    }
    expect(read.sort()).toEqual(Array.from({ length: 2000 }, (_, i) => `${i}\t0`).sort());
  });
});

test('tables that LogMiner does not show are copied whole, with the reason; temporary ones not at all', async () => {
  ground = await oracleGround();
  const { server, source } = ground;
  const long = 'a_name_of_more_than_thirty_bytes';
  for (const name of ['iot', 'ext', long, 'temp', 'plain']) server.sql(`create table ${name} (id int primary key)`);
  server.query("update cat.all_tables set iot_type = 'IOT' where table_name = 'iot'", []);
  server.query("update cat.all_tables set temporary = 'Y' where table_name = 'temp'", []);
  server.query("insert into cat.all_external_tables values ('main', 'ext')", []);
  for (const [name, reason] of [
    ['iot', /index-organized/],
    ['ext', /external/],
    [long, /longer than 30 bytes/],
  ] as const) {
    const table = await ground.table(name);
    expect([table.key, table.warnings.join()]).toEqual([[], expect.stringMatching(reason)]);
    await expect(ground.table(name, { key: ['id'] })).rejects.toThrow(reason);
    expect((await source.split(table, undefined, 1)).ranges).toHaveLength(1);
  }
  expect((await ground.table('plain')).key).toEqual(['id']);
  await expect(ground.table('temp')).rejects.toThrow(/temporary/);
});

test('a number that the destination would round is an error that names its row', async () => {
  ground = await oracleGround();
  ground.server.sql('create table "N" (id NUMBER(5) not null, n NUMBER, primary key (id))');
  ground.server.sql(`insert into "N" values (1, '0.${'1'.repeat(30)}'), (2, '0.${'1'.repeat(31)}')`);
  await expect(readAll(ground.source, await ground.table('N'))).rejects.toMatchObject({
    name: 'UnsupportedValue',
    message: expect.stringMatching(/"n" \(id=2\)/),
  });
});

describe('texts', () => {
  test.each([
    ['.5', '0.5'],
    ['-.50', '-0.5'],
    ['1E+3', '1000'],
    ['1.25E-3', '0.00125'],
    ['-0', '0'],
    ['0.0', '0'],
    ['007', '7'],
    ['12300E-2', '123'],
    [`1${'0'.repeat(39)}`, `1${'0'.repeat(39)}`],
  ])('NUMBER %s is %s', (given, expected) => expect(numberText(given)).toBe(expected));

  test('a NUMBER has one text, however it is printed', () => {
    const digits = fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n });
    fc.assert(
      fc.property(digits, fc.integer({ min: -40, max: 40 }), (number, exponent) => {
        const plain = numberText(`${number}E${exponent}`);
        expect(numberText(plain)).toBe(plain);
        expect(numberText(`${number}0E${exponent - 1}`)).toBe(plain);
        expect(plain).toMatch(/^-?(0|[1-9]\d*)(\.\d*[1-9])?$/);
        const [whole = '', fraction = ''] = plain.split('.');
        const scaled = BigInt(`${whole}${fraction}`.replace(/^-0*(?=\d)/, '-')) * 10n ** 80n;
        expect(scaled).toBe(number * 10n ** BigInt(80 + exponent + fraction.length));
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    [' 2020-01-02 03:04:05.100000000 +05:30', '2020-01-01 21:34:05.1'],
    ['2020-01-02 03:04:05. -01:00', '2020-01-02 04:04:05'],
    ['-0001-12-31 23:30:00 -01:00', '0001-01-01 00:30:00'],
    [' 0001-01-01 00:30:00 +01:00', '-0001-12-31 23:30:00'],
    ['-4712-01-01', '-4712-01-01 00:00:00'],
  ])('%s is %s', (given, expected) => expect(momentText(parseMoment(given))).toBe(expected));

  test.each([
    ['+02-03', '+2-03'],
    ['-99-11', '-99-11'],
    ['0-0', '+0-00'],
  ])('%s', (given, expected) => expect(yearsText(given)).toBe(expected));
  test.each([
    ['+05 04:03:02.500000', '+5 04:03:02.5'],
    ['-00 00:00:00.000000', '-0 00:00:00'],
  ])('%s', (given, expected) => expect(daysText(given)).toBe(expected));

  const column: CatalogColumn = {
    name: 'C',
    word: '',
    owner: '',
    chars: 0,
    bytes: 0,
    charUsed: '',
    precision: null,
    scale: null,
    nullable: true,
    virtual: false,
  };
  test.each<[Partial<CatalogColumn>, string, unknown]>([
    [{ word: 'NUMBER' }, 'NUMBER', { kind: 'decimal', precision: 65, scale: 30 }],
    [{ word: 'NUMBER', scale: 0 }, 'NUMBER(*,0)', { kind: 'decimal', precision: 38, scale: 0 }],
    [{ word: 'NUMBER', precision: 9, scale: 0 }, 'NUMBER(9)', { kind: 'int', bytes: 4, unsigned: false }],
    [{ word: 'NUMBER', precision: 19, scale: 0 }, 'NUMBER(19)', { kind: 'decimal', precision: 19, scale: 0 }],
    [{ word: 'NUMBER', precision: 3, scale: 5 }, 'NUMBER(3,5)', { kind: 'decimal', precision: 5, scale: 5 }],
    [{ word: 'NUMBER', precision: 3, scale: -2 }, 'NUMBER(3,-2)', { kind: 'decimal', precision: 5, scale: 0 }],
    [{ word: 'NUMBER', precision: 38, scale: -84 }, 'NUMBER(38,-84)', { kind: 'varchar', length: 170 }],
    [{ word: 'VARCHAR2', chars: 20, bytes: 80, charUsed: 'C' }, 'VARCHAR2(20 CHAR)', { kind: 'varchar', length: 20 }],
    [
      { word: 'VARCHAR2', chars: 32767, bytes: 32767, charUsed: 'B' },
      'VARCHAR2(32767 BYTE) EXTENDED',
      { kind: 'text', size: 'medium' },
    ],
    [{ word: 'RAW', bytes: 2000 }, 'RAW(2000)', { kind: 'binary', length: 2000 }],
    [{ word: 'RAW', bytes: 32767 }, 'RAW(32767) EXTENDED', { kind: 'binary', length: 32767 }],
    [{ word: 'TIMESTAMP(9)' }, 'TIMESTAMP(9)', { kind: 'varchar', length: 30 }],
    [
      { word: 'TIMESTAMP(6) WITH LOCAL TIME ZONE' },
      'TIMESTAMP(6) WITH LOCAL TIME ZONE',
      { kind: 'datetime', fraction: 6 },
    ],
    [{ word: 'XMLTYPE', owner: 'SYS' }, 'XMLTYPE', { kind: 'text', size: 'long' }],
    [{ word: 'ADDRESS', owner: 'APP' }, 'APP.ADDRESS', expect.stringContaining('object type')],
    [{ word: 'BFILE' }, 'BFILE', expect.stringContaining('BFILE')],
    [{ word: 'DATE', virtual: true }, 'DATE', expect.stringContaining('virtual')],
  ])('%j', (given, name, type) => {
    expect(fullType({ ...column, ...given })).toBe(name);
    expect(columnType({ ...column, ...given })).toEqual(type);
  });
});
