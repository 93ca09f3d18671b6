import type { Session } from './session.ts';

/**
 * How far the log files hold everything. Log buffers are written later than their SCNs are given out, and on a cluster each instance has one:
 * what is read up to an SCN that a file has not come to yet would lack changes, which nobody looks for again.
 */
export type WrittenEnd = {
  /** Changes up to this SCN are in the files of all threads; null: not known yet. */
  look(session: Session): Promise<bigint | null>;
};

/**
 * `settleMs`: how long an SCN is left alone where the threads don't tell. The log writer writes at least every three seconds (Oracle Concepts,
 * "Log Writer Process"). `retryMs`: between two looks for a file that is missing.
 */
export const waits = { settleMs: 5_000, retryMs: 5_000 };

/** `first`: an SCN that was given out at `atMs` (`performance.now()`). */
export function createWrittenEnd(atMs: number, first: bigint): WrittenEnd {
  let given: { readonly at: number; readonly scn: bigint }[] = [{ at: atMs, scn: first }];
  let end: bigint | null = null;
  const raise = (scn: bigint): void => {
    if (end === null || scn > end) end = scn;
  };
  return {
    async look(session) {
      const at = performance.now();
      const [row] = await session.query(
        "select to_char(min(t.last_redo_change#)), to_char(min(d.current_scn)) from v$thread t cross join v$database d where t.status = 'OPEN'",
      );
      const [written, current] = (row ?? []).map((value) => (value == null ? null : BigInt(String(value).trim())));
      if (current != null) given.push({ at, scn: current });
      for (const one of given) if (one.at <= at - waits.settleMs) raise(one.scn);
      given = given.filter((one) => one.at > at - waits.settleMs);
      // What a thread writes next has this SCN or a later one. An idle thread's stands still, until its last write has settled.
      if (written != null && written > 0n) raise(written - 1n);
      return end;
    },
  };
}
