import { catalogKey } from './catalog.ts';
import { notDistributed, plainError, type Rule, syntaxError, unsupported } from './rule.ts';
import { isDdl, type Session, tableInfo } from './session.ts';
import { readTableReferences, type Statement, writesOf } from './statement.ts';
import { findWords, isOperator, isWord, type Token } from './tokens.ts';

/** Most tables that one transaction may write (docs: Write Queries). */
const TABLES_PER_TRANSACTION = 1024;
const LOCK_FUNCTIONS = ['GET_LOCK', 'RELEASE_LOCK', 'RELEASE_ALL_LOCKS', 'IS_FREE_LOCK', 'IS_USED_LOCK'];
const MARIADB_VARIABLES =
  /^@@?(global\.|session\.|local\.)?(innodb_\w+|aria_\w+|binlog_\w+|gtid_\w+|wsrep_\w+|in_transaction|optimizer_\w+|sql_log_bin|skip_parallel_replication|rand_seed\d|last_gtid)$/i;

/** Rules over transactions, locks, session settings and what the protocol offers. */
export const TRANSACTION_RULES: Rule[] = [
  {
    id: 'two-databases',
    ref: '§7.14, §4; docs: 7.0 release notes',
    find: (statement, session) => {
      const written = writesOf(statement).map((table) => table.database ?? session.database ?? '');
      const all = new Set([...(inTransaction(session) ? session.databases : []), ...written]);
      return written.length > 0 && all.size > 1
        ? `writing to several databases (${[...all].join(', ')}) in one transaction`
        : undefined;
    },
    error: notDistributed,
  },
  {
    id: 'too-many-tables',
    ref: '§4; docs: Write Queries (1024 tables per transaction)',
    find: (statement, session) => {
      if (!inTransaction(session)) return undefined;
      const all = new Set(session.tables);
      for (const table of writesOf(statement)) all.add(catalogKey(table, session.database));
      return all.size > TABLES_PER_TRANSACTION
        ? `a transaction that writes more than ${TABLES_PER_TRANSACTION} tables`
        : undefined;
    },
    error: notDistributed,
  },
  {
    id: 'ddl-in-transaction',
    ref: '§7.16, §2; DJ README; JDBC dataDefinitionCausesTransactionCommit',
    find: (statement, session) =>
      session.open && isDdl(statement) ? `${statement.verb} inside a transaction` : undefined,
    error: unsupported,
  },
  {
    id: 'reference-in-transaction',
    ref: '§4; DJ README ("not permitted on child aggregators")',
    find: (statement, session) => {
      const table = writesOf(statement).find((target) => tableInfo(session, target)?.reference);
      return table && inTransaction(session)
        ? `writing REFERENCE table '${table.name}' in a multi-statement transaction`
        : undefined;
    },
    error: notDistributed,
  },
  {
    id: 'savepoint',
    ref: '§7.11, §4; JDBC Connection',
    find: ({ verb, tokens }) => {
      if (verb === 'SAVEPOINT' || (verb === 'RELEASE' && isWord(tokens[1], 'SAVEPOINT'))) return 'SAVEPOINT';
      return verb === 'ROLLBACK' && tokens.some((token) => isWord(token, 'TO')) ? 'SAVEPOINT' : undefined;
    },
    error: unsupported,
  },
  {
    id: 'xa',
    ref: '§7.11',
    find: ({ verb }) => (verb === 'XA' ? 'XA' : undefined),
    error: unsupported,
  },
  {
    id: 'transaction-modifier',
    ref: '§7.11; docs: BEGIN',
    find: ({ verb, tokens }) => {
      if (verb === 'START' && isWord(tokens[1], 'TRANSACTION') && tokens.length > 2)
        return tokens
          .slice(2)
          .map((token) => token.value)
          .join(' ');
      if (verb === 'BEGIN' && tokens[1] && !isWord(tokens[1], 'WORK')) return tokens[1].value;
      return (verb === 'COMMIT' || verb === 'ROLLBACK') && tokens.some((token) => isWord(token, 'CHAIN', 'RELEASE'))
        ? `${verb} AND CHAIN`
        : undefined;
    },
    error: syntaxError,
  },
  {
    id: 'isolation-level',
    ref: '§7.11, §6; DJ base.py',
    find: ({ verb, tokens }) => {
      if (verb !== 'SET') return undefined;
      const level = findWords(tokens, ['ISOLATION', 'LEVEL']);
      if (level >= 0)
        return findWords(tokens, ['READ', 'COMMITTED']) === level + 2
          ? undefined
          : `isolation level ${tokens
              .slice(level + 2)
              .map((token) => token.value)
              .join(' ')}`;
      const at = tokens.findIndex((token) =>
        /^(@@(session\.|global\.)?)?(tx|transaction)_isolation$/i.test(token.value),
      );
      const value = tokens[at + 2]?.value;
      return at >= 0 && value && !/^read-committed$/i.test(value) ? `isolation level ${value}` : undefined;
    },
    error: unsupported,
  },
  {
    id: 'named-lock',
    ref: '§7.12, §6',
    find: ({ tokens }) => {
      const call = tokens.find((token, i) => isWord(token, ...LOCK_FUNCTIONS) && isOperator(tokens[i + 1], '('));
      return call && `FUNCTION ${call.word} does not exist`;
    },
    error: plainError(1305, '42000'),
  },
  {
    id: 'lock-tables',
    ref: '§7.12, §6',
    find: ({ verb, tokens }) =>
      ['LOCK', 'UNLOCK'].includes(verb) && isWord(tokens[1], 'TABLE', 'TABLES') ? `${verb} TABLES` : undefined,
    error: unsupported,
  },
  {
    id: 'for-update',
    ref: '§7.13, §4; DJ features.py',
    find: (statement) => (statement.verb === 'SELECT' ? lockingRead(statement) : undefined),
    error: unsupported,
  },
  {
    id: 'procedural',
    ref: '§7.7; docs: Unsupported MySQL Features',
    find: ({ verb, tokens }) => {
      if (!['CREATE', 'DROP', 'ALTER'].includes(verb)) return undefined;
      return tokens
        .slice(1, 8)
        .find(
          (token, i, head) =>
            isWord(token, 'TRIGGER', 'EVENT', 'SEQUENCE') &&
            !head.slice(0, i).some((before) => isWord(before, 'TABLE', 'VIEW', 'INDEX', 'DATABASE')),
        )?.word;
    },
    error: (found) => unsupported(found === 'SEQUENCE' ? 'sequences' : `${found}s`),
  },
  {
    id: 'prepared',
    ref: '§7.18, §6; docs: Unsupported MySQL Features',
    find: ({ verb, tokens }) =>
      ['PREPARE', 'DEALLOCATE'].includes(verb) || (verb === 'EXECUTE' && !isWord(tokens[1], 'IMMEDIATE'))
        ? 'PREPARE'
        : undefined,
    error: () => ({
      code: 1295,
      state: 'HY000',
      message: 'This command is not supported in the prepared statement protocol yet',
    }),
  },
  {
    id: 'unknown-variable',
    ref: '§6; docs: List of Engine Variables',
    find: ({ verb, tokens }) => {
      const set =
        verb === 'SET'
          ? tokens.find(
              (token, i) =>
                token.kind === 'word' && isOperator(tokens[i + 1], '=') && MARIADB_VARIABLES.test(`@@${token.value}`),
            )
          : undefined;
      const found =
        set ??
        tokens.find(
          (token) => token.kind === 'variable' && token.value.startsWith('@@') && MARIADB_VARIABLES.test(token.value),
        );
      return found && `Unknown system variable '${found.value.replace(/^@@/, '')}'`;
    },
    error: plainError(1193, 'HY000'),
  },
  {
    id: 'set-statement',
    ref: '§6',
    find: ({ verb, tokens }) => (verb === 'SET' && isWord(tokens[1], 'STATEMENT') ? 'STATEMENT' : undefined),
    error: syntaxError,
  },
  {
    id: 'kill-soft',
    ref: '§6; docs: KILL CONNECTION and KILL QUERY',
    find: ({ verb, tokens }) =>
      verb === 'KILL' ? tokens.slice(1).find((token) => isWord(token, 'HARD', 'SOFT', 'USER', 'ID'))?.word : undefined,
    error: syntaxError,
  },
];

function inTransaction(session: Session): boolean {
  return session.open || !session.autocommit;
}

function lockingRead({ tokens }: Statement): string | undefined {
  if (findWords(tokens, ['LOCK', 'IN', 'SHARE', 'MODE']) >= 0) return 'LOCK IN SHARE MODE';
  if (findWords(tokens, ['FOR', 'SHARE']) >= 0) return 'FOR SHARE';
  const at = findWords(tokens, ['FOR', 'UPDATE']);
  if (at < 0) return undefined;
  const tail = tokens.slice(at + 2).find((token: Token) => isWord(token, 'NOWAIT', 'SKIP', 'OF', 'WAIT'));
  if (tail) return `FOR UPDATE ${tail.word}`;
  const from = findWords(tokens, ['FROM']);
  if (from < 0) return undefined;
  const { references } = readTableReferences(tokens, from + 1);
  if (references.length > 1) return 'FOR UPDATE with a join';
  return tokens.some((token) => token.depth > 0 && isWord(token, 'SELECT')) ? 'FOR UPDATE with a subselect' : undefined;
}
