import { makeRandom, type Random } from '../../scripts/demo/random.ts';
import { type Part, parts, type SourceName } from './fleet.ts';
import { phases } from './phases.ts';

/**
 * What one round does. `kill`: one victim; `double`: two at once; `twice`: the same again soon after it is back; `zombie`: a worker is
 * stopped for longer than its heartbeats may stay away, and wakes up; `cancel`: a kill and a cancel at a random moment; `settings`: the
 * API is killed again and again while settings are being saved.
 */
export type Kind = 'kill' | 'double' | 'twice' | 'zombie' | 'cancel' | 'settings';
export type Card = {
  readonly round: number;
  readonly source: SourceName;
  readonly kind: Kind;
  readonly first: boolean;
  readonly victims: readonly Part[];
  readonly phase: (typeof phases)[number];
  /** Of the phase's usual time, the part that passes before the kill. */
  readonly share: number;
  readonly downMs: number;
  /** Seeds what is left to chance within the round. */
  readonly seed: number;
};

/** Per ten rounds: five kills of one, two of two, one of the same twice, and two of the special kinds in turn. */
const kinds: readonly Kind[] = [
  'kill',
  'double',
  'kill',
  'zombie',
  'kill',
  'cancel',
  'kill',
  'twice',
  'kill',
  'double',
];
const lasting: readonly Kind[] = ['zombie', 'settings', 'twice'];
const special: readonly Kind[] = ['zombie', 'cancel', 'settings'];

/** The rounds of a seed: every victim meets every phase before one comes again, loading twice as often as the others. */
export function makeDeck(seed: number, rounds: number, sources: readonly SourceName[]): Card[] {
  const random = makeRandom(seed);
  const pairs = makeDealer(random, () =>
    parts.flatMap((part) => [...phases, 'loading' as const].map((phase) => ({ part, phase }))),
  );
  let specials = 0;
  return Array.from({ length: rounds }, (_, index): Card => {
    const turn = Math.floor(index / sources.length);
    const planned = kinds[(turn + (index % sources.length) * 3) % kinds.length] as Kind;
    const kind =
      planned === 'zombie' || planned === 'cancel' ? (special[specials++ % special.length] as Kind) : planned;
    const { part, phase } = pairs();
    const others = parts.filter((one) => one !== part);
    return {
      round: index + 1,
      source: sources[index % sources.length] as SourceName,
      kind,
      first: turn % 2 === 0,
      victims: victimsOf(kind, part, random.pick(others)),
      // Two blows need time between them, which late phases do not have.
      phase: lasting.includes(kind) ? random.pick(['position', 'planning', 'loading', 'loading']) : phase,
      share: random.number(0, 95) / 100,
      downMs: random.number(100, 4_000),
      seed: random.number(1, 2 ** 30),
    };
  });
}

function victimsOf(kind: Kind, part: Part, other: Part): Part[] {
  switch (kind) {
    case 'double':
      return [part, other];
    case 'twice':
      return [part, part];
    case 'zombie':
      return ['worker'];
    case 'settings':
      return ['api', 'api'];
    default:
      return [part];
  }
}

/** Deals all of a set in random order, then all of it again. */
function makeDealer<T>(random: Random, make: () => T[]): () => T {
  let left: T[] = [];
  return () => {
    if (left.length === 0) left = make();
    return left.splice(random.number(0, left.length - 1), 1)[0] as T;
  };
}
