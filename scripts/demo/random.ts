/** The same numbers on every machine: a small generator with a fixed seed, so that the sample is repeatable. */
export type Random = {
  /** A whole number from `least` to `most`. */
  number(least: number, most: number): number;
  pick<T>(items: readonly T[]): T;
  /** True in `percent` of the calls. */
  chance(percent: number): boolean;
};

/** Makes a generator (mulberry32); the same seed gives the same sequence. */
export function makeRandom(seed: number): Random {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const number = (least: number, most: number) => least + Math.floor(next() * (most - least + 1));
  return {
    number,
    pick: (items) => items[number(0, items.length - 1)] as (typeof items)[number],
    chance: (percent) => next() * 100 < percent,
  };
}
