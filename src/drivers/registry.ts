import type { OpenDestination } from './destination.ts';
import type { OpenSource } from './source.ts';

/** Source drivers by the names that `codes.ts` gives, imported when first used so that an unused client library costs nothing. */
export const sourceDrivers: Readonly<Record<string, () => Promise<OpenSource>>> = {
  postgres: async () => (await import('./postgres/source.ts')).open,
  mysql: async () => (await import('./mysql/source.ts')).open,
  jdbc: async () => (await import('./jdbc/source.ts')).open,
  mongodb: async () => (await import('./mongodb/source.ts')).open,
  mssql: async () => (await import('./mssql/source.ts')).open,
  oracle: async () => (await import('./oracle/source.ts')).open,
};

export const openDestination: OpenDestination = async (params, signal) =>
  (await import('./singlestore/destination.ts')).open(params, signal);
