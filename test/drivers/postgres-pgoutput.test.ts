import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import type { RowChange } from '../../src/drivers/changes.ts';
import type { Position } from '../../src/drivers/model.ts';
import { jsonFrom } from '../../src/drivers/postgres/log-json.ts';
import type { LogColumn, RowPlan } from '../../src/drivers/postgres/log-rows.ts';
import { type LogDecoder, logDecoder } from '../../src/drivers/postgres/pgoutput.ts';
import { startReplication } from '../../src/drivers/postgres/replication.ts';
import type { SourceType } from '../../src/drivers/postgres/source-type.ts';
import { ruleTally } from '../../src/drivers/postgres/special-values.ts';
import type { LogForm, Special } from '../../src/drivers/postgres/types.ts';
import { parseLoadText } from './source-suite.ts';

/** Messages as the manual describes them. */
const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
const u64 = (value: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};
type Value = string | null | undefined;
const tuple = (values: readonly Value[]) =>
  Buffer.concat([
    u16(values.length),
    ...values.flatMap((value) => {
      if (value === null) return [Buffer.from('n')];
      if (value === undefined) return [Buffer.from('u')];
      const bytes = Buffer.from(value);
      return [Buffer.from('t'), u32(bytes.length), bytes];
    }),
  ]);
const begin = (lsn: bigint, xid = 7) => Buffer.concat([Buffer.from('B'), u64(lsn), u64(0n), u32(xid)]);
const commit = (lsn: bigint) => Buffer.concat([Buffer.from('C\0'), u64(lsn), u64(lsn + 8n), u64(0n)]);
const relation = (oid: number, columns: readonly string[]) =>
  Buffer.concat([
    Buffer.from('R'),
    u32(oid),
    Buffer.from('public\0t\0d'),
    u16(columns.length),
    ...columns.flatMap((name, index) => [
      Buffer.from([index === 0 ? 1 : 0]),
      Buffer.from(`${name}\0`),
      u32(25),
      u32(-1),
    ]),
  ]);
const insert = (oid: number, values: readonly Value[]) =>
  Buffer.concat([Buffer.from('I'), u32(oid), Buffer.from('N'), tuple(values)]);
const update = (oid: number, old: readonly Value[] | null, kind: string, values: readonly Value[]) =>
  Buffer.concat([
    Buffer.from('U'),
    u32(oid),
    ...(old === null ? [] : [Buffer.from(kind), tuple(old)]),
    Buffer.from('N'),
    tuple(values),
  ]);
const remove = (oid: number, old: readonly Value[], kind = 'K') =>
  Buffer.concat([Buffer.from('D'), u32(oid), Buffer.from(kind), tuple(old)]);

const column = (name: string, form: LogForm = 'text', special?: Special): LogColumn => ({
  name,
  form,
  special,
  json: undefined,
  key: name === 'k',
});
const planOf = (columns: readonly LogColumn[]): RowPlan => ({
  table: 0,
  name: 'public.t',
  columns,
  key: [0],
  leaf: false,
  tally: ruleTally(),
});
const decoderOf = (more: { from?: bigint; skip?: bigint; validate?: boolean } = {}): LogDecoder =>
  logDecoder({
    from: more.from ?? 0n,
    skip: [more.skip ?? 0n],
    position: (lsn) => String(lsn) as Position,
    moneyScale: 2,
    refuse: false,
    validate: more.validate ?? false,
  });

/** Gives messages as a reader would, with a plan for every relation. */
function feed(decoder: LogDecoder, plan: RowPlan, messages: readonly Buffer[]): void {
  for (const message of messages)
    for (
      let unknown = decoder.take(message, 0, message.length);
      unknown;
      unknown = decoder.take(message, 0, message.length)
    )
      unknown.plan = plan;
}
const rowOf = (event: RowChange) => parseLoadText(Buffer.from(event.data.subarray(event.from, event.to)))[0];

const COLUMNS = [column('k'), column('a'), column('b')];
const text = fc.string({
  unit: fc.constantFrom('\\', '\t', '\n', '\r', '\b', '\f', '\v', 'N', 'a', 'é', '😀', '\x01'),
});
const long = fc.tuple(text, fc.integer({ min: 1, max: 3_000 })).map(([part, times]) => part.repeat(times));
const value = fc.oneof(fc.constant(null), text, long);

