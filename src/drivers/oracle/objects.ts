import type { Follower } from './redo-entry.ts';
import type { Session } from './session.ts';

const KINDS = "object_type in ('TABLE', 'TABLE PARTITION', 'TABLE SUBPARTITION')";

/** Followed tables by the numbers of their objects, partitions included: rows whose table is not known say no more. */
export async function objectsOf(session: Session, followers: readonly Follower[]): Promise<Map<string, Follower>> {
  const objects = new Map<string, Follower>();
  const byName = new Map(followers.map((one) => [`${one.table.ref.schema}\0${one.table.ref.name}`, one]));
  for (let from = 0; from < followers.length; from += 400) {
    const some = followers.slice(from, from + 400);
    const places = some.map((_, index) => `(:${2 * index + 1}, :${2 * index + 2})`).join(', ');
    const rows = await session.query(
      `select owner, object_name, object_id, data_object_id from all_objects where (owner, object_name) in (${places}) and ${KINDS}`,
      some.flatMap(({ table }) => [table.ref.schema, table.ref.name]),
    );
    for (const [owner, name, ...ids] of rows) {
      const follower = byName.get(`${owner}\0${name}`);
      for (const id of ids) if (follower && id !== null) objects.set(String(id), follower);
    }
  }
  return objects;
}

/** The followed table of an object that came later, such as a partition that an insert has made; undefined: none. */
export async function findObjects(
  session: Session,
  object: string,
  followers: readonly Follower[],
): Promise<Follower | undefined> {
  if (!/^\d+$/.test(object)) return undefined;
  const rows = await session.query(
    `select owner, object_name from all_objects where (object_id = ${object} or data_object_id = ${object}) and ${KINDS}`,
  );
  const [owner, name] = (rows[0] ?? []).map(String);
  return followers.find(({ table }) => table.ref.schema === owner && table.ref.name === name);
}
