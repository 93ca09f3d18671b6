import { BSON } from 'mongodb';
import type { Change, Entry } from './oplog.ts';
import type { Store } from './store.ts';
import { compare, matches } from './values.ts';
import { type Answer, type Command, CommandError, Raw } from './wire.ts';

/** Writes of a fake server: single ones, each an entry of the oplog, and those of transactions, which are one entry at their commit. */
export type Writes = {
  run(command: Command): Answer | undefined;
};

type Pending = Change & { readonly now?: Raw };

export function createWrites(store: Store): Writes {
  const open = new Map<string, { changes: Pending[]; transaction: NonNullable<Entry['transaction']> }>();

  const sessionOf = (command: Command) => Buffer.from(BSON.serialize(command['lsid'] ?? {})).toString('hex');
  const inTransaction = (command: Command) => command['autocommit'] === false;

  function write(command: Command, changes: readonly Pending[]): void {
    if (!inTransaction(command)) {
      for (const change of changes) store.commit([change]);
      return;
    }
    const key = sessionOf(command);
    if (command['startTransaction'])
      open.set(key, { changes: [], transaction: { lsid: command['lsid'], txnNumber: command['txnNumber'] } });
    open.get(key)?.changes.push(...changes);
  }

  function insert(command: Command): Answer {
    const { $db: db } = command;
    const coll = String(command['insert']);
    const documents = command['documents'] as Raw[];
    const taken = (id: unknown) => store.find(db, coll, id) !== null;
    const bad = documents.findIndex(({ object }) => taken(object['_id']));
    const good = bad < 0 ? documents : documents.slice(0, bad);
    write(
      command,
      good.map((document): Pending => ({ operation: 'insert', db, coll, id: document.object['_id'], document })),
    );
    return {
      n: new BSON.Int32(good.length),
      ...(bad >= 0 && {
        writeErrors: [
          { index: new BSON.Int32(bad), code: new BSON.Int32(11000), errmsg: 'E11000 duplicate key error' },
        ],
      }),
    };
  }

  function update(command: Command): Answer {
    const { $db: db } = command;
    const coll = String(command['update']);
    let n = 0;
    for (const one of command['updates'] as (BSON.Document | Raw)[]) {
      const { q, u, multi } = one instanceof Raw ? one.object : one;
      const pending = open.get(sessionOf(command))?.changes ?? [];
      const documents = store.collection(db, coll).documents.filter(({ raw }) => matches(raw.object, q));
      const own = inTransaction(command)
        ? pending.filter(
            ({ id, coll: name }) => name === coll && !documents.some((known) => compare(known.id, id) === 0),
          )
        : [];
      const targets = [
        ...documents.map(({ id, raw }) => ({ id, raw })),
        ...own.flatMap(({ id, document }) => (document && matches(document.object, q) ? [{ id, raw: document }] : [])),
      ];
      for (const { id, raw } of multi ? targets : targets.slice(0, 1)) {
        n++;
        const latest =
          (inTransaction(command) &&
            pending.findLast((change) => change.coll === coll && compare(change.id, id) === 0)) ||
          undefined;
        const before = (latest?.now ?? latest?.document ?? raw).object;
        if (Object.keys(u).some((name) => name.startsWith('$'))) {
          const after = { ...before, ...u['$set'] };
          for (const name of Object.keys(u['$unset'] ?? {})) delete after[name];
          for (const [name, by] of Object.entries(u['$inc'] ?? {}))
            after[name] = new BSON.Int32(Number(after[name] ?? 0) + Number(by));
          write(command, [{ operation: 'update', db, coll, id, now: new Raw(Buffer.from(BSON.serialize(after))) }]);
        } else
          write(command, [
            { operation: 'replace', db, coll, id, document: new Raw(Buffer.from(BSON.serialize({ _id: id, ...u }))) },
          ]);
      }
    }
    return { n: new BSON.Int32(n), nModified: new BSON.Int32(n) };
  }

  function remove(command: Command): Answer {
    const { $db: db } = command;
    const coll = String(command['delete']);
    let n = 0;
    for (const one of command['deletes'] as (BSON.Document | Raw)[]) {
      const { q, limit } = one instanceof Raw ? one.object : one;
      const found = store.collection(db, coll).documents.filter(({ raw }) => matches(raw.object, q));
      for (const { id } of Number(limit) === 1 ? found.slice(0, 1) : found) {
        n++;
        write(command, [{ operation: 'delete', db, coll, id }]);
      }
    }
    return { n: new BSON.Int32(n) };
  }

  function end(command: Command, commits: boolean): Answer {
    const key = sessionOf(command);
    const found = open.get(key);
    open.delete(key);
    if (commits && found && found.changes.length > 0) store.commit(found.changes, found.transaction);
    return {};
  }

  return {
    run(command) {
      const { $db: db } = command;
      if (command['insert'] !== undefined) return insert(command);
      if (command['update'] !== undefined) return update(command);
      if (command['delete'] !== undefined) return remove(command);
      if (command['commitTransaction'] !== undefined) return end(command, true);
      if (command['abortTransaction'] !== undefined) return end(command, false);
      if (command['create'] !== undefined) {
        const type =
          command['viewOn'] !== undefined ? 'view' : command['timeseries'] !== undefined ? 'timeseries' : 'collection';
        store.collection(db, String(command['create']), { type, capped: Boolean(command['capped']) });
        return {};
      }
      if (command['drop'] !== undefined) {
        if (!store.databases.get(db)?.has(String(command['drop'])))
          throw new CommandError(26, 'NamespaceNotFound', 'ns not found');
        store.commit([{ operation: 'drop', db, coll: String(command['drop']) }]);
        return {};
      }
      if (command['renameCollection'] !== undefined) {
        const [from, to] = [command['renameCollection'], command['to']].map((name) => {
          const [one, ...rest] = String(name).split('.');
          return { db: one ?? '', coll: rest.join('.') };
        }) as [{ db: string; coll: string }, { db: string; coll: string }];
        store.commit([{ operation: 'rename', ...from, to }]);
        return {};
      }
      if (command['dropDatabase'] !== undefined) {
        const names = [...(store.databases.get(db)?.keys() ?? [])];
        for (const coll of names) store.commit([{ operation: 'drop', db, coll }]);
        store.commit([
          { operation: 'dropDatabase', db },
          { operation: 'invalidate', db },
        ]);
        return {};
      }
      return undefined;
    },
  };
}
