/**
 * Sets of MySQL's global transaction ids: `uuid:1-5:7,uuid:tag:1-3`, and MariaDB's positions by id: `domain-server-sequence,…`. Numbers of
 * transactions stay below 2^53: a server would need centuries to get there.
 */
export type GtidSet = {
  has(source: string, number: number): boolean;
  add(source: string, number: number): void;
  /** Whether every id of `other` is in this set. */
  contains(other: GtidSet): boolean;
  readonly sources: ReadonlyMap<string, readonly (readonly [number, number])[]>;
  /** Canonical text; `''` for the empty set. */
  text(): string;
};

/** Throws for a text that is no set. `source` is the UUID in lower case, with `:tag` where there is one. */
export function parseGtidSet(text: string): GtidSet {
  const sources = new Map<string, [number, number][]>();
  for (const item of text.split(',')) {
    const [uuid = '', ...rest] = item.trim().split(':');
    if (uuid === '' && rest.length === 0) continue;
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid)) throw new Error('A stored GTID set is damaged.');
    let source = uuid.toLowerCase();
    for (const part of rest) {
      const [, from, to] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
      if (from !== undefined) insert(sources, source, Number(from), Number(to ?? from));
      else if (/^\s*[a-z_][a-z0-9_]{0,31}\s*$/i.test(part)) source = `${uuid}:${part.trim()}`.toLowerCase();
      else throw new Error('A stored GTID set is damaged.');
    }
  }
  return createSet(sources);
}

function insert(sources: Map<string, [number, number][]>, source: string, from: number, to: number): void {
  const list = sources.get(source);
  if (!list) {
    sources.set(source, [[from, to]]);
    return;
  }
  const last = list.at(-1) as [number, number];
  if (from === last[1] + 1) {
    last[1] = to;
    return;
  }
  list.push([from, to]);
  list.sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const one of list) {
    const before = merged.at(-1);
    if (before && one[0] <= before[1] + 1) before[1] = Math.max(before[1], one[1]);
    else merged.push(one);
  }
  sources.set(source, merged);
}

function createSet(sources: Map<string, [number, number][]>): GtidSet {
  /** Text of all sources but the one that grew last, since one server writes nearly all of a log. */
  let others = '';
  let grown: string | undefined;
  return {
    sources,
    has(source, number) {
      const list = sources.get(source);
      if (!list) return false;
      for (let i = list.length - 1; i >= 0; i--) {
        const [from, to] = list[i] as [number, number];
        if (number >= from) return number <= to;
      }
      return false;
    },
    add(source, number) {
      if (source !== grown) {
        grown = source;
        others = [...sources]
          .filter(([name]) => name !== source)
          .map(sourceText)
          .join(',');
      }
      insert(sources, source, number, number);
    },
    contains(other) {
      for (const [source, list] of other.sources) {
        const own = sources.get(source) ?? [];
        if (!list.every(([from, to]) => own.some((one) => one[0] <= from && to <= one[1]))) return false;
      }
      return true;
    },
    text() {
      if (grown === undefined) return [...sources].map(sourceText).join(',');
      const own = sourceText([grown, sources.get(grown) ?? []]);
      return others === '' ? own : `${others},${own}`;
    },
  };
}

function sourceText([source, list]: readonly [string, readonly (readonly [number, number])[]]): string {
  let text = source;
  for (const [from, to] of list) text += from === to ? `:${from}` : `:${from}-${to}`;
  return text;
}

/** A set as COM_BINLOG_DUMP_GTID takes it. */
export function encodeGtidSet(set: GtidSet): Buffer {
  const tagged = [...set.sources.keys()].some((source) => source.includes(':'));
  const parts: Buffer[] = [Buffer.alloc(8)];
  const head = parts[0] as Buffer;
  // Sets with tags (MySQL 8.3) say so in the first and the last byte of the number of sources.
  if (tagged) head.writeBigUInt64LE((1n << 56n) | (BigInt(set.sources.size) << 8n) | 1n);
  else head.writeBigUInt64LE(BigInt(set.sources.size));
  for (const [source, list] of set.sources) {
    const [uuid = '', tag = ''] = source.split(':');
    parts.push(Buffer.from(uuid.replaceAll('-', ''), 'hex'));
    if (tagged) parts.push(Buffer.from([tag.length << 1]), Buffer.from(tag, 'latin1'));
    const intervals = Buffer.alloc(8 + 16 * list.length);
    intervals.writeBigUInt64LE(BigInt(list.length));
    for (const [i, [from, to]] of list.entries()) {
      intervals.writeBigUInt64LE(BigInt(from), 8 + 16 * i);
      intervals.writeBigUInt64LE(BigInt(to) + 1n, 16 + 16 * i);
    }
    parts.push(intervals);
  }
  return Buffer.concat(parts);
}

/** The last id of each domain of a MariaDB log: `domain` → server and sequence number. */
export type DomainIds = Map<number, { readonly server: number; readonly sequence: number }>;

/** Throws for a text that is no position. */
export function parseDomainIds(text: string): DomainIds {
  const ids: DomainIds = new Map();
  for (const item of text.split(',')) {
    if (item.trim() === '') continue;
    const [, domain, server, sequence] = /^\s*(\d+)-(\d+)-(\d+)\s*$/.exec(item) ?? [];
    if (sequence === undefined) throw new Error('A stored GTID position is damaged.');
    ids.set(Number(domain), { server: Number(server), sequence: Number(sequence) });
  }
  return ids;
}

export function domainIdsText(ids: DomainIds): string {
  let text = '';
  for (const [domain, { server, sequence }] of ids) text += `${text === '' ? '' : ','}${domain}-${server}-${sequence}`;
  return text;
}

/** Whether `ids` has come as far as `goal` in each of its domains. */
export function domainsReached(ids: DomainIds, goal: DomainIds): boolean {
  for (const [domain, { sequence }] of goal) if ((ids.get(domain)?.sequence ?? 0) < sequence) return false;
  return true;
}
