import type { SelectedTable } from '../workflows/messages.ts';
import { type Ctx, lastSegments } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { listSchema, pathName } from './schemas.ts';

/** `list-db` and the two levels below it, all with the same item shape. */
export function listRoutes({ pipelines, catalog }: Deps): Route[] {
  async function answer(c: Ctx, pipeline: string, path: Path): Promise<Response> {
    const config = await pipelines.config(pipeline);
    const { database, names } = await catalog.list(config, path);
    const selected = selectedNames(await pipelines.selection(pipeline), database, path);
    // A selected view, or a table that has vanished from the source, is not listed there but must stay visible.
    const shown = path.length === 2 ? [...new Set([...names, ...selected])].sort(byCodePoint) : names;
    return c.json(shown.map((name) => ({ name, selected: selected.has(name), id: name })));
  }
  const tag = 'Tables';
  const answers = { 200: json('The names at this level', listSchema) };
  const database = pathName(
    'database',
    'The name of the database; any value where a database names nothing (MySQL, MongoDB).',
  );
  const schema = pathName('schema', 'The schema, or the MySQL database.');
  return [
    {
      method: 'get',
      path: '/list-db',
      id: 'list-databases',
      tag,
      summary: 'List the source database',
      answers,
      handle: (c, pipeline) => answer(c, pipeline, []),
    },
    {
      method: 'get',
      path: '/list-db/{database}',
      id: 'list-schemas',
      tag,
      summary: 'List schemas',
      params: { database },
      answers,
      handle: (c, pipeline) => answer(c, pipeline, lastSegments(c, 1) as [string]),
    },
    {
      method: 'get',
      path: '/list-db/{database}/{schema}',
      id: 'list-tables',
      tag,
      summary: 'List available tables with selection status',
      params: { database, schema },
      answers,
      handle: (c, pipeline) => answer(c, pipeline, lastSegments(c, 2) as [string, string]),
    },
  ];
}

type Path = readonly [] | readonly [string] | readonly [string, string];

function selectedNames(tables: readonly SelectedTable[], database: string, [, schema]: readonly string[]): Set<string> {
  const selected = tables.filter((table) => table.selected && table.database === database);
  if (schema !== undefined) return new Set(selected.filter((table) => table.schema === schema).map(({ name }) => name));
  return new Set(
    [database, ...selected.map((table) => table.schema)].filter((_, index) => index > 0 || selected.length > 0),
  );
}

function byCodePoint(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
