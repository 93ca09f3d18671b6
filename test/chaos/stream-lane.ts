import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { configure, createPipeline, requestFull, runEnd } from './api.ts';
import { atDestination } from './checks.ts';
import { type Fleet, type Mode, productUser, type SourceName, startFleet } from './fleet.ts';
import { grant, seedSource } from './source.ts';
import { playStreamRound, type StreamRecord, type StreamStage } from './stream-round.ts';
import { everyVersion, versionTables } from './stream-versions.ts';
import { accountTables, addStreamTables } from './stream-work.ts';

export type StreamLane = {
  readonly source: SourceName;
  readonly mode: Mode;
  readonly rows: number;
  readonly keep?: string;
  readonly say: (line: string) => void;
  readonly onRecord: (record: StreamRecord) => void;
};

/** Plays rounds one after another on one pipeline that goes on through all of them; after a round with problems a new fleet is made. */
export async function playStreamLane(
  lane: StreamLane,
  rounds: readonly { readonly round: number; readonly seed: number }[],
): Promise<StreamRecord[]> {
  const records: StreamRecord[] = [];
  let stage: StreamStage | undefined;
  try {
    for (const { round, seed } of rounds) {
      stage ??= await openStage(lane);
      const record = await playStreamRound(stage, round, seed);
      records.push(record);
      lane.onRecord(record);
      if (record.problems.length === 0) continue;
      if (lane.keep) await keepLog(lane.keep, stage.fleet, round);
      await stage.fleet.stop();
      stage = undefined;
    }
    return records;
  } finally {
    await stage?.fleet.stop();
  }
}

/** A fleet, its tables, and a pipeline whose full extract has been made. */
async function openStage({ source: name, mode, rows }: StreamLane): Promise<StreamStage> {
  const fleet = await startFleet(name, mode);
  try {
    const seeded = await seedSource(fleet, rows);
    await addStreamTables(seeded, name === 'postgres' ? 'postgres' : 'mysql');
    await atDestination(fleet, grant());
    // Keyless tables are exact after a load only, and no delta follows them.
    const followed = seeded.tables.filter((table) => table !== 'keyless');
    const source = {
      ...seeded,
      tables: [...followed, ...accountTables, 'altered', 'still', 'kept_log', ...Object.keys(versionTables)],
    };
    const api = await createPipeline(fleet.url, 'stream');
    const { user: uid, password: pwd } = productUser;
    const { host, port } = fleet.address;
    const db = 'dst_stream';
    const max_updates = everyVersion(mode) ? '-1' : '4';
    const destination = { type: 'rds.sstorem', host, port: String(port), uid, pwd, pwd2: pwd, db, max_updates };
    await configure(api, source, destination);
    for (const table of Object.keys(versionTables))
      await api.send('PATCH', `/config-tab/${[...source.path, table].map(encodeURIComponent).join('/')}`, {
        history: 'Y',
      });
    const run = await requestFull(api);
    const ended = await runEnd(api, run.id, 300_000);
    if (ended.state !== 'succeeded') throw new Error(`the full extract ${ended.state}: ${ended.error?.message}`);
    return { fleet, source, api, db, extra: { seq: 0, table: null } };
  } catch (error) {
    await fleet.stop();
    throw error;
  }
}

async function keepLog(folder: string, fleet: Fleet, round: number): Promise<void> {
  const target = join(folder, `round-${round}`);
  await mkdir(target, { recursive: true });
  await cp(fleet.log, join(target, 'product.log')).catch(() => {});
  await cp(fleet.temporal.dataDir, join(target, 'temporal'), { recursive: true }).catch(() => {});
}

/** A round in one line. */
export function streamLine(record: StreamRecord): string {
  const { round, source, mode, schedule, operation, blows, transactions, problems } = record;
  const hit = blows.map(
    ({ victim, signal, during }) => `${victim}${signal === 'SIGSTOP' ? ' asleep' : ''} (${during})`,
  );
  const verdict = problems.length > 0 ? `PROBLEMS ${problems.join(' | ')}` : `${record.rows} rows equal`;
  const seen = `${record.sums} sums, ${record.versions} versions${record.validated ? `, ${record.validated.checked} rows validated` : ''}`;
  return `round ${round} ${source}/${mode} ${schedule}, ${operation}: ${hit.join(', ')} → ${transactions} transactions, equal ${(record.settleMs / 1000).toFixed(1)} s after, ${seen}, ${verdict}`;
}
