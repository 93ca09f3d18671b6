import type { SQLInputValue } from 'node:sqlite';
import { oracleError } from './error.ts';
import { contentsOf, type Mining, mine } from './mining.ts';
import type { FakeValue } from './redo.ts';
import type { FakeOracle } from './server.ts';

/**
 * The part of oracledb that the driver uses, in front of fakes: `vi.mock('oracledb', …)` puts it in the library's place, so that everything
 * of the driver runs. Servers are found by the service name that is asked for.
 */
export const servers = new Map<string, FakeOracle>();

type Options = { resultSet?: boolean; fetchTypeHandler?: unknown };
type Answer = {
  rows?: FakeValue[][];
  resultSet?: { getRows(count: number): Promise<FakeValue[][]>; close(): Promise<void> };
};

const STRING = { name: 'DB_TYPE_VARCHAR' };
const BUFFER = { name: 'DB_TYPE_RAW' };

export const fakeOracledb = {
  OUT_FORMAT_ARRAY: 4001,
  STRING,
  BUFFER,
  DB_TYPE_NUMBER: { name: 'DB_TYPE_NUMBER' },
  DB_TYPE_CLOB: { name: 'DB_TYPE_CLOB' },
  DB_TYPE_NCLOB: { name: 'DB_TYPE_NCLOB' },
  DB_TYPE_BLOB: { name: 'DB_TYPE_BLOB' },
  initOracleClient: () => {
    throw oracleError('DPI-1047', 'Cannot locate a 64-bit Oracle Client library');
  },
  getConnection,
};

async function getConnection(options: { user: string; password: string; connectString: string }) {
  const service = /(?:SERVICE_NAME|SID)=([^)]+)/.exec(options.connectString)?.[1] ?? '';
  const server = servers.get(service);
  if (!server)
    throw Object.assign(
      new Error(
        `NJS-518: cannot connect to Oracle Database. Service "${service}" is not registered with the listener at host h port 1521. (CONNECTION_ID=x)`,
      ),
      { code: 'NJS-518' },
    );
  takeFailure(server, `connect ${options.user}`);
  if (options.user !== server.settings.user || options.password !== server.settings.password)
    throw oracleError(
      'ORA-01017',
      'invalid credential or not authorized; logon denied\nHelp: https://docs.oracle.com/error-help/db/ora-01017/',
    );
  server.sessions++;
  return connectionOf(server);
}

function takeFailure(server: FakeOracle, sql: string): void {
  const at = server.failures.findIndex(({ pattern }) => pattern.test(sql));
  const [failure] = at < 0 ? [] : server.failures.splice(at, 1);
  if (failure) throw oracleError(failure.message.split(':')[0] ?? '', failure.message.replace(/^[^:]+: /, ''));
}

/** What was put in the place of an answer. */
function told(server: FakeOracle, sql: string): FakeValue[][] | undefined {
  const at = server.answers.findIndex(({ pattern }) => pattern.test(sql));
  return at < 0 ? undefined : server.answers.splice(at, 1)[0]?.work();
}

function connectionOf(server: FakeOracle) {
  const mining: Mining = { files: [], from: 0n, to: 0n, started: false };
  let open = true;
  let stopped = false;
  let container = server.settings.container;
  return {
    oracleServerVersionString: server.settings.version,
    async execute(sql: string, binds: SQLInputValue[], options: Options): Promise<Answer> {
      if (!open) throw oracleError('NJS-500', 'connection to Oracle Database was closed or broken');
      stopped = false;
      server.statements.push(sql);
      // As a network would: nothing is there at once.
      await new Promise((resolve) => setImmediate(resolve));
      takeFailure(server, sql);
      const rows =
        told(server, sql) ??
        answer(server, mining, sql, binds, container, (name) => {
          container = name;
        });
      if (!options.resultSet) return { rows };
      let at = 0;
      return {
        resultSet: {
          async getRows(count) {
            await new Promise((resolve) => setImmediate(resolve));
            if (stopped || !open) throw oracleError('ORA-01013', 'user requested cancel of current operation');
            takeFailure(server, `fetch ${at} of ${sql}`);
            told(server, `fetch ${at} of ${sql}`);
            const some = rows.slice(at, at + count);
            at += count;
            return some;
          },
          async close() {},
        },
      };
    },
    async break() {
      stopped = true;
    },
    async close() {
      if (open) server.sessions--;
      open = false;
    },
  };
}

function answer(
  server: FakeOracle,
  mining: Mining,
  sql: string,
  binds: SQLInputValue[],
  container: string,
  enter: (name: string) => void,
): FakeValue[][] {
  const into = /^alter session set container = "([^"]+)"/.exec(sql)?.[1];
  if (into !== undefined) {
    enter(into);
    return [];
  }
  if (/^alter session/.test(sql)) return [];
  if (/^begin/.test(sql)) return mine(server, mining, sql, binds);
  if (/sys_context\(/.test(sql))
    return [['FREE', container, server.settings.containerId === 0 ? '0' : container === 'CDB$ROOT' ? '1' : '3']];
  if (/systimestamp/.test(sql)) {
    const now = new Date();
    if (/FF3/.test(sql)) return [[now.toISOString().replace('T', ' ').replace('Z', '')]];
    const minute = now.toISOString().slice(0, 16).replace('T', ' ');
    return [[minute, minute]];
  }
  if (/object_name = 'DBMS_LOGMNR'/.test(sql)) return [['1']];
  if (/v\$logmnr_contents/.test(sql)) return contentsOf(server, mining, sql);
  if (/dbtimezone/.test(sql)) return [[server.settings.dbTimeZone]];
  try {
    return server.query(sql, binds).map((row) => row.map(fetched));
  } catch (error) {
    throw asOracle(error as Error);
  }
}

function fetched(value: FakeValue): FakeValue {
  if (typeof value === 'bigint') return String(value);
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}

function asOracle(error: Error): Error {
  if (/no such table/.test(error.message)) return oracleError('ORA-00942', 'table or view does not exist');
  if (/no such column/.test(error.message)) return oracleError('ORA-00904', error.message);
  if (/syntax error|incomplete input/.test(error.message))
    return oracleError('ORA-00933', `SQL command not properly ended (${error.message})`);
  return error;
}
