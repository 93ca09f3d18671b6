import type { Finding, TableRef } from '../model.ts';
import { readTables } from './catalog.ts';
import { readInstances } from './cdc-instances.ts';
import { lastCaptured, lastScan } from './cdc-scan.ts';
import type { Connection } from './connection.ts';
import { errorNumber } from './errors.ts';
import type { MssqlOptions } from './options.ts';
import { maxLsn } from './position.ts';
import { quoteName, quoteTable, quoteText } from './sql.ts';
import { readTracked } from './tracked.ts';

/** Everything that would make a load or the changes of `tables` fail; the server alone when there are none. Changes nothing. */
export async function preflight(
  connection: Connection,
  options: MssqlOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  const { facts } = connection;
  const database = quoteName(facts.database);
  const findings: Finding[] = [];
  if (facts.major < 11)
    findings.push({
      severity: 'error',
      code: 'version',
      message: `SQL Server ${facts.version} is too old: 2012 (11) or later is needed.`,
    });
  if (['master', 'model', 'msdb', 'tempdb'].includes(facts.database))
    findings.push({
      severity: 'warning',
      code: 'database',
      message: `The connection stands in ${facts.database}: set \`db\` to the database to copy.`,
    });
  if (!facts.snapshot)
    findings.push({
      severity: options.capture === 'tracking' ? 'error' : 'warning',
      code: 'snapshot',
      message:
        `Run ALTER DATABASE ${database} SET ALLOW_SNAPSHOT_ISOLATION ON. ` +
        (options.capture === 'tracking'
          ? 'Without it change tracking tells rows and versions that do not belong together.'
          : facts.committedSnapshot
            ? 'Without it each chunk is read by READ_COMMITTED_SNAPSHOT, which is on: that does as well for single statements.'
            : 'Without it reads take locks: writers and readers wait for each other, and a row whose key changes while a full extract reads may be missing from it.'),
    });
  if (options.capture === 'tracking') findings.push(...(await trackingFindings(connection)));
  if (options.capture === 'cdc') findings.push(...(await cdcFindings(connection)));
  if (tables.length > 0) findings.push(...(await tableFindings(connection, options, tables)));
  return findings;
}

async function trackingFindings(connection: Connection): Promise<Finding[]> {
  const [row] = await connection.query(
    `SELECT CONVERT(int, d.is_auto_cleanup_on) AS cleanup, CONVERT(int, d.retention_period) AS period,
 CONVERT(nvarchar(60), d.retention_period_units_desc) AS units
FROM sys.change_tracking_databases AS d
WHERE d.database_id = DB_ID()`,
  );
  if (!row)
    return [
      {
        severity: 'error',
        code: 'tracking',
        message: `Change tracking is off: run ALTER DATABASE ${quoteName(connection.facts.database)} SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS, AUTO_CLEANUP = ON).`,
      },
    ];
  const hours = Number(row[1]) * ({ MINUTES: 1 / 60, HOURS: 1, DAYS: 24 }[String(row[2])] ?? 24);
  return Number(row[0]) === 1 && hours < 24
    ? [
        {
          severity: 'warning',
          code: 'retention',
          message: `Changes are kept for ${row[1]} ${String(row[2]).toLowerCase()} only: a load or pause that takes longer means loading again. Run ALTER DATABASE ${quoteName(connection.facts.database)} SET CHANGE_TRACKING (CHANGE_RETENTION = 7 DAYS).`,
        },
      ]
    : [];
}

/** A capture job that has not scanned for so long is taken as stopped. */
const STOPPED_MS = 600_000;

