import type { Finding } from '../model.ts';
import { isEncrypted, type Row, rows, type Session } from './connection.ts';
import type { Dialect } from './dialect.ts';
import { grantedRights, type Rights } from './grants.ts';
import type { Address } from './params.ts';
import type { Pool } from './pool.ts';
import { quote, sql } from './sql.ts';

/** What the driver uses in each destination database. */
const NEEDED = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER'] as const;
/** Below this, large cells are refused in the middle of a load. */
const SMALL_PACKET_BYTES = 64 * 1024 * 1024;

/** Everything that would make a load fail, found before it does. Changes nothing. */
export async function preflight(
  session: Session,
  pool: Pick<Pool, 'dialect' | 'address'>,
  version: string,
  databases: readonly string[],
): Promise<Finding[]> {
  return [
    ...checkVersion(pool.dialect, version),
    ...(await checkGrants(session, pool.dialect, databases)),
    ...(await checkSettings(session, pool.dialect, pool.address)),
  ];
}

function checkVersion(dialect: Dialect, version: string): Finding[] {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const least = { SingleStore: [7, 5], MariaDB: [10, 3], MySQL: [5, 7] }[dialect.product] as [number, number];
  if (major > least[0] || (major === least[0] && minor >= least[1])) return [];
  return [
    finding(
      'error',
      'version',
      `${dialect.product} ${version} is too old: ${least.join('.')} or newer is needed. Upgrade the destination.`,
    ),
  ];
}

async function checkGrants(session: Session, dialect: Dialect, databases: readonly string[]): Promise<Finding[]> {
  const shown = (await rows(session, 'show grants')).map((row) => String(Object.values(row)[0] ?? ''));
  const rights = grantedRights(shown);
  const findings: Finding[] = [];
  for (const database of databases) {
    const missing = NEEDED.filter((right) => !has(rights, right, database));
    if (missing.length === 0) continue;
    const user = String((await rows(session, 'select current_user() as who'))[0]?.['who'] ?? '');
    const at = user.lastIndexOf('@');
    const who = `'${user.slice(0, at)}'@'${user.slice(at + 1)}'`;
    findings.push(
      finding(
        'error',
        'grant',
        `The destination user lacks ${missing.join(', ')} on ${database}. Run: GRANT ${NEEDED.join(', ')} ON ${quote(database)}.* TO ${who}`,
      ),
    );
  }
  const [present] =
    databases.length === 0
      ? []
      : await rows(
          session,
          sql`select count(*) as [n] from information_schema.schemata where schema_name in (${databases})`,
        );
  const absent = databases.length > 0 && Number(present?.['n'] ?? 0) < databases.length;
  if (absent && dialect.product === 'SingleStore' && !has(rights, 'CREATE DATABASE', '') && !has(rights, 'CREATE', ''))
    findings.push(
      finding(
        'warning',
        'create_database',
        'A destination database does not exist, and the user may not be allowed to create it. Create it, or run: GRANT CREATE DATABASE ON *.* TO the user',
      ),
    );
  return findings;
}

async function checkSettings(session: Session, dialect: Dialect, address: Address): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (isOff(await variable(session, 'local_infile')))
    findings.push(
      finding(
        'error',
        'local_infile',
        'The destination refuses LOAD DATA LOCAL. Run there: SET GLOBAL local_infile = 1',
      ),
    );
  const readOnly = await Promise.all(
    ['read_only', 'super_read_only', 'innodb_read_only'].map((name) => variable(session, name)),
  );
  if (readOnly.some(isOn) && dialect.product !== 'SingleStore')
    findings.push(finding('error', 'read_only', 'The destination is read-only (a replica?). Use its primary server.'));
  if (
    (await variable(session, 'lower_case_table_names')) === '1' ||
    isOff(await variable(session, 'table_name_case_sensitivity'))
  )
    findings.push(
      finding(
        'error',
        'name_case',
        'The destination folds table names to lower case, so that copies would not keep their names. Use a server with lower_case_table_names = 0 (SingleStore: table_name_case_sensitivity = ON).',
      ),
    );
  if (!isEncrypted(session) && !isLoopback(address.host))
    findings.push(
      finding(
        'warning',
        'tls',
        'The connection to the destination is not encrypted. Turn TLS on there, and set `ssl_mode` to `require` or `verify_full`.',
      ),
    );
  const packet = Number((await variable(session, 'max_allowed_packet')) ?? Number.POSITIVE_INFINITY);
  if (packet < SMALL_PACKET_BYTES)
    findings.push(
      finding(
        'warning',
        'max_allowed_packet',
        `max_allowed_packet of the destination is ${Math.floor(packet / 1024 / 1024)} MB: larger cells are refused. Raise it to 64 MB or more if there may be such.`,
      ),
    );
  const level = await variable(session, 'data_conversion_compatibility_level');
  if (dialect.product === 'SingleStore' && level !== undefined && Number.parseFloat(level) < 8)
    findings.push(
      finding(
        'warning',
        'data_conversion_compatibility_level',
        `data_conversion_compatibility_level is ${level}: the destination may change values that do not fit without saying so. Run there: SET GLOBAL data_conversion_compatibility_level = '8.0'`,
      ),
    );
  const kind = await variable(session, 'default_table_type');
  if (dialect.product === 'SingleStore' && kind !== undefined && !/columnstore/i.test(kind))
    findings.push(
      finding(
        'warning',
        'default_table_type',
        `default_table_type is ${kind}: copies are made as rowstore tables, which live in memory. Run there: SET GLOBAL default_table_type = 'columnstore'`,
      ),
    );
  return findings;
}

/** A system variable; undefined where the server has none of that name. */
async function variable(session: Session, name: string): Promise<string | undefined> {
  const found: Row[] = await rows(session, sql`show variables like ${name}`);
  const value = found.find((row) => String(row['Variable_name']).toLowerCase() === name)?.['Value'];
  return value === undefined || value === null ? undefined : String(value);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && /^(on|1)$/i.test(value);
}

function isOff(value: string | undefined): boolean {
  return value !== undefined && /^(off|0)$/i.test(value);
}

function has(rights: Rights, right: string, database: string): boolean {
  return rights.some((granted) => (granted.all || granted.rights.has(right)) && granted.matches(database));
}

function finding(severity: Finding['severity'], code: string, message: string): Finding {
  return { severity, code, message };
}
