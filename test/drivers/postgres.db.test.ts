import { playground, type ServerName } from './postgres-fixture.ts';
import { testSource } from './source-suite.ts';

for (const name of ['postgres15', 'postgres18'] satisfies ServerName[])
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
