/** What the log itself can't mean: never skipped, as rows might go with it. */
export function damaged(what: string): Error {
  return new Error(`The change log that PostgreSQL sent can not be read: ${what}.`);
}

/** A number of two bytes at `at`; `end` is where its message ends. */
export function uint16(data: Buffer, at: number, end: number): number {
  if (at + 2 > end) throw damaged('a message ends too early');
  return ((data[at] as number) << 8) | (data[at + 1] as number);
}

/** A number of four bytes at `at`; `end` is where its message ends. */
export function uint32(data: Buffer, at: number, end: number): number {
  if (at + 4 > end) throw damaged('a message ends too early');
  return (
    (((data[at] as number) << 24) |
      ((data[at + 1] as number) << 16) |
      ((data[at + 2] as number) << 8) |
      (data[at + 3] as number)) >>>
    0
  );
}
