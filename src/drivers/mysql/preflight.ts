import { isPermanent } from '../errors.ts';
import type { Finding, TableRef } from '../model.ts';
import { readTables, sameName } from './catalog.ts';
import { type Connection, tolerate } from './connection.ts';
import { replicaLag } from './cursor.ts';
import { errorNumber } from './errors.ts';
import type { MysqlOptions } from './options.ts';
import { logStatus } from './position.ts';
import { globalVariables, retentionSeconds, type Settings } from './retention.ts';
import { quoteName, quoteText } from './types.ts';

/** Everything at the source that would make an extract or later change capture fail. Changes nothing. */
export async function preflight(
  connection: Connection,
  options: MysqlOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  const findings = oldServer(connection);
  const log = options.capture === 'log';
  if (log) {
    const settings = await globalVariables(connection);
    findings.push(...logSettings(connection, settings));
    if (isOn(settings.get('log_bin'))) findings.push(...(await relayed(connection, settings)));
    if (isOn(settings.get('log_bin'))) findings.push(...(await logRights(connection, settings, tables)));
    findings.push(...(await cascades(connection, options, tables)));
  }
  if (options.capture === 'cursor') findings.push(...(await replicaLag(connection)));
  findings.push(...(await tableRights(connection, tables)), ...(await engines(connection, tables)));
  return findings;
}

const error = (code: string, message: string, table?: TableRef): Finding =>
  table ? { severity: 'error', code, message, table } : { severity: 'error', code, message };
const warning = (code: string, message: string, table?: TableRef): Finding =>
  table ? { severity: 'warning', code, message, table } : { severity: 'warning', code, message };

function oldServer({ facts }: Connection): Finding[] {
  if (facts.product === 'MySQL' && facts.number < 50_503)
    return [
      warning(
        'version',
        `MySQL ${facts.version} has no utf8mb4 and prints DOUBLE with 15 digits: doubles that need 17 are not copied exactly.`,
      ),
    ];
  const least = facts.product === 'MySQL' ? 50_700 : 100_300;
  if (facts.number >= least) return [];
  const named = facts.product === 'MySQL' ? 'MySQL 5.7' : 'MariaDB 10.3';
  return [
    warning(
      'version',
      `${facts.product} ${facts.version} is older than ${named}, from which on every feature is tested.`,
    ),
  ];
}

function logSettings({ facts }: Connection, settings: Settings): Finding[] {
  const found: Finding[] = [];
  const value = (name: string) => settings.get(name) ?? '';
  if (!isOn(settings.get('log_bin')))
    return [
      error(
        'log_bin',
        'The source writes no binary log, which change capture needs. Set log_bin and server_id in its configuration and restart it, or set `capture` to none for full extracts only.',
      ),
    ];
  if (value('server_id') === '0')
    found.push(
      error('server_id', 'server_id is 0 at the source: SET GLOBAL server_id = 1 (and in its configuration).'),
    );
  if (settings.has('binlog_format') && value('binlog_format').toUpperCase() !== 'ROW')
    found.push(
      error(
        'binlog_format',
        `binlog_format is ${value('binlog_format')}: SET GLOBAL binlog_format = 'ROW' (and in its configuration), then reconnect all writers.`,
      ),
    );
  if (settings.has('binlog_row_image') && value('binlog_row_image').toUpperCase() !== 'FULL')
    found.push(
      error(
        'binlog_row_image',
        `binlog_row_image is ${value('binlog_row_image')}: SET GLOBAL binlog_row_image = 'FULL' (and in its configuration), then reconnect all writers.`,
      ),
    );
  if (/PARTIAL_JSON/i.test(value('binlog_row_value_options')))
    found.push(
      error(
        'binlog_row_value_options',
        "binlog_row_value_options holds PARTIAL_JSON: SET GLOBAL binlog_row_value_options = '' (and in its configuration), then reconnect all writers.",
      ),
    );
  if (!settings.has('binlog_row_metadata'))
    found.push(
      warning(
        'binlog_row_metadata',
        `${facts.product} ${facts.version} writes no column names to its log: after DDL on a table it is loaded again.`,
      ),
    );
  else if (value('binlog_row_metadata').toUpperCase() !== 'FULL')
    found.push(
      warning(
        'binlog_row_metadata',
        "binlog_row_metadata is not FULL: SET GLOBAL binlog_row_metadata = 'FULL' (and in its configuration), else a table is loaded again after DDL on it.",
      ),
    );
  if (facts.product === 'MySQL' && value('gtid_mode').toUpperCase() !== 'ON')
    found.push(
      warning(
        'gtid_mode',
        `${settings.has('gtid_mode') ? 'gtid_mode is not ON' : 'This version has no GTIDs'}: a load begins with a short global read lock, and a change of the source server means loading again.${settings.has('gtid_mode') ? ' Turn on gtid_mode and enforce_gtid_consistency if you can.' : ''}`,
      ),
    );
  const seconds = retentionSeconds(settings);
  const hours = Math.floor((seconds ?? 0) / 3600);
  if (seconds !== null && hours < 24)
    found.push(
      warning(
        'retention',
        `The source deletes its log after ${hours} h. A load or a pause that takes longer means loading again: raise ${settings.has('binlog_expire_logs_seconds') ? 'binlog_expire_logs_seconds' : 'expire_logs_days'}.`,
      ),
    );
  return found;
}

