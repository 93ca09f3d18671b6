import type { Rule, SqlError } from './rule.ts';
import { ALTER_RULES } from './rules-alter.ts';
import { COLUMN_RULES } from './rules-column.ts';
import { TABLE_RULES } from './rules-table.ts';
import { TRANSACTION_RULES } from './rules-transaction.ts';
import { VALUE_RULES } from './rules-value.ts';
import { WRITE_RULES } from './rules-write.ts';
import { copySession, newSession, observe, type Session } from './session.ts';
import { parse, type Statement } from './statement.ts';

/** A statement that SingleStore would not take, the rule that says so and the error that a client gets. */
export type Rejection = { sql: string; rule: string; ref: string; error: SqlError };

/** Everything that MariaDB accepts and SingleStore rejects, as far as text and session show it (singlestore.md §7). */
export const RULES: readonly Rule[] = [
  ...TABLE_RULES,
  ...COLUMN_RULES,
  ...ALTER_RULES,
  ...WRITE_RULES,
  ...TRANSACTION_RULES,
  ...VALUE_RULES,
];

/** The first rule that a statement breaks in a session. */
function check(statement: Statement, session: Session): Rejection | null {
  for (const rule of RULES) {
    const found = rule.find(statement, session);
    if (found !== undefined) return { sql: statement.text, rule: rule.id, ref: rule.ref, error: rule.error(found) };
  }
  return null;
}

/** Checks statements that run one after the other without changing the session. */
export function checkAll(statements: Statement[], session: Session): Rejection | null {
  const ahead = statements.length > 1 ? copySession(session) : session;
  for (const statement of statements) {
    const rejection = check(statement, ahead);
    if (rejection) return rejection;
    if (statements.length > 1) observe(ahead, statement);
  }
  return null;
}

/**
 * Says whether SingleStore would refuse a text, which may hold several statements. A session that is given goes on as if
 * the text had succeeded, so that a sequence of statements can be checked with one session.
 */
export function lint(sql: string, session: Session = newSession()): Rejection | null {
  const statements = parse(sql);
  const rejection = checkAll(statements, session);
  if (!rejection) for (const statement of statements) observe(session, statement);
  return rejection;
}
