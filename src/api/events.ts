import { z } from '@hono/zod-openapi';
import { streamSSE } from 'hono/streaming';
import type { Pipelines } from './pipelines.ts';
import { badFields } from './problem.ts';
import { type Ctx, checked } from './request.ts';
import { type Deps, json, type Route } from './route.ts';
import { eventsSchema, sinceQuery } from './schemas.ts';

const pollMs = 1_000;
const beatMs = 15_000;

/** The pipeline's event list, as JSON or as a stream of server-sent events. */
export function eventRoutes({ pipelines }: Deps): Route[] {
  return [
    {
      method: 'get',
      path: '/events',
      id: 'get-events',
      tag: 'Status',
      summary: 'Get events, or follow them',
      description:
        'JSON by default; a stream with `Accept: text/event-stream`, which `Last-Event-ID` continues. `next` is the `since` of the next call.',
      query: sinceQuery,
      headers: { 'Last-Event-ID': z.string().optional() },
      answers: { 200: json('Events', eventsSchema) },
      handle: async (c, pipeline) => {
        const since = sinceOf(c);
        const events = await pipelines.events(pipeline, since);
        if (!/\btext\/event-stream\b/i.test(c.req.header('accept') ?? '')) {
          return c.json({ events, next: events.at(-1)?.seq ?? since });
        }
        return follow(c, pipelines, pipeline, since);
      },
    },
  ];
}

function sinceOf(c: Ctx): number {
  const last = c.req.header('last-event-id');
  if (last !== undefined && last !== '') {
    if (!/^\d{1,15}$/.test(last)) throw badFields([{ field: 'Last-Event-ID', message: 'must be a whole number' }]);
    return Number(last);
  }
  return Number(checked(sinceQuery, c.req.query(), 'query').since ?? 0);
}

function follow(c: Ctx, pipelines: Pipelines, pipeline: string, from: number): Response {
  // Proxies that buffer would hold events back.
  c.header('X-Accel-Buffering', 'no');
  return streamSSE(c, async (stream) => {
    let since = from;
    let silent = 0;
    while (!stream.aborted && !stream.closed) {
      // While Temporal is away the stream stays open and continues where it was.
      const events = await pipelines.events(pipeline, since).catch(() => []);
      for (const event of events) {
        await stream.writeSSE({ id: String(event.seq), event: event.code, data: JSON.stringify(event) });
        since = event.seq;
      }
      silent = events.length > 0 ? 0 : silent + pollMs;
      if (silent >= beatMs) {
        await stream.write(': still here\n\n');
        silent = 0;
      }
      await stream.sleep(pollMs);
    }
  });
}
