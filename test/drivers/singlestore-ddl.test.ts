import { describe, expect, test } from 'vitest';
import type { Column, ColumnType, Table } from '../../src/drivers/model.ts';
import { controlDdl } from '../../src/drivers/singlestore/control.ts';
import { CONTROL } from '../../src/drivers/singlestore/control-tables.ts';
import { tableDdl } from '../../src/drivers/singlestore/ddl.ts';
import { dialectOf } from '../../src/drivers/singlestore/dialect.ts';
import { lint } from '../fakes/singlestore/rules.ts';

const NONE = { shard: undefined, sort: undefined };
const SINGLESTORE = dialectOf('SingleStore');
const MARIADB = dialectOf('MariaDB');

function column(name: string, type: ColumnType, nullable = true): Column {
  return { name, type, nullable, sourceType: 'test', masked: false };
}

function table(columns: readonly Column[], key: readonly string[]): Table {
  return {
    ref: { schema: 's', name: 't' },
    kind: 'table',
    columns,
    leftOut: [],
    key,
    textKey: false,
    approxRows: 0,
    approxBytes: 0,
    structure: '',
    storage: '',
    warnings: [],
  };
}

const EVERY: readonly Column[] = [
  column('i1', { kind: 'int', bytes: 1, unsigned: false }),
  column('i2', { kind: 'int', bytes: 2, unsigned: true }),
  column('i4', { kind: 'int', bytes: 4, unsigned: false }),
  column('i8', { kind: 'int', bytes: 8, unsigned: true }, false),
  column('d', { kind: 'decimal', precision: 65, scale: 30 }),
  column('f', { kind: 'float' }),
  column('g', { kind: 'double' }),
  column('c', { kind: 'char', length: 3 }),
  column('v', { kind: 'varchar', length: 20 }),
  column('t', { kind: 'text', size: 'tiny' }),
  column('u', { kind: 'text', size: 'normal' }),
  column('m', { kind: 'text', size: 'medium' }),
  column('l', { kind: 'text', size: 'long' }),
  column('b', { kind: 'binary', length: 16 }),
  column('x', { kind: 'blob', size: 'long' }),
  column('dt', { kind: 'date' }),
  column('t0', { kind: 'time', fraction: 0 }),
  column('t6', { kind: 'time', fraction: 6 }),
  column('s0', { kind: 'datetime', fraction: 0 }),
  column('s6', { kind: 'datetime', fraction: 6 }),
  column('y', { kind: 'year' }),
  column('j', { kind: 'json' }),
];

const COLUMNS = [
  '  `i1` tinyint null,',
  '  `i2` smallint unsigned null,',
  '  `i4` int null,',
  '  `i8` bigint unsigned not null,',
  '  `d` decimal(65,30) null,',
  '  `f` float null,',
  '  `g` double null,',
  '  `c` char(3) character set utf8mb4 null,',
  '  `v` varchar(20) character set utf8mb4 null,',
  '  `t` tinytext character set utf8mb4 null,',
  '  `u` text character set utf8mb4 null,',
  '  `m` mediumtext character set utf8mb4 null,',
  '  `l` longtext character set utf8mb4 null,',
  '  `b` varbinary(16) null,',
  '  `x` longblob null,',
  '  `dt` date null,',
  '  `t0` time null,',
  '  `t6` time(6) null,',
  '  `s0` datetime null,',
  '  `s6` datetime(6) null,',
  '  `y` year null,',
  '  `j` json null,',
].join('\n');

