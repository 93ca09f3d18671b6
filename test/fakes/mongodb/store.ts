import { randomBytes } from 'node:crypto';
import type { BSON } from 'mongodb';
import type { Change, Entry } from './oplog.ts';
import { compare } from './values.ts';
import type { Raw } from './wire.ts';

export type Collection = {
  readonly uuid: Buffer;
  readonly type: 'collection' | 'view' | 'timeseries';
  readonly capped: boolean;
  documents: { readonly id: unknown; readonly raw: Raw }[];
};

/** What a fake server holds, and its oplog. */
export type Store = {
  readonly databases: Map<string, Map<string, Collection>>;
  readonly entries: Entry[];
  /** The time of the last entry. */
  readonly now: readonly [number, number];
  /** What lies before this time is not in the oplog any more. */
  lost: readonly [number, number];
  /** A token is found only by streams that tell its event. */
  strictTokens: boolean;
  /** Larger events must be split. */
  largestEvent: number;
  collection(db: string, coll: string, make?: Partial<Pick<Collection, 'type' | 'capped'>>): Collection;
  find(db: string, coll: string, id: unknown): Raw | null;
  /** Applies changes to the documents and writes one entry. */
  commit(changes: readonly (Change & { readonly now?: Raw })[], transaction?: Entry['transaction']): void;
  /** Writes an entry without a change, as an idle server does now and then. */
  noop(): void;
  /** Ends with the next change, or after so many ms. */
  changed(ms: number): Promise<void>;
};

export function createStore(): Store {
  let waiters: (() => void)[] = [];
  let now: [number, number] = [Math.floor(Date.now() / 1000), 1];
  const databases = new Map<string, Map<string, Collection>>();
  const entries: Entry[] = [];

  function tick(): void {
    const seconds = Math.floor(Date.now() / 1000);
    now = seconds > now[0] ? [seconds, 1] : [now[0], now[1] + 1];
  }
  function wake(): void {
    const woken = waiters;
    waiters = [];
    for (const one of woken) one();
  }
  const of = (db: string) => {
    const found = databases.get(db) ?? new Map<string, Collection>();
    databases.set(db, found);
    return found;
  };

  const store: Store = {
    databases,
    entries,
    get now() {
      return now;
    },
    lost: [0, 0],
    strictTokens: false,
    largestEvent: 16_777_216,
    collection(db, coll, make = {}) {
      const found = of(db).get(coll);
      if (found) return found;
      const made: Collection = {
        uuid: randomBytes(16),
        type: make.type ?? 'collection',
        capped: make.capped ?? false,
        documents: [],
      };
      of(db).set(coll, made);
      return made;
    },
    find: (db, coll, id) =>
      databases
        .get(db)
        ?.get(coll)
        ?.documents.find((one) => compare(one.id, id) === 0)?.raw ?? null,
    commit(changes, transaction) {
      tick();
      for (const change of changes) apply(store, of, change);
      const told = changes.map(({ now: _, ...change }) => change);
      entries.push({ time: now, at: new Date(), changes: told, ...(transaction && { transaction }) });
      wake();
    },
    noop() {
      tick();
      wake();
    },
    changed: (ms) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, ms));
        waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
  return store;
}

function apply(
  store: Store,
  of: (db: string) => Map<string, Collection>,
  change: Change & { readonly now?: Raw },
): void {
  const { operation, db, coll = '', to, id, document, now } = change;
  if (operation === 'drop') of(db).delete(coll);
  else if (operation === 'dropDatabase') store.databases.delete(db);
  else if (operation === 'rename' && to) {
    of(to.db).set(to.coll, of(db).get(coll) as Collection);
    of(db).delete(coll);
  } else if (operation !== 'invalidate') {
    const found = store.collection(db, coll);
    const at = operation === 'insert' ? -1 : found.documents.findIndex((one) => compare(one.id, id) === 0);
    if (operation === 'delete') found.documents.splice(at, 1);
    else {
      const raw = (document ?? now) as Raw;
      const own = (raw.object as BSON.Document)['_id'];
      if (at < 0) found.documents.push({ id: own, raw });
      else found.documents[at] = { id: own, raw };
    }
  }
}