/** A replica that does not log what it takes over shows its readers nothing of it. */
async function relayed(connection: Connection, settings: Settings): Promise<Finding[]> {
  const name = settings.has('log_replica_updates') ? 'log_replica_updates' : 'log_slave_updates';
  if (!settings.has(name) || isOn(settings.get(name))) return [];
  const { product, number } = connection.facts;
  const status = product === 'MySQL' && number >= 80_022 ? 'show replica status' : 'show slave status';
  const rows = await tolerate(connection.query(status), [1227]);
  if (!rows || rows.length === 0) return [];
  return [
    error(
      'log_replica_updates',
      `The source is a replica that does not log the changes it replicates: set ${name} = ON in its configuration and restart it, or follow its primary.`,
    ),
  ];
}

async function logRights(connection: Connection, settings: Settings, tables: readonly TableRef[]): Promise<Finding[]> {
  const { product, number } = connection.facts;
  const found: Finding[] = [];
  const status = await tolerate(logStatus(connection), [1227]);
  const monitor = product === 'MariaDB' && number >= 100_502 ? 'BINLOG MONITOR' : 'REPLICATION CLIENT';
  if (!status)
    found.push(error('grant', `The source user may not read the state of the log: GRANT ${monitor} ON *.* TO <user>.`));
  else found.push(...filteredSchemas(connection, status[0]?.[2] ?? '', status[0]?.[3] ?? '', tables));
  const grants = await grantTexts(connection);
  const has = (privilege: RegExp) => grants.some((grant) => / ON \*\.\* /i.test(grant) && privilege.test(grant));
  const all = has(/^GRANT ALL PRIVILEGES /i);
  if (!all && !has(/\bREPLICATION (SLAVE|REPLICA)\b(?! ADMIN)/i))
    found.push(error('grant', 'The source user may not read the log: GRANT REPLICATION SLAVE ON *.* TO <user>.'));
  const locks = product === 'MySQL' && settings.get('gtid_mode')?.toUpperCase() !== 'ON';
  if (
    locks &&
    !all &&
    !has(/\bRELOAD\b/i) &&
    !grants.some((grant) => /\bLOCK TABLES\b|GRANT ALL PRIVILEGES/i.test(grant))
  )
    found.push(
      error(
        'grant',
        'Without GTIDs a load begins under a read lock: GRANT RELOAD ON *.* TO <user>, or LOCK TABLES on the databases of the selected tables.',
      ),
    );
  return found;
}

/** What SHOW GRANTS says, with the privileges of the user's active roles. */
async function grantTexts(connection: Connection): Promise<string[]> {
  const { product, number } = connection.facts;
  const own = await connection.query('show grants');
  const lists = [own];
  if (product === 'MariaDB')
    lists.push((await tolerate(connection.query('show grants for current_role'), [1141, 1959, 1064])) ?? []);
  else if (number >= 80_000) {
    const [row] = await connection.query('select current_role()');
    if (row?.[0] && row[0] !== 'NONE')
      lists.push(await connection.query(`show grants for current_user() using ${row[0]}`));
  }
  return lists.flat().map((row) => row[0] ?? '');
}

