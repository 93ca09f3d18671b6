import type { LogEvent } from '../changes.ts';
import type { Charsets } from './charsets.ts';
import type { Effect } from './effects.ts';
import type { Follower, Followers } from './followed-tables.ts';
import type { LogStatement } from './log-events.ts';
import type { Groups } from './log-groups.ts';
import { parseStatement } from './statement.ts';

/** What became of a table by DDL that may have changed nothing: undefined, or the event to deliver. */
export type Look = (
  follower: Follower,
  effect: Effect,
) => Promise<Extract<LogEvent, { kind: 'structure' }> | undefined>;

// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII.
const BEYOND_ASCII = /[^\x00-\x7f]/;

/** Brings the statements of a log to bear on groups and tables. The promise, if any, is to be awaited before the next event. */
export function createStatements(
  followers: Followers,
  groups: Groups,
  charsets: Charsets,
  look: Look,
): (statement: LogStatement, seconds: number) => Promise<void> | undefined {
  function affected(effect: Effect, statement: LogStatement): Follower[] {
    const found = followers.named(effect.schema ?? statement.schema, effect.name, isForeign(statement));
    return found.filter((follower) => !follower.gone && !groups.skips(follower));
  }

  /** Its names are in the charset of a client that does not speak UTF-8. */
  function isForeign({ sql, collation }: LogStatement): boolean {
    if (collation === 0 || !BEYOND_ASCII.test(sql)) return false;
    return !/^(utf8|utf8mb3|utf8mb4|binary)$/.test(charsets.ofCollation(collation) ?? '');
  }

  /** Applies effects; returns the tables that must be looked at. */
  function apply(effects: readonly Effect[], statement: LogStatement): Map<Follower, Effect> {
    const looks = new Map<Follower, Effect>();
    if (groups.current.old) return looks;
    for (const effect of effects)
      for (const follower of affected(effect, statement)) {
        if (effect.what === 'truncate') groups.deliver({ kind: 'truncate', table: follower.index });
        else if (effect.what === 'reload') groups.drop(follower, effect.reason);
        else if (effect.what === 'look') looks.set(follower, effect);
      }
    return looks;
  }

  async function lookAt(looks: ReadonlyMap<Follower, Effect>): Promise<void> {
    for (const [follower, effect] of looks) {
      if (follower.gone) continue;
      const event = await look(follower, effect);
      if (!event) continue;
      follower.gone = true;
      groups.deliver(event);
    }
  }

  return (statement, seconds) => {
    const parsed = parseStatement(statement);
    const group = groups.current;
    switch (parsed.kind) {
      case 'begin':
        group.open = true;
        return;
      case 'commit':
        groups.end(seconds);
        return;
      case 'rollback':
        groups.spoil(
          'a transaction that changed its rows was rolled back in the log, which happens beside tables without transactions',
        );
        groups.end(seconds);
        return;
      case 'undo':
        groups.spoil(
          'a part of a transaction was rolled back in the log, which happens beside tables without transactions',
        );
        return;
      case 'xaStart':
        group.open = true;
        if (!group.held) groups.hold();
        return;
      case 'xaCommit':
      case 'xaRollback':
        groups.settle(parsed.xid, parsed.kind === 'xaCommit', seconds);
        return;
      case 'nothing':
        if (!group.open) groups.end(seconds);
        return;
      case 'effects': {
        const looks = apply(parsed.effects, statement);
        const ends = !group.open && !parsed.begins;
        if (parsed.begins) group.open = true;
        if (looks.size > 0)
          return lookAt(looks).then(() => {
            if (ends) groups.end(seconds);
          });
        if (ends) groups.end(seconds);
      }
    }
    return;
  };
}
