import type { Finding, TableRef } from '../model.ts';
import type { Relation } from './catalog.ts';
import type { Server, Session } from './connection.ts';
import { chooseKey, publishable } from './key.ts';
import { PUBLISHED_OID } from './publication.ts';
import { quoteName, quoteTable } from './sql.ts';

/**
 * Everything that would make a full extract or following the log fail (peers.md §4b). `capture`: whether the log is wanted; without it only
 * reading is checked. Changes nothing.
 */
export async function check(
  session: Session,
  server: Server,
  refs: readonly TableRef[],
  relations: readonly (Relation | undefined)[],
  capture: boolean,
): Promise<Finding[]> {
  const findings = capture ? await checkLog(session, server) : [];
  const published = capture ? await publishedTables(session) : new Set<number>();
  let owners = false;
  for (const [index, ref] of refs.entries()) {
    const relation = relations[index];
    findings.push(...checkRelation(server, ref, relation, capture, published));
    owners ||= relation !== undefined && publishable(relation) && !published.has(relation.oid);
  }
  if (capture && owners) findings.push(...(await checkCreate(session, server)));
  return findings;
}

type LogFacts = {
  walLevel: string;
  slots: number;
  slotsUsed: number;
  senders: number;
  sendersUsed: number;
  mayReplicate: boolean;
  keep: string | null;
  idle: string | null;
  standby: boolean;
};

/** Every message that is about the log names the way to do without it. */
const OR_WITHOUT = 'Or set the option `capture` to none: full extracts only, no deltas.';

async function checkLog(session: Session, server: Server): Promise<Finding[]> {
  const { rows } = await session.query<LogFacts>(
    `select current_setting('wal_level') as "walLevel", current_setting('max_replication_slots')::int as slots,
       (select count(*)::int from pg_replication_slots) as "slotsUsed", current_setting('max_wal_senders')::int as senders,
       (select count(*)::int from pg_stat_replication) as "sendersUsed", pg_is_in_recovery() as standby,
       (select rolsuper or rolreplication from pg_roles where rolname = current_user)
         or exists (select from pg_roles where rolname = 'rds_replication' and pg_has_role(oid, 'USAGE')) as "mayReplicate",
       ${server.version >= 130000 ? "current_setting('max_slot_wal_keep_size')" : 'null'} as keep,
       ${server.version >= 180000 ? "current_setting('idle_replication_slot_timeout')" : 'null'} as idle`,
  );
  const facts = rows[0] as LogFacts;
  const findings: Finding[] = [];
  const add = (severity: Finding['severity'], code: string, message: string): void => {
    findings.push({ severity, code, message });
  };
  if (facts.walLevel !== 'logical')
    add(
      'error',
      'wal_level',
      `wal_level is ${facts.walLevel}, following changes needs logical. Run: alter system set wal_level = logical; and restart the server (RDS: rds.logical_replication = 1). ${OR_WITHOUT}`,
    );
  if (facts.slotsUsed >= facts.slots)
    add(
      'error',
      'slots',
      `All ${facts.slots} replication slots are in use. Raise max_replication_slots and restart the server, or drop unused slots with pg_drop_replication_slot. ${OR_WITHOUT}`,
    );
  if (facts.sendersUsed >= facts.senders)
    add(
      'error',
      'wal_senders',
      `All ${facts.senders} WAL senders are in use. Raise max_wal_senders and restart the server. ${OR_WITHOUT}`,
    );
  if (!facts.mayReplicate)
    add(
      'error',
      'grant',
      `The user ${server.user} may not replicate. Run: alter role ${quoteName(server.user)} replication; (RDS: grant rds_replication to ${quoteName(server.user)};) ${OR_WITHOUT}`,
    );
  if (facts.standby && server.version < 160000)
    add(
      'error',
      'standby',
      `The server is a standby, which has no slots before PostgreSQL 16. Use the primary. ${OR_WITHOUT}`,
    );
  if (facts.keep !== null && facts.keep !== '-1')
    add(
      'warning',
      'retention',
      `max_slot_wal_keep_size is ${facts.keep}: when the copy is behind by more, its slot is lost and everything is loaded again. Set it to -1 or far above the log of one outage.`,
    );
  if (facts.idle !== null && facts.idle !== '0')
    add(
      'warning',
      'retention',
      `idle_replication_slot_timeout is ${facts.idle}: a slot that is not read for so long is lost and everything is loaded again. Set it to 0.`,
    );
  return findings;
}

function checkRelation(
  server: Server,
  ref: TableRef,
  relation: Relation | undefined,
  capture: boolean,
  published: ReadonlySet<number>,
): Finding[] {
  const name = `${ref.schema}.${ref.name}`;
  const error = (code: string, message: string): Finding[] => [{ severity: 'error', code, message, table: ref }];
  const user = quoteName(server.user);
  if (!relation) return error('table', `There is no table ${name}. Check the name (it is case-sensitive).`);
  if (!relation.usable)
    return error(
      'grant',
      `No access to schema ${ref.schema}. Run: grant usage on schema ${quoteName(ref.schema)} to ${user};`,
    );
  if (!relation.readable)
    return error('grant', `No access to ${name}. Run: grant select on ${quoteTable(ref)} to ${user};`);
  if (relation.filtered)
    return error(
      'row_security',
      `Row security hides rows of ${name} from ${server.user}: the copy would miss them. Run: alter role ${user} bypassrls; or: alter table ${quoteTable(ref)} disable row level security;`,
    );
  if (!capture) return [];
  if (publishable(relation) && !relation.owned && !published.has(relation.oid))
    return error(
      'grant',
      `Only the owner of ${name} may publish its changes. Run: grant the owner's role to ${user}; or let the owner create the publication. ${OR_WITHOUT}`,
    );
  const warning = keyWarning(relation);
  return warning === undefined ? [] : [{ severity: 'warning', code: 'key', message: warning, table: ref }];
}

function keyWarning(relation: Relation): string | undefined {
  try {
    return chooseKey(relation, relation.columns, {}).warnings[0];
  } catch {
    return undefined;
  }
}

async function publishedTables(session: Session): Promise<Set<number>> {
  const { rows } = await session.query<{ oid: number }>(
    `select distinct ${PUBLISHED_OID} as oid from pg_publication_tables t`,
  );
  return new Set(rows.map((row) => row.oid));
}

async function checkCreate(session: Session, server: Server): Promise<Finding[]> {
  const { rows } = await session.query<{ may: boolean }>(
    "select has_database_privilege(current_database(), 'CREATE') as may",
  );
  if (rows[0]?.may) return [];
  return [
    {
      severity: 'error',
      code: 'grant',
      message: `The user ${server.user} may not create a publication. Run: grant create on database ${quoteName(server.database)} to ${quoteName(server.user)}; ${OR_WITHOUT}`,
    },
  ];
}