describe('messages', () => {
  test('rows of any texts come back as they are, whatever the order and the size', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(text, value, value), { minLength: 1, maxLength: 40 }), (rows) => {
        const decoder = decoderOf();
        feed(decoder, planOf(COLUMNS), [
          begin(100n),
          relation(1, ['k', 'a', 'b']),
          ...rows.map((row) => insert(1, row)),
          commit(100n),
        ]);
        const events = decoder.events();
        const changes = events.filter((event) => 'key' in event);
        expect(changes.map(rowOf)).toEqual(rows);
        for (const change of changes) {
          const line = Buffer.from(change.data.subarray(change.from, change.to)).toString('latin1');
          expect(line.startsWith(`${change.key}\t`)).toBe(true);
        }
        expect(events.at(-1)).toMatchObject({ kind: 'commit', position: '108' });
      }),
      { numRuns: 300 },
    );
  });

  test('unchanged values: missing, from the full old row, or from the key', () => {
    const decoder = decoderOf();
    feed(decoder, planOf(COLUMNS), [
      begin(100n),
      relation(1, ['k', 'a', 'b']),
      update(1, null, '', ['1', undefined, 'x']),
      update(1, ['1', 'old', null], 'O', ['1', undefined, undefined]),
      update(1, ['1', null, null], 'K', [undefined, undefined, 'y']),
      update(1, ['1', null, null], 'K', ['2', null, 'z']),
      remove(1, ['2', null, null]),
      commit(100n),
    ]);
    const found = decoder
      .events()
      .flatMap((event) => ('key' in event ? [[event.oldKey, event.key, event.missing, rowOf(event)]] : []));
    expect(found).toEqual([
      [null, '1', [1], ['1', null, 'x']],
      // An unchanged value whose old one is not in the log either stays missing: it is never taken for NULL.
      [null, '1', [2], ['1', 'old', null]],
      [null, '1', [1], ['1', null, 'y']],
      ['1', '2', null, ['2', null, 'z']],
      [null, '2', null, undefined],
    ]);
  });

  test('a key that the log does not say ends the table with its reason', () => {
    const decoder = decoderOf();
    feed(decoder, planOf(COLUMNS), [
      begin(100n),
      relation(1, ['k', 'a', 'b']),
      insert(1, ['1', null, null]),
      update(1, null, '', [undefined, 'a', 'b']),
      insert(1, ['2', null, null]),
      commit(100n),
    ]);
    expect(decoder.events().map((event) => event.kind)).toEqual(['insert', 'structure', 'commit']);
  });

  test('transactions before the start or within a skip are dropped, and those only', () => {
    const rows = (decoder: LogDecoder) => {
      feed(decoder, planOf([column('k')]), [relation(1, ['k'])]);
      for (const lsn of [100n, 200n, 300n])
        feed(decoder, planOf([column('k')]), [begin(lsn), insert(1, [String(lsn)]), commit(lsn)]);
      return decoder.events().map((event) => ('key' in event ? event.key : event.kind));
    };
    expect(rows(decoderOf({ from: 200n }))).toEqual(['200', 'commit', '300', 'commit']);
    expect(rows(decoderOf({ from: 208n }))).toEqual(['300', 'commit']);
    expect(rows(decoderOf({ skip: 208n }))).toEqual(['300', 'commit']);
  });

  test('a message cut anywhere, or with bytes behind it, is a named error and no row', () => {
    const messages: Record<string, Buffer> = {
      insert: insert(1, ['1', 'abc', null]),
      update: update(1, ['1', null, null], 'K', ['2', 'abc', undefined]),
      full: update(1, ['1', 'x', 'y'], 'O', ['2', 'abc', undefined]),
      delete: remove(1, ['1', null, null]),
      relation: relation(2, ['k', 'a']),
      truncate: Buffer.concat([Buffer.from('T'), u32(1), Buffer.from([0]), u32(1)]),
      commit: commit(100n),
    };
    for (const [name, message] of Object.entries(messages)) {
      const bad = [
        ...Array.from({ length: message.length }, (_, length) => message.subarray(0, length)),
        Buffer.concat([message, Buffer.from([0])]),
      ];
      for (const bytes of bad) {
        const decoder = decoderOf();
        feed(decoder, planOf(COLUMNS), [begin(100n), relation(1, ['k', 'a', 'b'])]);
        expect(() => feed(decoder, planOf(COLUMNS), [bytes]), `${name} cut at ${bytes.length}`).toThrow(
          /can not be read/,
        );
        expect(decoder.events()).toEqual([]);
      }
    }
  });

  test('damaged bytes are a named error or a row of the declared shape, never anything else', () => {
    const good = [
      begin(100n),
      relation(1, ['k', 'a', 'b']),
      insert(1, ['1', 'abc', null]),
      update(1, ['1', 'x', null], 'O', ['1', undefined, 'y']),
      remove(1, ['1', null, null]),
      commit(100n),
    ];
    fc.assert(
      fc.property(fc.nat({ max: good.length - 1 }), fc.nat(), fc.nat({ max: 255 }), (which, at, byte) => {
        const messages = good.map((message) => Buffer.from(message));
        const message = messages[which] as Buffer;
        message[at % message.length] = byte;
        const decoder = decoderOf();
        try {
          feed(decoder, planOf(COLUMNS), messages);
        } catch (error) {
          expect(String(error)).toMatch(/can not be read/);
        }
        for (const event of decoder.events())
          if ('key' in event && event.kind !== 'delete') expect(rowOf(event)).toHaveLength(3);
      }),
      { numRuns: 5_000 },
    );
  });

  test('order of messages: changes outside transactions, unknown relations, nested or foreign commits', () => {
    const bad: readonly (readonly Buffer[])[] = [
      [insert(1, ['1'])],
      [begin(100n), insert(9, ['1'])],
      [begin(100n), begin(200n)],
      [commit(100n)],
      [begin(100n), commit(200n)],
      [begin(100n), Buffer.from('Sx')],
      [begin(100n), Buffer.from('I\0\0\0\x01K')],
    ];
    for (const messages of bad) {
      const decoder = decoderOf();
      feed(decoder, planOf([column('k')]), [relation(1, ['k'])]);
      expect(() => feed(decoder, planOf([column('k')]), messages)).toThrow(/can not be read/);
    }
  });

  test('texts that are not UTF-8 are refused where the server does not promise it', () => {
    const decoder = decoderOf({ validate: true });
    const bytes = insert(1, ['1', 'xx']);
    bytes[bytes.length - 1] = 0xe9;
    feed(decoder, planOf([column('k'), column('a')]), [
      begin(100n),
      relation(1, ['k', 'a']),
      insert(1, ['2', 'é']),
      bytes,
      commit(100n),
    ]);
    expect(decoder.events()).toMatchObject([
      { key: '2' },
      { kind: 'structure', reason: expect.stringMatching(/\(k=1\).*UTF-8/) },
      { kind: 'commit' },
    ]);
  });
});

