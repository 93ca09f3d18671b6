import type { History } from '@temporalio/common/lib/proto-utils.js';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { queues, type TestResult } from '../../src/workflows/messages.ts';
import type { Harness } from '../workflows/harness.ts';
import { type Destination, expectGood, makeDestination, runFull, sealed, startPipeline, startWorker } from './run.ts';
import { type SeededSource, seedMysql, seedPostgres } from './sources.ts';

const WRONG = 'wrong-Pa55word-of-a-test';

let harness: Harness;
let sources: SeededSource[];
let target: Destination;
beforeAll(async () => {
  harness = await startWorker();
  sources = [
    await seedPostgres(inject('postgres15'), 100),
    await seedMysql(inject('mysql9'), 100),
    await seedMysql(inject('mariadb'), 100),
  ];
  target = await makeDestination('mariadb');
});
afterAll(async () => {
  for (const source of sources ?? []) await source.drop();
  await target?.drop();
  await harness?.stop();
});

/** Every history of the namespace, payloads decoded. */
async function everything(): Promise<string> {
  const texts: string[] = [];
  for await (const { workflowId, runId } of harness.client.workflow.list()) {
    const history: History = await harness.client.workflow.getHandle(workflowId, runId).fetchHistory();
    const text = historyToJSON(history);
    texts.push(
      text,
      text.replace(/"data": ?"([A-Za-z0-9+/=]+)"/g, (_, data: string) => Buffer.from(data, 'base64').toString()),
    );
  }
  return texts.join('\n');
}

describe('histories', () => {
  it('hold no password, neither of runs that succeed nor of connections that are refused', async () => {
    for (const source of sources) {
      const own = await makeDestination('mariadb');
      const good = await startPipeline(harness, source, own, [{ name: 'keyless' }]);
      await expectGood(good, await runFull(good));
      await own.drop();
      const refused = { ...source, params: { ...source.params, pwd: WRONG } };
      const bad = await startPipeline(harness, refused, target, [{ name: 'keyless' }]);
      const run = await runFull(bad);
      expect(run).toMatchObject({ state: 'failed', error: { class: 'AccessDenied', side: 'source' } });
      const test = await harness.client.workflow.execute<(input: unknown) => Promise<TestResult>>('connectionTest', {
        taskQueue: queues.ingest,
        workflowId: `test/${source.database}/${source.schema}`,
        args: [{ side: 'source', params: sealed(refused.params) }],
      });
      expect(test.ok).toBe(false);
      expect(JSON.stringify(test)).not.toContain(WRONG);
    }
    const [source] = sources as [SeededSource];
    const bad = await startPipeline(harness, source, { ...target, params: { ...target.params, pwd: WRONG } }, [
      { name: 'keyless' },
    ]);
    expect(await runFull(bad)).toMatchObject({
      state: 'failed',
      error: { class: 'AccessDenied', side: 'destination' },
    });

    const text = await everything();
    expect(text).toContain('AccessDenied');
    expect(text).toContain('keyless');
    for (const secret of [
      WRONG,
      inject('destination').password,
      inject('postgres15').password,
      inject('mysql9').password,
    ]) {
      expect(text.includes(secret), 'a password in a history').toBe(false);
    }
    // Stacks would show where the product is installed.
    expect(text).not.toMatch(/"stackTrace": ?"[^"]*\/src\/(drivers|activities)\//);
  });
});
