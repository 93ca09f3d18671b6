import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const folder = fileURLToPath(new URL('../histories/', import.meta.url));
const files = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort();

type Event = { eventId: string; eventType: string; [key: string]: unknown };
type History = { events: Event[] };

let bundleFolder = '';
let codePath = '';

beforeAll(async () => {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    // Falsified histories are warned of by the dozen.
    telemetryOptions: { logging: { forward: {}, filter: 'error' } },
  });
  bundleFolder = await mkdtemp(join(tmpdir(), 'flow-replay-'));
  codePath = join(bundleFolder, 'workflows.js');
  const { code } = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../../src/workflows/index.ts', import.meta.url)),
    logger: new DefaultLogger('ERROR'),
  });
  await writeFile(codePath, code);
});
afterAll(() => rm(bundleFolder, { recursive: true, force: true }));

const read = async (name: string): Promise<History> =>
  JSON.parse(await readFile(join(folder, name), 'utf8')) as History;
const replay = (history: History): Promise<void> =>
  Worker.runReplayHistory({ workflowBundle: { codePath } }, history, 'replayed');

/** What a workflow asked the server to do, in the history's words. */
const commands: Record<string, string> = {
  EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: 'activityTaskScheduledEventAttributes',
  EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: 'startChildWorkflowExecutionInitiatedEventAttributes',
};

describe('recorded histories', () => {
  it('are there', () => expect(files.length).toBeGreaterThanOrEqual(12));

  it.each(files)('%s replays', async (name) => {
    await replay(await read(name));
  });
});

describe('falsified histories fail', () => {
  it.each(files)('%s with its first command renamed', async (name) => {
    const history = await read(name);
    const event = history.events.find((one) => one.eventType in commands);
    expect(event, 'a history without commands proves nothing').toBeDefined();
    const attributes = event?.[commands[event.eventType] ?? ''] as Record<string, { name: string }>;
    const type = attributes['activityType'] ?? attributes['workflowType'];
    if (type) type.name = 'somethingElse';
    await expect(replay(history)).rejects.toThrow();
  });

  it('with an activity too many', async () => {
    const history = await read('full-three-tables.json');
    const at = history.events.findIndex((event) => event.eventType === 'EVENT_TYPE_ACTIVITY_TASK_SCHEDULED');
    const extra = structuredClone(history.events[at] as Event);
    (extra['activityTaskScheduledEventAttributes'] as Record<string, unknown>)['activityId'] = '999';
    history.events.splice(at + 1, 0, extra);
    for (const [index, event] of history.events.entries()) event.eventId = String(index + 1);
    await expect(replay(history)).rejects.toThrow();
  });
});
