import { join } from 'node:path';
import { runCommand } from '../scripts/servers/process.ts';
import { figureOf, type Reading } from './reader-figure.ts';
import type { Figure } from './report.ts';
import { settle } from './sample.ts';

/** Readings of one reader. `beside`: the name of the plain way to read, in the same rounds. */
export type Readings = { readonly name: string; readonly beside?: string; readonly runs: readonly Reading[] };

/** Each measures in a process of its own and prints its `Readings` as JSON: node bench/<name>.ts rows rounds */
const programs = { mssql: 1, mongodb: 0.2, oracle: 0.2 } as const;

/** Readers of databases of which no server can be had, on what stands in for them, beside the plain API of their client libraries. */
export async function measureReaders(rows: number, rounds: number, say: (line: string) => void): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [name, share] of Object.entries(programs)) {
    await settle();
    const args = [join(import.meta.dirname, `${name}.ts`), String(Math.ceil(rows * share)), String(rounds)];
    const told = await runCommand(process.execPath, args).catch((error: Error) => error);
    if (told instanceof Error) {
      say(`${name} is left out: ${told.message}`);
      continue;
    }
    const all = JSON.parse(told.stdout) as Readings[];
    for (const { name: reader, beside, runs } of all) {
      const plain = all.find((one) => one.name === beside);
      figures.push(figureOf(reader, runs, plain && { runs: plain.runs }));
    }
  }
  return figures;
}
