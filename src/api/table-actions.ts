import { z } from '@hono/zod-openapi';
import type { SelectedTable, TableAction } from '../workflows/messages.ts';
import { Problem } from './problem.ts';
import { type Ctx, idempotencyKey, lastSegments } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { pathName, requestSchema } from './schemas.ts';

const actions = ['pause', 'resume', 'skip', 'reload'] as const satisfies readonly TableAction['action'][];

/** What an operator does to one table while the others go on. */
export function tableActionRoutes(deps: Deps): Route[] {
  return [
    {
      method: 'post',
      path: '/tables/{database}/{schema}/{table}/{action}',
      id: 'act-on-table',
      tag: 'Tables',
      summary: 'Pause, resume, skip or reload one table',
      description:
        '`pause` and `skip` take the table out of the stream at the next boundary; its copy stays. `reload` has it loaded again by the next syncnew, and so does `resume`, unless the source’s option `pause_keeps_log` has had its log kept: then it goes on from where it stands. What can’t be done now is refused with a reason.',
      params: {
        database: pathName('database', 'The name of the database, as list-db shows it, or any value for MySQL.'),
        schema: pathName('schema', 'The schema that contains the table.'),
        table: pathName('table', 'The name of the table.'),
        action: z.enum(actions),
      },
      answers: { 200: json('Done or refused', requestSchema) },
      handle: (c, pipeline) => act(deps, c, pipeline),
    },
  ];
}

async function act({ pipelines, key }: Deps, c: Ctx, pipeline: string): Promise<Response> {
  const [, schema, name, word] = lastSegments(c, 4) as [string, string, string, string];
  const action = actions.find((one) => one === word);
  if (action === undefined) {
    const message = `must be one of ${actions.join(', ')}`;
    throw new Problem(404, `There is no action ${word}.`, { errors: [{ field: 'action', message }] });
  }
  const table = (await pipelines.selection(pipeline)).find((one) => one.schema === schema && one.name === name);
  if (!isSelected(table))
    throw new Problem(404, `${schema}.${name} is not selected: select it with PATCH config-tab.`, {
      errors: [{ field: 'table', message: 'is not selected' }],
    });
  const asked = idempotencyKey(c, key, undefined);
  const answer = await pipelines.actOnTable(
    { pipeline, key: asked.given },
    { table: { schema, name }, action, idempotencyKey: asked.key },
  );
  const message = `Table ${action} requested`;
  if (answer.done) return c.json({ success: true, message: answer.text });
  return c.json({ success: false, message, reason: { code: 'not_now', text: answer.text } });
}

function isSelected(table: SelectedTable | undefined): boolean {
  return table?.selected === true;
}