async function cdcFindings(connection: Connection): Promise<Finding[]> {
  const { facts } = connection;
  if (!facts.cdc)
    return [
      {
        severity: 'error',
        code: 'cdc',
        message: `CDC is not enabled for the database: run EXEC sys.sp_cdc_enable_db in ${facts.database} as a sysadmin (Azure SQL: db_owner).`,
      },
    ];
  const findings: Finding[] = [];
  const start = facts.azure
    ? 'the scheduler of Azure SQL runs it by itself: see sys.dm_cdc_errors'
    : "start SQL Server Agent, and run EXEC sys.sp_cdc_start_job @job_type = N'capture'";
  try {
    const max = await maxLsn(connection);
    const instances = await readInstances(connection);
    const scan = await lastScan(connection);
    // With scans there was nothing to capture, or the clean-up has taken all of it.
    if (max === null && instances.length > 0 && scan === null)
      findings.push({
        severity: 'error',
        code: 'agent',
        message: `The capture job has captured nothing yet: ${start}.`,
      });
    if (scan !== null) {
      const [now] = await connection.query('SELECT CONVERT(nvarchar(23), SYSDATETIME(), 121) AS now');
      const latest = [scan.began, scan.ended ?? '', (await lastCaptured(connection)) ?? ''].sort().at(-1) as string;
      const age = Date.parse(`${String(now?.[0]).replace(' ', 'T')}Z`) - Date.parse(`${latest.replace(' ', 'T')}Z`);
      if (age > STOPPED_MS)
        findings.push({
          severity: 'error',
          code: 'agent',
          message: `The capture job last scanned the log at ${latest}: ${start}.`,
        });
    } else
      findings.push({
        severity: 'warning',
        code: 'grant',
        message:
          'The scans of the capture job can not be seen: run GRANT VIEW DATABASE STATE to the source user. Without it each delta waits up to 15 seconds, so that what was committed before it is captured.',
      });
  } catch (error) {
    if (errorNumber(error) === undefined) throw error;
    findings.push({
      severity: 'error',
      code: 'grant',
      message: `CDC can not be read (${error instanceof Error ? error.message : ''}): run GRANT SELECT ON SCHEMA::cdc to the source user.`,
    });
  }
  return findings;
}

async function tableFindings(
  connection: Connection,
  { capture }: MssqlOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const found = await readTables(connection, tables);
  const tracked = new Map(
    capture === 'tracking' ? (await readTracked(connection)).map(({ id, least }) => [id, least]) : [],
  );
  const instances = capture === 'cdc' ? await readInstances(connection).catch(() => []) : [];
  const filtered = await filteredTables(connection);
  for (const [i, table] of tables.entries()) {
    const one = found[i];
    const add = (severity: Finding['severity'], code: string, message: string): void =>
      void findings.push({ severity, code, message, table });
    const name = quoteTable(table);
    if (!one) {
      add('error', 'table', `The table ${name} does not exist, or the user may not see it: GRANT SELECT ON ${name}.`);
      continue;
    }
    const [row] = await connection.query(`SELECT HAS_PERMS_BY_NAME(@name, N'OBJECT', N'SELECT') AS may_read`, { name });
    if (Number(row?.[0] ?? 0) !== 1)
      add('error', 'grant', `The user may not read ${name}: run GRANT SELECT ON ${name}.`);
    const masked = one.columns.filter(({ odd }) => odd === 'hidden').map((column) => column.name);
    if (masked.length > 0)
      add(
        'warning',
        'mask',
        `The server masks ${masked.join(', ')} of ${name} for this user, and they are left out: run GRANT UNMASK.`,
      );
    if (filtered.has(one.id))
      add(
        'warning',
        'rows',
        `A security policy filters ${name}: rows that it hides from the source user are not copied. Let its predicate pass that user.`,
      );
    if (one.kind === 'view') continue;
    if (capture === 'tracking') {
      if (!tracked.has(one.id))
        add('error', 'tracking', `Change tracking is off for ${name}: run ALTER TABLE ${name} ENABLE CHANGE_TRACKING.`);
      else if (tracked.get(one.id) == null)
        add('error', 'grant', `The changes of ${name} can not be read: run GRANT VIEW CHANGE TRACKING ON ${name}.`);
    }
    if (capture === 'cdc' && connection.facts.cdc && !instances.some((instance) => instance.table === one.id))
      add(
        'error',
        'cdc',
        `CDC is not enabled for ${name}, or the user lacks SELECT on schema cdc: run EXEC sys.sp_cdc_enable_table @source_schema = ${quoteText(table.schema)}, @source_name = ${quoteText(table.name)}, @role_name = NULL.`,
      );
  }
  return findings;
}

/** By object_id: tables whose rows a policy may hide from this user (2016 and later). */
async function filteredTables({ facts, query }: Connection): Promise<Set<number>> {
  if (facts.major < 13 && !facts.azure) return new Set();
  const rows = await query(
    `SELECT p.target_object_id FROM sys.security_predicates AS p
INNER JOIN sys.security_policies AS s ON s.object_id = p.object_id
WHERE s.is_enabled = 1 AND p.predicate_type_desc = N'FILTER'`,
  );
  return new Set(rows.map(([id]) => Number(id)));
}
