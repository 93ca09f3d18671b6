import type { Session } from './session.ts';
import type { Statement } from './statement.ts';

/** An error as the wire carries it. */
export type SqlError = { code: number; state: string; message: string };

/**
 * Something that MariaDB accepts and SingleStore rejects. `ref` names the place in singlestore.md and, where there is
 * one, the documentation page. `find` returns what it found, in words, or undefined.
 */
export type Rule = {
  id: string;
  ref: string;
  find(statement: Statement, session: Session): string | undefined;
  error(found: string): SqlError;
};

/**
 * The error of a feature that SingleStore lacks. The texts follow those met in connectors and documentation; the numbers
 * of the 17xx range were not seen on a server (singlestore.md §10), so that no program may depend on them.
 */
export function unsupported(found: string): SqlError {
  return { code: 1706, state: 'HY000', message: `Feature '${found}' is not supported by SingleStore.` };
}

/** The error of a feature that is missing on sharded tables or on workspaces with several aggregators. */
export function notDistributed(found: string): SqlError {
  return { code: 1749, state: 'HY000', message: `Feature '${found}' is not supported by SingleStore Distributed.` };
}

/** The error of text that is not in the grammar. */
export function syntaxError(found: string): SqlError {
  const message = `You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near '${found}' at line 1`;
  return { code: 1064, state: '42000', message };
}

/** The error of a table definition that breaks the rules of shard and unique keys. */
export function keyError(found: string): SqlError {
  return { code: 1744, state: 'HY000', message: found };
}

/** An error with a fixed number whose message is what was found. */
export function plainError(code: number, state: string): (found: string) => SqlError {
  return (message) => ({ code, state, message });
}
