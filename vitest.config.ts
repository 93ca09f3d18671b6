import { defineConfig } from 'vitest/config';

/** The suffix of a test says what it needs: `.test` nothing, `.db.test` databases, `.temporal.test` a Temporal server, `.e2e.test` all of it. */
const common = { pool: 'forks', testTimeout: 60_000, hookTimeout: 120_000, teardownTimeout: 20_000 } as const;

export default defineConfig({
  test: {
    maxWorkers: 3,
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          // A process of its own for each file would take a third of the time; what a file changes of its process it puts back.
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.{db,temporal,e2e}.test.ts', 'node_modules/**'],
        },
      },
      {
        test: {
          ...common,
          name: 'servers',
          include: ['test/**/*.{db,temporal,e2e}.test.ts'],
          exclude: ['node_modules/**'],
          globalSetup: ['./test/servers.ts'],
        },
      },
    ],
  },
});
