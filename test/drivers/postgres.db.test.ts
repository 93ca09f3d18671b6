import { playground, postgresServers } from './postgres-fixture.ts';
import { testSource } from './source-suite.ts';

for (const name of postgresServers())
  testSource(name, async () => {
    const ground = await playground(name);
    return {
      ...ground,
      schema: 'public',
      quote: (word) => `"${word.replaceAll('"', '""')}"`,
      literal: (text) => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`,
      longText: 'text',
      stop: async () => ground[Symbol.asyncDispose](),
    };
  });
