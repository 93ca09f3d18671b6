import { mssqlGround } from './mssql-fixture.ts';
import { testSource } from './source-suite.ts';

// Both read by the same code and differ in positions, which the tests of changes hold: one of them is enough for most days.
for (const type of ['rds.mscdcm', ...(process.env['FLOW_MATRIX'] ? ['rds.msadbctm'] : [])])
  testSource(`a fake SQL Server, ${type}`, async () => {
    const ground = await mssqlGround(type);
    const { engine, tds, password } = ground.fake;
    engine.settings.tracking = true;
    engine.settings.cdc = true;
    const made = new Set<string>();
    return {
      open: ground.open,
      password,
      schema: 'dbo',
      sql: async (statement) => {
        const rows = ground.run(statement);
        const named = /^create table (?:if not exists )?(?:\[((?:[^\]]|\]\])+)\]|(\w+)) /.exec(statement);
        const name = named?.[1]?.replaceAll(']]', ']') ?? named?.[2];
        if (name === undefined || made.has(name)) return rows;
        made.add(name);
        if (type === 'rds.mscdcm') engine.enableCdc('dbo', name);
        if (type === 'rds.msadbctm' && /primary key/.test(statement)) engine.track('dbo', name);
        return rows;
      },
      quote: (word) => `[${word.replaceAll(']', ']]')}]`,
      literal: (text) => `N'${text.replaceAll("'", "''")}'`,
      longText: 'nvarchar(max)',
      sessions: async () => tds.sessions(),
      stop: async () => ground[Symbol.asyncDispose](),
    };
  });