describe('DDL of a copied table', () => {
  test('every type, on SingleStore', () => {
    const ddl = tableDdl(SINGLESTORE, 'db', 't', table(EVERY, ['i8']), NONE);
    expect(ddl).toBe(`create table \`db\`.\`t\` (\n${COLUMNS}\n  primary key (\`i8\`),\n  shard key (\`i8\`)\n)`);
    expect(lint(ddl)).toBeNull();
  });

  test('every type, on MariaDB', () => {
    const ddl = tableDdl(MARIADB, 'db', 't', table(EVERY, ['i8']), NONE);
    expect(ddl).toBe(`create table \`db\`.\`t\` (\n${COLUMNS}\n  primary key (\`i8\`)\n)`);
  });

  test('string keys compare bytewise and are never null; names are quoted', () => {
    const keyed = table(
      [column('a`b', { kind: 'varchar', length: 5 }), column('n', EVERY[0]?.type as ColumnType)],
      ['n', 'a`b'],
    );
    const lines = (collation: string, keys: string) =>
      `create table \`d\`\`b\`.\`t\` (\n  \`a\`\`b\` varchar(5) character set utf8mb4 collate ${collation} not null,\n  \`n\` tinyint not null,\n${keys}\n)`;
    const single = tableDdl(SINGLESTORE, 'd`b', 't', keyed, NONE);
    expect(single).toBe(lines('utf8mb4_bin', '  primary key (`n`, `a``b`),\n  shard key (`n`, `a``b`)'));
    expect(lint(single)).toBeNull();
    expect(tableDdl(MARIADB, 'd`b', 't', keyed, NONE)).toBe(lines('utf8mb4_nopad_bin', '  primary key (`n`, `a``b`)'));
    expect(tableDdl(dialectOf('MySQL'), 'd`b', 't', keyed, NONE)).toBe(
      lines('utf8mb4_0900_bin', '  primary key (`n`, `a``b`)'),
    );
  });

  test('a keyless table is sharded without a key', () => {
    const keyless = table([column('n', EVERY[0]?.type as ColumnType)], []);
    const ddl = tableDdl(SINGLESTORE, 'db', 't', keyless, NONE);
    expect(ddl).toBe('create table `db`.`t` (\n  `n` tinyint null,\n  shard key ()\n)');
    expect(lint(ddl)).toBeNull();
    expect(tableDdl(MARIADB, 'db', 't', keyless, NONE)).toBe('create table `db`.`t` (\n  `n` tinyint null\n)');
  });

  test('keys that the destination cannot hold are refused with what to do', () => {
    for (const [type, words] of [
      [{ kind: 'double' }, 'DOUBLE'],
      [{ kind: 'text', size: 'long' }, 'no length'],
      [{ kind: 'json' }, 'no length'],
      [{ kind: 'blob', size: 'normal' }, 'no length'],
    ] as const)
      expect(() => tableDdl(SINGLESTORE, 'db', 't', table([column('k', type)], ['k']), NONE)).toThrow(words);
    expect(() => tableDdl(SINGLESTORE, 'db', 't', table([column('k', { kind: 'date' })], ['gone']), NONE)).toThrow(
      'not copied',
    );
    const long = table([column('k', { kind: 'varchar', length: 1000 })], ['k']);
    expect(() => tableDdl(MARIADB, 'db', 't', long, NONE)).toThrow('3072');
    expect(tableDdl(SINGLESTORE, 'db', 't', long, NONE)).toContain('varchar(1000)');
  });

  test('MariaDB: only as many of the largest strings become TEXT as the row needs, never the key', () => {
    const wide = table(
      [
        column('k', { kind: 'varchar', length: 700 }, false),
        column('small', { kind: 'varchar', length: 1000 }),
        column('large', { kind: 'varchar', length: 16_000 }),
        column('bytes', { kind: 'binary', length: 50_000 }),
      ],
      ['k'],
    );
    const ddl = tableDdl(MARIADB, 'db', 't', wide, NONE);
    expect(ddl).toContain('`k` varchar(700)');
    expect(ddl).toContain('`small` varchar(1000)');
    expect(ddl).toContain('`large` text character set utf8mb4 null');
    expect(ddl).toContain('`bytes` varbinary(50000)');
    expect(tableDdl(SINGLESTORE, 'db', 't', wide, NONE)).toContain('`large` varchar(16000)');
    expect(tableDdl(MARIADB, 'db', 't', table([column('v', { kind: 'varchar', length: 20_000 })], []), NONE)).toContain(
      '`v` mediumtext',
    );
  });
});

