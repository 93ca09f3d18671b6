import { inject } from 'vitest';
import { playground } from './mysql-fixture.ts';
import { testSource } from './source-suite.ts';

for (const name of ['mysql9', 'mariadb'] as const)
  testSource(name, async () => {
    const ground = await playground(name);
    const sql = async (statement: string) => {
      const rows = await ground.sql(statement);
      return Array.isArray(rows) ? rows.map((row) => row.map((value) => (value === null ? null : String(value)))) : [];
    };
    return {
      open: ground.open,
      password: inject(name).password,
      schema: ground.database,
      sql,
      quote: (word) => `\`${word.replaceAll('`', '``')}\``,
      literal: (text) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`,
      longText: 'longtext',
      sessions: async () => (await ground.sessions()).length,
      stop: async () => ground[Symbol.asyncDispose](),
    };
  });
