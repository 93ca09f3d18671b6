import { AccessDenied, isPermanent, Misconfigured, StructureChanged, UnsupportedValue } from '../errors.ts';
import type { JdbcOptions } from './options.ts';

/** What the JVM says of an error: where it arose (java/*.java), the exception's class, SQL state and vendor's number, and its messages. */
export type Raised = {
  readonly kind: string;
  readonly className: string;
  readonly state: string;
  readonly code: string;
  readonly text: string;
};

/** What was being done, for the message. `where`: the user's own condition was part of the statement. */
export type About = {
  readonly doing: 'opening' | 'asking' | 'checking' | 'reading';
  readonly table?: string;
  readonly where?: boolean;
};

/** An answer of the JVM that is an error; callers turn it into `failure`. */
export class JvmError extends Error {
  readonly raised: Raised;
  constructor(raised: Raised) {
    super(raised.text);
    this.name = 'JvmError';
    this.raised = raised;
  }
}

/** Drivers have no word in common for a refused login: SQL state 28…, and what is known of those that give another one. */
const LOGIN =
  /password|authenticat|login failed|access denied|invalid (user|credential|authoriz)|incorrect username|wrong user/i;
const RIGHTS =
  /permission|privilege|not authorized|access denied|command denied|lacks|not enough rights|insufficient|does not have/i;
const MISSING = /^(42P01|42703|42704|3F000|42S02|42S22|42X05|42X04|42Y07|42102|42122)$/;

const LONGEST = 1_500;

/** Turns what the JVM raised into a class of `errors.ts`, or into a plain (transient) error; other errors stay as they are. */
export function failure(error: unknown, options: JdbcOptions, about: About): Error {
  if (!(error instanceof JvmError))
    return isPermanent(error) || error instanceof Error ? error : new Error(String(error));
  const { raised } = error;
  const text = withoutSecrets(raised.text, options)
    .slice(0, LONGEST)
    .replace(/[.\s]+$/, '');
  if (about.doing === 'opening') return opening(raised, text, options);
  const of = about.table === undefined ? '' : ` of table ${about.table}`;
  if (raised.kind === 'value' || raised.kind === 'keyvalue')
    return new UnsupportedValue(
      text,
      raised.kind === 'keyvalue'
        ? 'A key can not be replaced: correct the row at the source, or choose another `key`.'
        : 'Correct the row, or set `types` of the column to VARCHAR(64), which holds every value as text.',
    );
  const { state, code } = raised;
  const told = `${text}${state === '' ? '' : ` (SQL state ${state}${code === '' || code === '0' ? '' : `, error ${code}`})`}`;
  if (about.doing === 'checking' && about.where && !/^(08|57|53)/.test(state)) return condition(of, told);
  if (state === '42501' || /^4250/.test(state) || ['1044', '1142', '1143', '90096'].includes(code))
    return new AccessDenied(
      `The database denies access${of}: ${told}.`,
      `Grant ${options.user} the right to read it (SELECT, and USAGE of its schema), and check that it is there.`,
    );
  if (MISSING.test(state) || /no such (table|column)/.test(text))
    return new StructureChanged(`The structure${of} changed: ${told}.`, 'The load starts over by itself.');
  if (about.where && /^(42|22|07|37)/.test(state)) return condition(of, told);
  if (RIGHTS.test(text) && /^(42|28)/.test(state))
    return new AccessDenied(
      `The database denies access${of}: ${told}.`,
      `Grant ${options.user} the right to read it (SELECT, and USAGE of its schema).`,
    );
  if (state.startsWith('22'))
    return new UnsupportedValue(
      `The database can not give a value${of}: ${told}.`,
      'Correct the row or the view at the source.',
    );
  return new Error(`The JDBC driver, reading${of === '' ? '' : of.slice(3)}: ${told}`);
}

function condition(of: string, told: string): Misconfigured {
  return new Misconfigured(
    `The database refuses the condition (\`where\`)${of}: ${told}.`,
    "Correct the table's `where`; it is SQL of the source without the word WHERE.",
  );
}

