import { missingParams, sourceCode } from '../codes.ts';
import type { TableOptions } from '../drivers/model.ts';
import type { CatalogAnswer, CatalogInput, PipelineConfig, TableDetail } from '../workflows/messages.ts';
import type { Pipelines } from './pipelines.ts';
import { Problem } from './problem.ts';

/** Names of one level as the source listed them. */
type Level = { readonly database: string; readonly names: ReadonlySet<string> | null; readonly at: number };

/** The source's catalog, remembered for a while per pipeline and saved connection. */
export type Catalog = {
  /** Lists a level anew: the root (`[]`), the schemas of a database, or the tables of a schema. Rejects with 404 when there is none. */
  list(
    config: PipelineConfig,
    path: readonly [] | readonly [string] | readonly [string, string],
  ): Promise<{ database: string; names: string[] }>;
  /** The database's name as listings show it if it has this table or view, else null. Asks the source only on a miss or a stale entry. */
  find(config: PipelineConfig, database: string, schema: string, table: string): Promise<string | null>;
  /** What the source says of one table under these options. */
  detail(
    config: PipelineConfig,
    database: string,
    schema: string,
    table: string,
    options: TableOptions,
  ): Promise<TableDetail | null>;
};

const rememberedMost = 2_000;

/** `ttlMs`: how long a listing is trusted. */
export function createCatalog(pipelines: Pipelines, ttlMs = 60_000, now: () => number = Date.now): Catalog {
  const levels = new Map<string, Promise<Level>>();
  const place = (config: PipelineConfig, path: readonly string[]) =>
    JSON.stringify([config.name, config.source.fingerprint, ...path]);

  function read(config: PipelineConfig, path: readonly string[]): Promise<Level> {
    const [database = null, schema = null] = path;
    const level = ask(pipelines, config, { database, schema }).then((answer) => ({
      database: answer.database,
      names: answer.names && new Set(answer.names),
      at: now(),
    }));
    const key = place(config, path);
    levels.delete(key);
    levels.set(key, level);
    if (levels.size > rememberedMost) levels.delete(levels.keys().next().value as string);
    // A failed listing must not be remembered, and requests at the same time share one.
    level.catch(() => levels.get(key) === level && levels.delete(key));
    return level;
  }

  return {
    async list(config, path) {
      const { database, names } = await read(config, path);
      if (names === null) {
        const [asked = ''] = path;
        const known =
          sourceCode(config.source.params.type)?.naming === 'schema' || [database, 'default'].includes(asked);
        throw notFound(known ? path : [asked]);
      }
      return { database, names: [...names] };
    },
    async find(config, database, schema, table) {
      const named = sourceCode(config.source.params.type)?.naming === 'schema' ? 'default' : database;
      const path = [named, schema];
      const seen = levels.get(place(config, path));
      const remembered = await seen?.catch(() => undefined);
      if (remembered?.names?.has(table) && now() - remembered.at < ttlMs) return remembered.database;
      // Requests at the same time share one listing: one that another has begun meanwhile is new enough for this one.
      const newer = levels.get(place(config, path));
      const level = await (newer !== undefined && newer !== seen ? newer : read(config, path));
      if (level.names === null) return null;
      if (level.names.has(table)) return level.database;
      // Views are not listed, but may be selected by name.
      const view = await ask(pipelines, config, { database: named, schema, table: { name: table, options: {} } });
      return view.table !== undefined && exists(view.table) ? view.database : null;
    },
    async detail(config, database, schema, table, options) {
      const answer = await ask(pipelines, config, { database, schema, table: { name: table, options } });
      return answer.names === null ? null : (answer.table ?? null);
    },
  };
}

function exists(table: TableDetail): boolean {
  return table.error === null || table.columns.length + table.leftOut.length > 0;
}

async function ask(
  pipelines: Pipelines,
  config: PipelineConfig,
  where: Pick<CatalogInput, 'database' | 'schema' | 'table'>,
): Promise<CatalogAnswer> {
  const { source, destination } = config;
  const missing = missingParams(source.params);
  if (missing.length > 0) {
    throw new Problem(
      409,
      `The source connection is not configured: ${missing.join(', ')} missing. Save it with PATCH conn-src.`,
      {
        more: { reason: { code: 'no_connection', text: `missing: ${missing.join(', ')}` } },
      },
    );
  }
  if (sourceCode(source.params.type) === undefined)
    throw new Problem(409, `Error: Driver not found for ${source.params.type}`);
  const note = (connected: boolean) =>
    connected === source.connected
      ? undefined
      : pipelines
          .noteConnection(config.name, { side: 'source', fingerprint: source.fingerprint, connected })
          .catch(() => undefined);
  try {
    const answer = await pipelines.catalog(config.name, {
      source: source.params,
      destination: destination.params,
      ...where,
    });
    await note(true);
    return answer;
  } catch (error) {
    if (error instanceof Problem && error.status === 502) await note(false);
    throw error;
  }
}

function notFound(path: readonly string[]): Problem {
  return path.length === 1
    ? new Problem(404, `The source has no database ${path[0]}.`, {
        errors: [{ field: 'database', message: 'is not known' }],
      })
    : new Problem(404, `The source has no schema ${path.at(-1)} in database ${path[0]}.`, {
        errors: [{ field: 'schema', message: 'is not known' }],
      });
}
