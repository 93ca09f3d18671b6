import { vi } from 'vitest';
import { open } from '../../src/drivers/oracle/source.ts';
import { servers } from '../fakes/oracle/client.ts';
import { startOracle } from '../fakes/oracle/server.ts';
import { testSource } from './source-suite.ts';

vi.mock('oracledb', async () => ({ default: (await import('../fakes/oracle/client.ts')).fakeOracledb }));

testSource('the Oracle fake', async () => {
  const server = startOracle();
  servers.set('FREE', server);
  return {
    open: (more = {}) =>
      open(
        { host: 'h', port: '1521', db: 'FREE', uid: 'flow', pwd: 'flow-secret', type: 'rds.oracle11lfm', ...more },
        new AbortController().signal,
      ),
    password: 'flow-secret',
    schema: 'main',
    sql: async (statement) =>
      server.sql(statement).map((row) => row.map((value) => (value === null ? null : String(value)))),
    quote: (word) => `"${word.replaceAll('"', '""')}"`,
    literal: (text) => `'${text.replaceAll("'", "''")}'`,
    longText: 'clob',
    sessions: async () => server.sessions,
    stop: async () => server.close(),
  };
});