describe('the stream', () => {
  class Wire extends EventEmitter {
    readonly written: Buffer[] = [];
    writable = true;
    paused = 0;
    write(bytes: Buffer) {
      this.written.push(Buffer.from(bytes));
      // CopyDone: the server has nothing more to say.
      if (bytes[0] === 0x63) queueMicrotask(() => this.emit('data', Buffer.from([0x5a, 0, 0, 0, 5, 0x49])));
    }
    pause() {
      this.paused++;
    }
    resume() {}
    destroy() {
      this.writable = false;
      this.emit('close');
    }
  }
  const copy = (payload: Buffer) => Buffer.concat([Buffer.from('d'), u32(payload.length + 4), payload]);
  async function streamOf(wire: Wire) {
    const other: Buffer[] = [];
    wire.on('data', (bytes: Buffer) => other.push(bytes));
    const client = {
      query: (submittable: { submit(connection: unknown): void }) =>
        submittable.submit({ stream: wire, query: () => {} }),
      end: async () => {},
    } as unknown as pg.Client;
    const started = startReplication(client, 'START', 60_000);
    wire.emit('data', Buffer.concat([Buffer.from('W'), u32(7), Buffer.from([0, 0, 0])]));
    return { stream: await started, other };
  }

  test('messages come whole, however the network cuts them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 300 }), { minLength: 1, maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 50 }),
        async (sizes, cuts) => {
          const wire = new Wire();
          const { stream } = await streamOf(wire);
          const payloads = sizes.map((size, index) => Buffer.alloc(size + 1, index));
          const bytes = Buffer.concat(payloads.map(copy));
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const length = cuts[turn % cuts.length] as number;
            wire.emit('data', bytes.subarray(at, at + length));
            at += length;
          }
          const got: Buffer[] = [];
          while (stream.next()) got.push(Buffer.from(stream.data.subarray(stream.from, stream.to)));
          expect(got).toEqual(payloads);
          await stream.close();
        },
      ),
      { numRuns: 100 },
    );
  });

  test('a status says only what was acknowledged, and never goes back', async () => {
    const wire = new Wire();
    const { stream } = await streamOf(wire);
    wire.emit('data', copy(Buffer.concat([Buffer.from('k'), u64(0xffffn), u64(0n), Buffer.from([1])])));
    expect(stream.next()).toBe(true);
    stream.ask();
    stream.acknowledge(50n);
    stream.acknowledge(20n);
    stream.say();
    const positions = wire.written
      .filter((bytes) => bytes[0] === 0x64)
      .map((bytes) => [bytes.readBigUInt64BE(6), bytes.readBigUInt64BE(14), bytes.readBigUInt64BE(22), bytes[38]]);
    expect(positions[0]).toEqual([0n, 0n, 0n, 1]);
    expect(positions.at(-1)).toEqual([50n, 50n, 50n, 0]);
    await stream.close();
  });

  test('who waits for a stream that was closed hears of it, whatever had arrived', async () => {
    const wire = new Wire();
    const { stream } = await streamOf(wire);
    for (let index = 0; index < 3; index++) wire.emit('data', copy(Buffer.alloc(65_536)));
    await expect(stream.wait(1_000)).resolves.toBe(true);
    await stream.close();
    expect(stream.next()).toBe(false);
    await expect(stream.wait(1_000)).rejects.toThrow(/closed/);
  });

  test('who waits while a stream is closed is woken', async () => {
    const wire = new Wire();
    const { stream } = await streamOf(wire);
    const waiting = stream.wait(60_000);
    await stream.close();
    await waiting;
    await expect(stream.wait(60_000)).rejects.toThrow(/closed/);
  });

  test('the socket is paused while the consumer does not come', async () => {
    const wire = new Wire();
    const { stream } = await streamOf(wire);
    for (let index = 0; index < 100; index++) wire.emit('data', copy(Buffer.alloc(65_536)));
    expect(wire.paused).toBeGreaterThan(0);
    wire.emit('close');
    let messages = 0;
    while (stream.next()) messages++;
    expect(messages).toBe(100);
    await expect(stream.wait(1_000)).rejects.toThrow(/closed/);
  });

  test('a length that no message has is an error', async () => {
    const wire = new Wire();
    const { stream } = await streamOf(wire);
    wire.emit('data', Buffer.from([0x64, 0xff, 0xff, 0xff, 0xff, 0, 0]));
    expect(() => stream.next()).toThrow(/can not be read/);
    await stream.close();
  });
});

