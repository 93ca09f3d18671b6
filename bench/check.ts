import { type ComparedSource, compareTables, describeDifferences } from '../scripts/compare.ts';
import type { ServerInfo } from '../scripts/servers/server.ts';
import { openMysql } from './orders.ts';

/** Proves that a copy is exact: cell by cell the first time, then by count and checksum against the copy that was proven. */
export type Checker = {
  /** Throws when the table at the destination differs. `kind`: whose copies must be the same. */
  check(kind: string, source: ComparedSource, from: TableName, to: TableName): Promise<void>;
};

type TableName = { readonly schema: string; readonly name: string };

export function createChecker(destination: ServerInfo): Checker {
  const proven = new Map<string, string>();
  return {
    async check(kind, source, from, to) {
      const found = await fingerprint(destination, to);
      const known = proven.get(kind);
      if (known === undefined) {
        await compare(source, destination, from, to);
        proven.set(kind, found);
      } else if (known !== found)
        throw new Error(`${to.schema}.${to.name} is not the copy that was proven: ${found} instead of ${known}`);
    },
  };
}

/** Cell by cell, by a reader that shares no code with the product. */
export async function compare(
  source: ComparedSource,
  destination: ServerInfo,
  from: TableName,
  to: TableName,
): Promise<void> {
  const { host, port, user, password } = destination;
  const results = await compareTables(source, { host, port, user, password }, [{ source: from, destination: to }]);
  const differences = results.flatMap(describeDifferences);
  if (differences.length > 0) throw new Error(`the copy differs from its source:\n${differences.join('\n')}`);
}

/** Rows and a checksum over all their columns, whatever their order. */
async function fingerprint(destination: ServerInfo, { schema, name }: TableName): Promise<string> {
  const client = await openMysql(destination);
  try {
    const [rows] = await client.query(`select count(*) as n from ${schema}.${name}`);
    const [sums] = await client.query(`checksum table ${schema}.${name} extended`);
    const count = (rows as { n: number }[])[0]?.n;
    const sum = (sums as { Checksum: number | null }[])[0]?.Checksum;
    if (sum === null || sum === undefined) throw new Error(`${schema}.${name} has no checksum`);
    return `${count} rows, checksum ${sum}`;
  } finally {
    await client.end();
  }
}
