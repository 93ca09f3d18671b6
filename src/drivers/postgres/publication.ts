import { AccessDenied, Misconfigured } from '../errors.ts';
import type { Relation } from './catalog.ts';
import type { Session } from './connection.ts';
import { publishable } from './key.ts';
import { quoteName, quoteTable } from './sql.ts';

/**
 * Makes the pipeline's publication, or adds to it what is missing (EXACTNESS.md §3: one publication per pipeline, never dropped while a slot
 * lives, only ADD TABLE). Tables whose updates would fail at the source never enter. A publication made by an administrator under this name
 * is used as it is, if it carries all changes.
 */
export async function publish(
  session: Session,
  version: number,
  name: string,
  relations: readonly Relation[],
): Promise<void> {
  const wanted = relations.filter(publishable).flatMap((relation) => publishedAs(relation, version));
  if (!(await findPublication(session, version, name))) {
    try {
      await session.query(`create publication ${quoteName(name)}${options(version)}`);
    } catch (error) {
      if ((error as { code?: string }).code === '42501')
        throw new AccessDenied(
          `The user may not create the publication "${name}": it needs CREATE on the database.`,
          `Run: grant create on database ${quoteName(await databaseOf(session))} to ${quoteName(await userOf(session))};`,
        );
      // Another scope of this pipeline was faster.
      if ((error as { code?: string }).code !== '42710') throw error;
    }
  }
  const found = await findPublication(session, version, name);
  if (!found?.complete)
    throw new Misconfigured(
      `The publication "${name}" does not carry all changes.`,
      `Drop it, or run: alter publication ${quoteName(name)} set (${settings(version)});`,
    );
  if (found.everything) return;
  const missing = wanted.filter((table) => !found.tables.includes(table.oid) && table.owned);
  if (missing.length === 0) return;
  // ONLY: inheritance children are tables of their own here.
  await session.query(
    `alter publication ${quoteName(name)} add table ${missing.map((table) => `only ${quoteTable(table)}`).join(', ')}`,
  );
}

/** Drops the publication, if it is there; a standby has only its primary's, which others may use. */
export async function unpublish(session: Session, name: string): Promise<void> {
  const { rows } = await session.query<{ standby: boolean }>('select pg_is_in_recovery() as standby');
  if (rows[0]?.standby) return;
  await session.query(`drop publication if exists ${quoteName(name)}`);
}

type Published = { readonly oid: number; readonly schema: string; readonly name: string; readonly owned: boolean };

/** Before 13, a publication takes partitions only, not their root. */
function publishedAs(relation: Relation, version: number): Published[] {
  const { owned } = relation;
  if (relation.kind !== 'p' || version >= 130000) return [{ oid: relation.oid, ...relation.ref, owned }];
  return relation.storage.map((leaf) => ({ oid: leaf.oid, schema: leaf.schema, name: leaf.name, owned }));
}

function settings(version: number): string {
  return [
    `publish = 'insert, update, delete${version >= 110000 ? ', truncate' : ''}'`,
    ...(version >= 130000 ? ['publish_via_partition_root = true'] : []),
    ...(version >= 180000 ? ["publish_generated_columns = 'stored'"] : []),
  ].join(', ');
}

function options(version: number): string {
  return ` with (${settings(version)})`;
}

/** A row of pg_publication_tables as an oid: unlike pg_publication_rel, that view also knows publications of schemas and of all tables. */
export const PUBLISHED_OID =
  "to_regclass(quote_ident(t.schemaname) || '.' || quote_ident(t.tablename))::oid::int8::float8";

/** What a publication carries. `complete`: all kinds of changes. */
export type Found = {
  readonly oid: number;
  readonly complete: boolean;
  readonly everything: boolean;
  readonly tables: readonly number[];
};

/** The publication of this name; undefined: there is none. */
export async function findPublication(session: Session, version: number, name: string): Promise<Found | undefined> {
  const flags = [
    'pubinsert and pubupdate and pubdelete',
    ...(version >= 110000 ? ['pubtruncate'] : []),
    ...(version >= 130000 ? ['pubviaroot'] : []),
    ...(version >= 180000 ? ["pubgencols = 's'"] : []),
  ].join(' and ');
  const { rows } = await session.query<Found>(
    `select oid, ${flags} as complete, puballtables as everything,
       array(select ${PUBLISHED_OID} from pg_publication_tables t where t.pubname = p.pubname) as tables
     from pg_publication p where pubname = $1`,
    [name],
  );
  return rows[0];
}

async function databaseOf(session: Session): Promise<string> {
  return (await session.query<{ name: string }>('select current_database() as name')).rows[0]?.name ?? '';
}

async function userOf(session: Session): Promise<string> {
  return (await session.query<{ name: string }>('select current_user::text as name')).rows[0]?.name ?? '';
}
