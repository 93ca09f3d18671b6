import type { LogEvent } from '../changes.ts';
import { UnsupportedValue } from '../errors.ts';
import type { Position } from '../model.ts';
import { damaged, uint32 } from './log-bytes.ts';
import { type LogRelation, readRelation } from './log-relation.ts';
import { type RowOptions, type RowPlan, rowWriter } from './log-rows.ts';
import type { Lsn } from './lsn.ts';

/**
 * pgoutput, protocol version 1, as events. https://postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 * Whatever the format does not allow throws: a message that is not understood may be a change.
 */

export type LogDecoder = {
  /**
   * Takes the message `data[from..to)`. A relation is the answer when its `plan` must be set first; the message is then to be given again.
   */
  take(data: Buffer, from: number, to: number): LogRelation | undefined;
  /** Events since the last call. */
  events(): LogEvent[];
  /** About how many bytes they hold. */
  readonly size: number;
  add(event: LogEvent): void;
  /** Drops all further changes of a table. */
  drop(table: number): void;
  isDropped(table: number): boolean;
  /** Whether the table's changes of the transaction under way are contained in its copy already. */
  isSkipped(table: number): boolean;
  /** A description that need not be understood in this transaction: what it says may be long past. */
  ignore(relation: LogRelation): void;
  readonly inTransaction: boolean;
  /** Everything up to here has been given; never inside a transaction. */
  readonly passed: Lsn;
  /** The reader says that nothing up to `lsn` is missing. Ignored within a transaction. */
  pass(lsn: Lsn): void;
  /** Numbers of transactions with changes that were given. */
  readonly delivered: Set<number>;
  /** Relations that were described right after another one, which may be the root that they are partitions of. */
  readonly partitions: ReadonlyMap<number, LogRelation>;
  /** Rows given, by table. */
  readonly rows: number[];
};

export type DecoderOptions = RowOptions & {
  /** Transactions that commit before it are not given. */
  readonly from: Lsn;
  /** By table: transactions that commit before it are dropped. */
  readonly skip: readonly Lsn[];
  readonly position: (lsn: Lsn) => Position;
};

const EVENT_BYTES = 64;
/** 1 January 2000, where PostgreSQL's clock begins, in ms. */
const EPOCH = 946_684_800_000;