describe('shard and sort keys of a table that is replaced', () => {
  const show = [
    'CREATE TABLE `t` (',
    '  `id` bigint(20) NOT NULL,',
    '  `re``gion (x)` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,',
    '  `at` datetime(6) DEFAULT NULL,',
    '  UNIQUE KEY `PRIMARY` (`id`,`re``gion (x)`) USING HASH,',
    '  SHARD KEY `by region` (`re``gion (x)`),',
    '  SORT KEY `__SORT` (`at` DESC, `id`)',
    ") AUTOSTATS_CARDINALITY_MODE=INCREMENTAL SQL_MODE='STRICT_ALL_TABLES'",
  ].join('\n');
  const columns = [
    column('id', EVERY[3]?.type as ColumnType, false),
    column('re`gion (x)', { kind: 'varchar', length: 9 }, false),
    column('at', { kind: 'datetime', fraction: 6 }),
  ];

  test('are read and kept', () => {
    const layout = SINGLESTORE.layoutOf(show);
    expect(layout).toEqual({ shard: ['`re``gion (x)`'], sort: ['`at` desc', '`id`'] });
    const ddl = tableDdl(SINGLESTORE, 'db', 't', table(columns, ['id', 're`gion (x)']), layout);
    expect(ddl).toContain('  shard key (`re``gion (x)`),\n  sort key (`at` desc, `id`)\n');
    expect(lint(ddl)).toBeNull();
  });

  test('are dropped where the new key or columns do not allow them', () => {
    const ddl = tableDdl(SINGLESTORE, 'db', 't', table(columns.slice(0, 2), ['id']), SINGLESTORE.layoutOf(show));
    expect(ddl).toContain('  shard key (`id`)\n)');
  });

  test('other spellings', () => {
    expect(
      SINGLESTORE.layoutOf(
        'CREATE TABLE `t` (\n  `a` int,\n  KEY `k` (`a`) USING CLUSTERED COLUMNSTORE,\n  SHARD KEY ()\n)',
      ),
    ).toEqual({ shard: [], sort: ['`a`'] });
    expect(SINGLESTORE.layoutOf('CREATE TABLE `t` (\n  `a` int,\n  KEY `k` (`a`)\n)')).toEqual({
      shard: undefined,
      sort: undefined,
    });
    expect(MARIADB.layoutOf(show)).toEqual({ shard: undefined, sort: undefined });
  });
});

describe('control tables', () => {
  test.each(Object.keys(CONTROL))('%s would be taken by SingleStore', (name) => {
    expect(lint(controlDdl(SINGLESTORE, 'db', name))).toBeNull();
  });

  test('the checkpoint table as it is made on both', () => {
    const lines = (collation: string) =>
      [
        `  \`pipeline\` varchar(100) character set utf8mb4 collate ${collation} not null,`,
        '  `scope` bigint not null,',
        '  `run` bigint not null default 0,',
        '  `token` bigint not null default 0,',
        `  \`owner\` varchar(100) character set utf8mb4 collate ${collation} not null default '',`,
        '  `seq` bigint not null default 0,',
        `  \`position\` longtext character set utf8mb4 collate ${collation} null,`,
        '  `ordinal` bigint not null default 0,',
        `  \`slot\` varchar(255) character set utf8mb4 collate ${collation} not null default '',`,
        `  \`identity\` longtext character set utf8mb4 collate ${collation} null,`,
        `  \`connections\` longtext character set utf8mb4 collate ${collation} null,`,
        `  \`part\` varchar(100) character set utf8mb4 collate ${collation} not null default '',`,
        `  \`part_until\` longtext character set utf8mb4 collate ${collation} null,`,
        '  primary key (`pipeline`, `scope`)',
      ].join('\n');
    expect(controlDdl(SINGLESTORE, 'db', '_flow_checkpoints')).toBe(
      `create rowstore table if not exists \`db\`.\`_flow_checkpoints\` (\n${lines('utf8mb4_bin')},\n  shard key (\`pipeline\`, \`scope\`)\n)`,
    );
    expect(controlDdl(MARIADB, 'db', '_flow_checkpoints')).toBe(
      `create table if not exists \`db\`.\`_flow_checkpoints\` (\n${lines('utf8mb4_nopad_bin')}\n)`,
    );
  });

  // Stored at the destination: this list may only grow.
  test('keep the columns that are stored already', () => {
    const stored = Object.entries(CONTROL).map(([name, { columns }]) => `${name}: ${Object.keys(columns).join(' ')}`);
    expect(stored).toEqual(
      expect.arrayContaining([
        '_flow_checkpoints: pipeline scope run token owner seq position ordinal slot identity connections part part_until',
        '_flow_chunks: table_id load_number chunk token state cut rows_sent bytes_sent rows_parked rules',
        '_flow_journal: table_id pipeline run load_number step target_table',
      ]),
    );
  });
});