function opening({ kind, state, code, className }: Raised, text: string, options: JdbcOptions): Error {
  const told = `${text}${state === '' ? '' : ` (SQL state ${state}${code === '' || code === '0' ? '' : `, error ${code}`})`}`;
  switch (kind) {
    case 'class':
      return wrong(
        `No jar in the folder ${options.folder} holds the class ${text}.`,
        'Check `drv` (it is case-sensitive), and put the driver’s jar, with all that it needs, into that folder on each worker.',
      );
    case 'nodriver':
      return wrong(`The class ${text} is no JDBC driver.`, 'Set `drv` to the class that the driver’s manual names.');
    case 'java':
      return wrong(
        `The JDBC driver needs a newer Java than the worker has: ${text}.`,
        'Install a newer Java runtime on each worker, or use an older version of the driver.',
      );
    case 'broken':
      return wrong(
        `The JDBC driver ${options.driver} can not be made: ${text}.`,
        'Put all jars that the driver needs into the folder that `jdbc_drivers` names, and only one version of each.',
      );
    case 'url':
      return wrong(
        `The driver ${options.driver} does not take this URL (${options.url.split(':').slice(0, 2).join(':')}:…).`,
        'Check `url` and `jdbc_options`: the driver’s manual says how its URLs begin.',
      );
  }
  if (/^08/.test(state) && /\b(?:SSL|TLS)\b/.test(text))
    return wrong(
      `The database can not be reached with TLS as it is asked for: ${told}.`,
      'Check the TLS options in `url` and `jdbc_options`.',
    );
  if (/^28/.test(state) || state === '08004' || code === '1045' || LOGIN.test(text))
    return new AccessDenied(
      `The database refused the login of ${options.user}: ${told}.`,
      'Check `uid` and `pwd`, and that the user may log in from the worker.',
    );
  if (state === '3D000' || ['1049', '90146', '90013'].includes(code) || state === 'XJ004' || state === '2E000')
    return wrong(`The database in the URL does not exist: ${told}.`, 'Check `url`.');
  if (/UnsupportedClassVersionError/.test(className))
    return wrong(told, 'Install a newer Java runtime on each worker.');
  if (/^08|^HY000|^57|^53/.test(state) || /refused|timed? ?out|unknown host|unreachable/i.test(text))
    return new Error(`Can't reach the database by JDBC: ${told}. Check the host and port in \`url\`, and firewalls.`);
  return new Error(`The JDBC driver can't connect: ${told}`);
}

/** Tests show messages alone: what to do is part of them. */
function wrong(message: string, action: string): Misconfigured {
  return new Misconfigured(`${message} ${action}`, action);
}

const KEYED = /[\w.-]*(?:pass|pwd|secret|token|credential|key|sig)[\w.-]*=(\{[^}]*\}|[^&;,\s]+)/gi;
const IN_ADDRESS = [/\/\/[^/@:\s]*:([^/@\s]+)@/g, /\/\/[^/@:\s]*:(\S+)@/g, /:thin:[^/@\s]+\/([^@\s]+)@/g];
/** A shorter one is part of too many words to be taken out of them. */
const SHORTEST = 3;

/** A message with passwords, and the URL that may hold some, taken out. To be cut only afterwards: half a secret is not found. */
export function withoutSecrets(text: string, { url, password }: Pick<JdbcOptions, 'url' | 'password'>): string {
  const found = [KEYED, ...IN_ADDRESS].flatMap((pattern) => [...url.matchAll(pattern)].map((match) => match[1] ?? ''));
  const secrets = new Set([password, ...found].flatMap(spellings).filter((one) => one.length >= SHORTEST));
  let clean = text.replaceAll(url, '<url>');
  for (const secret of [...secrets].sort((a, b) => b.length - a.length)) clean = clean.replaceAll(secret, '***');
  return clean;
}

/** How drivers may print a part of a URL: as it stands, decoded, out of its braces, or in front of a bracket that closes a list. */
function spellings(secret: string): string[] {
  const inner = /^\{(.*)\}$/.exec(secret)?.[1] ?? secret;
  return [secret, inner, decoded(inner), secret.split(')')[0] ?? '', encodeURIComponent(inner)];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}
