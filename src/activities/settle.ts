import { setTimeout as sleep } from 'node:timers/promises';
import { cancellationSignal } from '@temporalio/activity';
import type { Followed } from '../drivers/apply.ts';
import type { Check, Checked, CheckPart } from '../drivers/check.ts';
import type { Position } from '../drivers/model.ts';
import { at, type Ends } from './connections.ts';
import { fromSource } from './extract.ts';
import type { ReadTable } from './validate.ts';

/** Keys of one table that are followed through the looks; beyond them rows are only counted. */
const MOST_KEYS = 100_000;
/** So many looks in a row must find the copy different and the source unchanged. A row that goes to and fro may look like that once. */
const LOOKS_ALIKE = 3;
const MOST_LOOKS = 12;
const BETWEEN_MS = 250;
const EXAMPLES = 10;

/** A table whose source rows stand beside its copy. `passed` waits until the copy has come to a position. */
export type Settling = {
  readonly table: ReadTable;
  readonly live: Followed;
  readonly check: Check;
  readonly passed: (goal: Position) => Promise<void>;
};

/**
 * Finds the keys whose rows differ for good (EXACTNESS.md §10). A row that differs is looked at again and again: it is read from the source, the
 * stream passes that reading, and the copy is compared with it. It counts as different when the source's row stayed the same through these looks
 * and the copy never was like it; rows that keep changing stay unsettled.
 */
export async function settle(
  { source }: Ends,
  { table, live, check, passed }: Settling,
): Promise<{ keys: readonly string[]; checked: Checked }> {
  const { where, skipInitial } = table.options;
  await passed(table.until as Position);
  const none = { repaired: 0, unsettled: 0, examples: [] };
  if (live.table.key.length === 0) {
    const part = where ? 'where' : 'all';
    const checked = await at('destination', () => check.count(part));
    const different = await at('destination', () => check.surplus(part));
    return { keys: [], checked: { ...none, checked, different } };
  }
  const checked = await at('destination', () => check.count('all'));
  const missing = skipInitial ? null : where ? 'where' : 'all';
  const { keys, total } = await at('destination', () => check.differing(missing, MOST_KEYS));
  const signal = cancellationSignal();
  const different: string[] = [];
  let open = keys.map((key) => ({ key, alike: 0 }));
  let before: CheckPart = 'all';
  for (let look = 1; open.length > 0 && look <= MOST_LOOKS; look++) {
    const part = look % 2 === 1 ? 'odd' : 'even';
    const asked = open.map(({ key }) => key);
    await at('destination', () => check.look(part, asked));
    const batches = fromSource(source.reread(live.table, asked, signal));
    await at('destination', () => check.load(part, false, batches, () => {}, signal));
    await passed(await at('source', () => source.written()));
    const states = await at('destination', () => check.compare(before, part));
    open = open.flatMap(({ key, alike }, i) => {
      const state = states[i];
      if (!state || state.same) return [];
      if (!state.unchanged) return [{ key, alike: 0 }];
      if (alike + 1 < LOOKS_ALIKE) return [{ key, alike: alike + 1 }];
      different.push(key);
      return [];
    });
    before = part;
    if (open.length > 0) await sleep(BETWEEN_MS, undefined, { signal });
  }
  return {
    keys: different,
    checked: {
      checked,
      different: different.length,
      repaired: 0,
      unsettled: open.length + total - keys.length,
      examples: different.slice(0, EXAMPLES).map((key) => keyText(live, key)),
    },
  };
}

const LETTERS: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', '0': '\0' };

/** A key as people read it. Key columns are never masked. */
function keyText({ table }: Followed, key: string): string {
  const cells = Buffer.from(key, 'latin1').toString('utf8').split('\t');
  return table.key
    .map((name, i) => {
      const cell = (cells[i] ?? '').replace(/\\(.)/gs, (_, letter: string) => LETTERS[letter] ?? letter);
      return `${name}=${cell.length > 100 ? `${cell.slice(0, 100)}…` : cell}`;
    })
    .join(', ');
}