export function logDecoder(options: DecoderOptions): LogDecoder {
  const relations = new Map<number, LogRelation>();
  const writer = rowWriter(options);
  const dropped = options.skip.map(() => false);
  const rows = options.skip.map(() => 0);
  const delivered = new Set<number>();
  const lastSkip = options.skip.reduce((last, one) => (one > last ? one : last), 0n);
  let events: LogEvent[] = [];
  let size = 0;
  const partitions = new Map<number, LogRelation>();
  let recent: LogRelation | undefined;
  let described: LogRelation | undefined;
  let ignored: LogRelation[] = [];
  let inTransaction = false;
  let commitLsn = 0n;
  let xid = 0;
  let touched = false;
  /** The whole transaction was given before. */
  let known = false;
  let someSkip = false;
  let passed = options.from;

  const add = (event: LogEvent): void => {
    events.push(event);
    size += EVENT_BYTES;
    if (touched || !inTransaction) return;
    touched = true;
    delivered.add(xid);
  };
  const drop = (table: number): void => {
    dropped[table] = true;
    for (const relation of relations.values()) if (relation.plan?.table === table) relation.plan = null;
  };
  const relationOf = (oid: number): LogRelation => {
    if (recent !== undefined && recent.oid === oid) return recent;
    const found = relations.get(oid);
    if (found === undefined) throw damaged(`a change of relation ${oid}, which was not described`);
    recent = found;
    return found;
  };
  const isSkipped = (table: number): boolean =>
    dropped[table] === true || (someSkip && commitLsn < (options.skip[table] as Lsn));

  /** A value or row that can't be followed: the table's changes end here, the others go on. */
  const refuse = (plan: RowPlan, error: UnsupportedValue): void => {
    drop(plan.table);
    add({ kind: 'structure', table: plan.table, now: null, reason: `${error.message} ${error.action}` });
  };

  const change = (
    kind: 'insert' | 'update' | 'delete',
    data: Buffer,
    from: number,
    to: number,
  ): LogRelation | undefined => {
    if (!inTransaction) throw damaged('a change outside a transaction');
    const relation = relationOf(uint32(data, from + 1, to));
    if (known || relation.plan === null) return undefined;
    const { plan } = relation;
    if (plan === undefined) return relation;
    if (isSkipped(plan.table)) return undefined;
    try {
      row(kind, plan, data, from + 5, to);
    } catch (error) {
      if (!(error instanceof UnsupportedValue)) throw error;
      refuse(plan, error);
    }
    return undefined;
  };

  const row = (kind: 'insert' | 'update' | 'delete', plan: RowPlan, data: Buffer, from: number, to: number): void => {
    let at = from;
    let tag = data[at];
    let old = false;
    writer.noOld();
    if (kind !== 'insert' && (tag === KEY_TUPLE || tag === OLD_TUPLE)) {
      at = writer.old(plan, data, at + 1, to);
      old = true;
      tag = data[at];
    }
    if (kind === 'delete') {
      if (!old || at !== to) throw damaged('a delete without its old row');
      const key = writer.oldKey(plan);
      add({ kind, table: plan.table, key, oldKey: null, data: EMPTY, from: 0, to: 0, missing: null });
      size += key.length;
    } else {
      if (tag !== NEW_TUPLE || at >= to) throw damaged(`a change has no new row`);
      const oldKey = old ? writer.oldKey(plan) : null;
      const { key, data: text, from: start, to: end, missing } = writer.row(plan, data, at + 1, to);
      const moved = oldKey === key ? null : oldKey;
      add({ kind, table: plan.table, key, oldKey: moved, data: text, from: start, to: end, missing });
      size += end - start;
    }
    rows[plan.table] = (rows[plan.table] as number) + 1;
  };

  const begin = (data: Buffer, from: number, to: number): void => {
    if (inTransaction) throw damaged('a transaction begins within another one');
    if (to - from !== 21) throw damaged('a transaction begins with a message of another length');
    commitLsn = data.readBigUInt64BE(from + 1);
    xid = uint32(data, from + 17, to);
    inTransaction = true;
    touched = false;
    known = commitLsn < options.from;
    someSkip = commitLsn < lastSkip;
    for (const relation of ignored) relation.plan = undefined;
    ignored = [];
  };

  const commit = (data: Buffer, from: number, to: number): void => {
    if (!inTransaction) throw damaged('a transaction ends that has not begun');
    if (to - from !== 26) throw damaged('a transaction ends with a message of another length');
    const end = data.readBigUInt64BE(from + 10);
    if (data.readBigUInt64BE(from + 2) !== commitLsn || end <= commitLsn)
      throw damaged('a transaction ends at another place than it said');
    inTransaction = false;
    if (end > passed) passed = end;
    if (!touched) return;
    events.push({
      kind: 'commit',
      position: options.position(end),
      at: EPOCH + Math.floor(Number(data.readBigInt64BE(from + 18)) / 1000),
    });
    size += EVENT_BYTES;
  };

  const truncate = (data: Buffer, from: number, to: number): LogRelation | undefined => {
    if (!inTransaction) throw damaged('a change outside a transaction');
    const count = uint32(data, from + 1, to);
    if (to - from !== 6 + 4 * count) throw damaged('a truncate of another length');
    if (known) return undefined;
    const found = Array.from({ length: count }, (_, index) => relationOf(uint32(data, from + 6 + 4 * index, to)));
    const unknown = found.find((relation) => relation.plan === undefined);
    if (unknown !== undefined) return unknown;
    const done = new Set<number>();
    for (const { plan, schema, name } of found) {
      if (!plan || isSkipped(plan.table) || done.has(plan.table)) continue;
      done.add(plan.table);
      if (!plan.leaf) add({ kind: 'truncate', table: plan.table });
      else {
        drop(plan.table);
        add({
          kind: 'structure',
          table: plan.table,
          now: null,
          reason: `Its partition ${schema}.${name} was truncated, which the log of this server reports only by partition.`,
        });
      }
    }
    return undefined;
  };

  return {
    take(data, from, to) {
      if (from >= to) throw damaged('an empty message');
      const before = described;
      described = undefined;
      switch (data[from]) {
        case 0x49: // I
          return change('insert', data, from, to);
        case 0x55: // U
          return change('update', data, from, to);
        case 0x44: // D
          return change('delete', data, from, to);
        case 0x42: // B
          begin(data, from, to);
          return undefined;
        case 0x43: // C
          commit(data, from, to);
          return undefined;
        case 0x52: {
          // R
          const relation = readRelation(data, from, to);
          relations.set(relation.oid, relation);
          // A root is described right before its partition, whose rows then come under the root.
          if (before !== undefined) partitions.set(relation.oid, before);
          described = relation;
          recent = relation;
          return undefined;
        }
        case 0x54: // T
          return truncate(data, from, to);
        case 0x59: // Y: names of types, which the catalog gives with more.
        case 0x4f: // O: where a transaction came from.
          return undefined;
        default:
          throw damaged(`a message of the unknown kind ${data[from]}`);
      }
    },
    events() {
      const taken = events;
      events = [];
      size = 0;
      return taken;
    },
    get size() {
      return size;
    },
    add,
    drop,
    isDropped: (table) => dropped[table] === true,
    isSkipped,
    ignore(relation) {
      relation.plan = null;
      ignored.push(relation);
    },
    get inTransaction() {
      return inTransaction;
    },
    get passed() {
      return passed;
    },
    pass(lsn) {
      if (!inTransaction && lsn > passed) passed = lsn;
    },
    delivered,
    rows,
    partitions,
  };
}

const EMPTY = Buffer.alloc(0);
const KEY_TUPLE = 0x4b;
const OLD_TUPLE = 0x4f;
const NEW_TUPLE = 0x4e;
