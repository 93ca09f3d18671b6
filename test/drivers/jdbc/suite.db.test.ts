import { open } from '../../../src/drivers/jdbc/source.ts';
import { playground } from '../postgres-fixture.ts';
import { testSource } from '../source-suite.ts';
import { drivers, jarsOf, openClient, openJdbc, startH2 } from './fixture.ts';

if (drivers) {
  testSource(
    'H2 by JDBC',
    async () => {
      const { place, stop } = await startH2();
      const client = await openClient(place);
      await client.sql('create schema s');
      await client.sql('set schema s');
      return {
        open: (more) => openJdbc(place, more),
        schema: 's',
        password: place.pwd,
        sql: client.sql,
        quote: (word) => `"${word.replaceAll('"', '""')}"`,
        literal: (text) => `'${text.replaceAll("'", "''")}'`,
        longText: 'varchar(100000000)',
        sessions: async () =>
          Number((await client.sql('select count(*) - 1 from INFORMATION_SCHEMA.SESSIONS'))[0]?.[0]),
        stop: async () => {
          await client.close();
          await stop();
        },
      };
    },
    { captures: false },
  );

  testSource(
    'PostgreSQL by JDBC',
    async () => {
      const ground = await playground('postgres15');
      const { host = '', port = '', ...params } = ground.params();
      const url = `jdbc:postgresql://${host}:${port}/${ground.database}`;
      const place = { ...params, drv: 'org.postgresql.Driver', url, jdbc_drivers: jarsOf('postgres') };
      return {
        ...ground,
        open: (more) => open({ ...place, ...more }, new AbortController().signal),
        schema: 'public',
        quote: (word) => `"${word.replaceAll('"', '""')}"`,
        literal: (text) => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`,
        longText: 'text',
        stop: async () => ground[Symbol.asyncDispose](),
      };
    },
    { captures: false },
  );
}
