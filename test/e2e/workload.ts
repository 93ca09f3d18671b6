import { makeRandom } from '../../scripts/demo/random.ts';
import type { SeededSource } from './sources.ts';

/** A seeded stream of changes to a source: several tables in a transaction, key changes and swaps, deletes and inserts of one key, rollbacks. */
export type Workload = {
  /** So many transactions, one after the other. */
  run(transactions: number): Promise<void>;
  /** Transactions until `stop`. */
  forever(): Promise<void>;
  stop(): Promise<void>;
};

export async function startWorkload(source: SeededSource, seed: number): Promise<Workload> {
  const random = makeRandom(seed);
  const number = (below: number): number => random.number(0, below - 1);
  const text = (longest = 300): string =>
    ["''", 'null', "'a\\tb'", "'é 表 😀'", `'${'x'.repeat(number(longest))}'`, "'A '"][number(6)] ?? 'null';
  const quote = (name: string): string =>
    source.kind === 'postgres' ? `"${name.replaceAll('"', '""')}"` : `\`${name.replaceAll('`', '``')}\``;
  const odd = quote(source.tables.find((name) => name.startsWith('Order')) ?? '');
  const oddText = quote('a "b');
  const value = source.kind === 'postgres' ? 'to_jsonb(1.50::numeric)' : "json_object('a', 1.5)";

  function statement(): string {
    const id = 1 + number(6_000);
    const key = number(40);
    switch (number(12)) {
      case 0:
        return `insert into big (id, a, b, f) values (${30_000 + number(5_000)}, ${number(99)}, ${text(40)}, ${text()}) ${onConflict()}`;
      case 1:
        return `update big set a = ${number(1000)}, f = ${text()}, c = ${number(9999)} / 100.0 where id between ${id} and ${id + number(30)}`;
      case 2:
        return `delete from big where id between ${id} and ${id + number(5)}`;
      case 3:
        return `update big set id = id + 100000 where id = ${id}`;
      case 4:
        return `delete from big where id = ${key}; insert into big (id, b) values (${key}, ${text(40)})`;
      case 5:
        return `insert into empty_table values (${key}, ${text()}) ${source.kind === 'postgres' ? 'on conflict (id) do update set t = excluded.t' : 'on duplicate key update t = values(t)'}`;
      case 6:
        return `update empty_table set id = -1 where id = ${key}; update empty_table set id = ${key} where id = ${key + 1}; update empty_table set id = ${key + 1} where id = -1`;
      case 7:
        return `update text_key set v = ${value} where country = 'c${number(10)}' and code like 'k${number(500)}%'`;
      case 8:
        return `update text_key set country = 'C${number(3)} ' where code = 'k${number(5000)}'`;
      case 9:
        return `update ${odd} set ${oddText} = ${text()} where ${quote('select')} = ${number(100)}`;
      case 10:
        return number(8) === 0
          ? source.kind === 'postgres'
            ? 'truncate empty_table'
            : 'delete from empty_table'
          : `delete from empty_table where id = ${key}`;
      default:
        return `savepoint s; update big set b = 'rolled back' where id = ${id}; rollback to savepoint s`;
    }
  }
  function onConflict(): string {
    return source.kind === 'postgres' ? 'on conflict (id) do update set a = 0' : 'on duplicate key update a = 0';
  }
  async function one(): Promise<void> {
    const statements = Array.from({ length: 1 + number(6) }, statement);
    const end = number(8) === 0 ? 'rollback' : 'commit';
    const text = source.kind === 'mysql' ? statements.map((sql) => sql.replaceAll('\\', '\\\\')) : statements;
    // A key that exists already fails the transaction: nothing of it must arrive.
    await source.run(`begin; ${text.join('; ')}; ${end}`).catch((error: { code?: string }) => {
      if (!/^(23505|ER_DUP_ENTRY)$/.test(String(error.code))) throw error;
    });
  }
  let stopped = false;
  return {
    async run(transactions) {
      for (let i = 0; i < transactions; i++) await one();
    },
    async forever() {
      while (!stopped) await one();
    },
    async stop() {
      stopped = true;
    },
  };
}
