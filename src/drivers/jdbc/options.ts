import { type CursorSettings, cursorSettings } from '../cursor.ts';
import { Misconfigured } from '../errors.ts';
import type { Params } from '../model.ts';

/** Options of a JDBC source, read from its parameters (docs/sources/jdbc.md). */
export type JdbcOptions = {
  /** Class of the driver. */
  readonly driver: string;
  /** With `jdbc_options` appended. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** The database (JDBC catalog) that is read; '': the one that the URL leads to. */
  readonly database: string;
  /** Folder of the driver's jars. */
  readonly folder: string;
  readonly heapMb: number;
  readonly refuse: boolean;
  /** Changes are found by cursor columns; otherwise not at all. */
  readonly follows: boolean;
  readonly cursor: CursorSettings;
};

/** In the folder in which the worker was started. */
const FOLDER = 'jdbc-drivers';
const HEAP_MB = 512;

/** Throws `Misconfigured` for a missing or malformed parameter. */
export function jdbcOptions(params: Params): JdbcOptions {
  const driver = params['drv'] ?? '';
  if (!/^[\p{L}_$][\p{L}\p{N}_$.]*$/u.test(driver))
    throw malformed('drv', 'the class of the JDBC driver, e.g. org.postgresql.Driver');
  const url = params['url'] ?? '';
  if (!/^jdbc:./i.test(url)) throw malformed('url', 'a JDBC URL, e.g. jdbc:postgresql://host:5432/database');
  const heap = Number(params['jdbc_heap_mb'] || HEAP_MB);
  if (!Number.isInteger(heap) || heap < 64) throw malformed('jdbc_heap_mb', 'a number of megabytes, at least 64');
  const policy = params['on_unrepresentable'] || 'rule';
  if (policy !== 'rule' && policy !== 'error') throw malformed('on_unrepresentable', 'rule or error');
  const capture = params['capture'] || 'log';
  if (!['log', 'none', 'cursor'].includes(capture)) throw malformed('capture', 'none or cursor');
  return {
    driver,
    url: url + (params['jdbc_options'] ?? ''),
    user: params['uid'] ?? '',
    password: params['pwd'] ?? '',
    database: params['db'] ?? '',
    folder: params['jdbc_drivers'] || FOLDER,
    heapMb: heap,
    refuse: policy === 'error',
    follows: capture === 'cursor',
    cursor: cursorSettings(params),
  };
}

function malformed(name: string, wanted: string): Misconfigured {
  return new Misconfigured(
    `The parameter ${name} is missing or malformed: set it to ${wanted}.`,
    `Set ${name} to ${wanted}.`,
  );
}
