import { parseArgs } from 'node:util';

export const parts = ['pg', 'mysql', 'cell', 'tables', 'jdbc', 'readers', 'control', 'deltas', 'idle'] as const;
export type Part = (typeof parts)[number];

export type Options = {
  readonly pairs: number;
  readonly rows: number;
  readonly only: ReadonlySet<Part>;
  /** Where the worker writes a CPU profile when it stops. */
  readonly profile: string | undefined;
  /** Write the result here as well, as Markdown. */
  readonly out: string | undefined;
};

const usage = `npm run bench -- [--pairs 5] [--rows 1000000] [--only ${parts.join(',')}] [--profile folder] [--out file.md]`;

/** Reads the command line; throws with the usage when it is wrong. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      pairs: { type: 'string', default: '5' },
      rows: { type: 'string', default: '1000000' },
      only: { type: 'string', default: parts.join(',') },
      profile: { type: 'string' },
      out: { type: 'string' },
    },
  });
  const only = values.only.split(',');
  for (const one of only) if (!parts.some((part) => part === one)) throw new Error(`--only ${one}?\n${usage}`);
  return {
    pairs: whole('--pairs', values.pairs),
    rows: whole('--rows', values.rows),
    only: new Set(only as Part[]),
    profile: values.profile,
    out: values.out,
  };
}

function whole(name: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`${name} ${text}?\n${usage}`);
  return Number(text);
}