function filteredSchemas({ facts }: Connection, only: string, not: string, tables: readonly TableRef[]): Finding[] {
  const names = (list: string) =>
    list
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
  const [logged, ignored] = [names(only), names(not)];
  const lost = (schema: string) =>
    (logged.length > 0 && !logged.some((name) => sameName(facts, name, schema))) ||
    ignored.some((name) => sameName(facts, name, schema));
  return tables
    .filter((table) => lost(table.schema))
    .map((table) =>
      error(
        'binlog_filter',
        `The log leaves out the database ${table.schema}: take it out of binlog_ignore_db, or add it to binlog_do_db, and restart the source.`,
        table,
      ),
    );
}

/** Children of cascading foreign keys, whose rows change below the log. Their parents must be followed together with them. */
async function cascades(
  connection: Connection,
  { cascade }: MysqlOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  const { facts } = connection;
  const found: Finding[] = [];
  for (const [index, catalog] of (await readTables(connection, tables)).entries()) {
    const ref = tables[index] as TableRef;
    if (!catalog || catalog.cascades.length === 0) continue;
    const keys = catalog.cascades.map((one) => one.name).join(', ');
    const where = `Foreign keys of ${ref.schema}.${ref.name} (${keys}) change or delete its rows (CASCADE, SET NULL), and this server does not log that.`;
    if (cascade === 'refuse') {
      found.push(
        warning(
          'cascade',
          `${where} Deltas of the table need \`cascade\` = reload, or the keys without these actions.`,
          ref,
        ),
      );
      continue;
    }
    const missing = catalog.cascades
      .map(({ parent }) => parent)
      .filter(
        (parent) =>
          !tables.some((one) => sameName(facts, one.schema, parent.schema) && sameName(facts, one.name, parent.name)),
      );
    if (missing.length > 0)
      found.push(
        error(
          'cascade',
          `${where} Load it together with ${[...new Set(missing.map((one) => `${one.schema}.${one.name}`))].join(', ')}: select these tables, and set \`redoInitial\` of those that are there already.`,
          ref,
        ),
      );
  }
  return found;
}

/** Reads no row: the server checks the rights on every column before it finds that none can match. */
async function tableRights(connection: Connection, tables: readonly TableRef[]): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const ref of tables) {
    try {
      await connection.query(`select * from ${quoteName(ref.schema)}.${quoteName(ref.name)} where false`);
    } catch (problem) {
      const where = `${quoteName(ref.schema)}.${quoteName(ref.name)}`;
      if (errorNumber(problem) === NO_SUCH_TABLE)
        found.push(error('table', `There is no table ${where} at the source: check the name, or deselect it.`, ref));
      else if (isPermanent(problem))
        found.push(
          error(
            'grant',
            `The source user may not read ${where} or a column of it (${problem.message}): GRANT SELECT ON ${where} TO <user>.`,
            ref,
          ),
        );
      else throw problem;
    }
  }
  return found;
}
const NO_SUCH_TABLE = 1146;

/** Tables whose engine has no transactions: a crash of the source may leave half of a statement in them. */
async function engines(connection: Connection, tables: readonly TableRef[]): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const [schema, refs] of Map.groupBy(tables, (table) => table.schema)) {
    const rows = await connection.query(
      `select TABLE_NAME, ENGINE from information_schema.TABLES where TABLE_SCHEMA = ${quoteText(schema)} and TABLE_TYPE = 'BASE TABLE'`,
    );
    const plain = rows.filter(
      ([, engine]) => engine !== null && !/^(innodb|ndbcluster|rocksdb|tokudb|xtradb)$/i.test(engine ?? ''),
    );
    for (const ref of refs) {
      const row = plain.find(([name]) => sameName(connection.facts, name ?? '', ref.name));
      if (row)
        found.push(
          warning(
            'engine',
            `${schema}.${ref.name} is a ${row[1]} table: its reads lock it, and a crash of the source may part it from the log. ALTER TABLE … ENGINE=InnoDB if you can.`,
            ref,
          ),
        );
    }
  }
  return found;
}

function isOn(value: string | undefined): boolean {
  return value === 'ON' || value === '1';
}