describe('JSON of texts', () => {
  const base = (name: string): SourceType => ({
    oid: 1,
    schema: 'pg_catalog',
    name,
    kind: 'base',
    element: undefined,
    modifier: -1,
  });
  const arrayOf = (element: SourceType): SourceType => ({ ...base('_x'), kind: 'array', element });

  /** array_out, from its documentation. */
  const printed = (values: readonly (string | null)[]): string =>
    `{${values
      .map((one) =>
        one === null ? 'NULL' : /^$|[{}",\\\s]|^null$/i.test(one) ? `"${one.replace(/(["\\])/g, '\\$1')}"` : one,
      )
      .join(',')}}`;

  test('arrays of any texts', () => {
    const json = jsonFrom(arrayOf(base('text')), 2);
    const ascii = fc.string({
      unit: fc.constantFrom('"', '\\', ',', '{', '}', ' ', '\t', '\n', '\b', '\x01', 'a', 'NULL', 'é'),
    });
    fc.assert(
      fc.property(fc.array(fc.option(ascii)), (values) => {
        expect(JSON.parse(json?.(printed(values)) ?? '')).toEqual(values);
      }),
      { numRuns: 1_000 },
    );
  });

  test('what its text does not say has no JSON', () => {
    expect(jsonFrom(base('int2vector'), 2)).toBeUndefined();
    expect(
      jsonFrom({ ...base('c'), kind: 'composite', fields: [{ name: 'm', type: base('money') }] }, 2),
    ).toBeUndefined();
    expect(jsonFrom({ ...base('e'), kind: 'enum', jsonCast: true }, 2)).toBeUndefined();
    const two: SourceType = {
      ...base('c'),
      kind: 'composite',
      fields: [
        { name: 'a', type: base('int4') },
        { name: 'b', type: base('int4') },
      ],
    };
    expect(jsonFrom(two, 2)?.('(1,2)')).toBe('{"a":1,"b":2}');
    expect(jsonFrom(two, 2)?.('(1)')).toBeUndefined();
  });
});
