import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { configure, createPipeline, deletePipeline, requestFull, runEnd } from './api.ts';
import { atDestination, compare, leftovers } from './checks.ts';
import type { Card } from './deck.ts';
import { type Fleet, type Mode, productUser, type SourceName, startFleet } from './fleet.ts';
import { durations, type Phase, timeline } from './phases.ts';
import type { RoundRecord } from './record.ts';
import { playRound, type Session } from './round.ts';
import { type ChaosSource, grant, mysqlVersion, seedSource } from './source.ts';

export type LaneOptions = {
  readonly source: SourceName;
  readonly mode: Mode;
  /** Rows of the big table. */
  readonly rows: number;
  /** Where logs of failed rounds go; none: they are lost. */
  readonly keep?: string;
  readonly say: (line: string) => void;
  readonly onRecord: (record: RoundRecord) => void;
};

/** Attempts to land a blow before the run ends. */
const attempts = 4;

type Lane = {
  readonly fleet: Fleet;
  readonly source: ChaosSource;
  readonly servers: readonly string[];
  /** How long each phase takes without blows. */
  readonly usual: ReadonlyMap<Phase, number>;
};

/** Plays cards one after another on one fleet; after a round with problems a new fleet is made. */
export async function playLane(options: LaneOptions, cards: readonly Card[]): Promise<RoundRecord[]> {
  const records: RoundRecord[] = [];
  let lane: Lane | undefined;
  let session: Session | undefined;
  try {
    for (const card of cards) {
      for (let attempt = 0; attempt < attempts; attempt++) {
        lane ??= await openLane(options);
        const record = await tryRound(options, lane, session, card, attempt);
        session = record.session;
        if (!record.done) continue;
        records.push(record.done);
        options.onRecord(record.done);
        if (record.done.problems.length > 0) {
          if (options.keep) await keepLogs(options.keep, lane.fleet, card);
          await lane.fleet.stop();
          lane = undefined;
          session = undefined;
          break;
        }
        if (record.done.counted) break;
      }
    }
    return records;
  } finally {
    await lane?.fleet.stop();
  }
}

/** Starts a fleet, makes the tables and measures a full without blows. */
async function openLane({ source: name, mode, rows, say }: LaneOptions): Promise<Lane> {
  const fleet = await startFleet(name, mode);
  try {
    const source = await seedSource(fleet, rows);
    await atDestination(fleet, grant());
    const session = await openSession(fleet, source, 'warm-up');
    const run = await requestFull(session.api);
    const ended = await runEnd(session.api, run.id, 300_000);
    if (ended.state !== 'succeeded') throw new Error(`the full without blows ${ended.state}: ${ended.error?.message}`);
    const { differences, examples } = await compare(fleet, source, session.db);
    const left = await leftovers(fleet, source, { pipeline: 'warm-up', db: session.db, loaded: true });
    if (differences > 0 || left.length > 0) throw new Error(`without blows: ${[...examples, ...left].join('; ')}`);
    const usual = durations(await timeline(fleet.client, `pipeline/warm-up/full/${run.id}`));
    const times = [...usual].map(([phase, ms]) => `${phase} ${ms} ms`).join(', ');
    say(`${name}: ${ended.rows.loaded} rows in ${seconds(ended.startedAt, ended.endedAt)} s without blows (${times})`);
    await deletePipeline(fleet.url, 'warm-up');
    await atDestination(fleet, `drop database ${session.db}`);
    const [destination] = await atDestination(fleet, 'select version() as version');
    return { fleet, source, servers: [source.version, mysqlVersion(destination?.['version'])], usual };
  } catch (error) {
    await fleet.stop();
    throw error;
  }
}

async function openSession(fleet: Fleet, source: ChaosSource, pipeline: string): Promise<Session> {
  const api = await createPipeline(fleet.url, pipeline);
  const db = `dst_${pipeline.replaceAll('-', '_')}`;
  const { user: uid, password: pwd } = productUser;
  const { host, port } = fleet.address;
  await configure(api, source, { type: 'rds.sstorem', host, port: String(port), uid, pwd, pwd2: pwd, db });
  return { api, db, loaded: 0 };
}

async function tryRound(
  options: LaneOptions,
  lane: Lane,
  before: Session | undefined,
  card: Card,
  attempt: number,
): Promise<{ session: Session | undefined; done?: RoundRecord }> {
  const { fleet, source, usual } = lane;
  let session = before;
  try {
    await fleet.ready();
    // A first full needs a pipeline without a past; the old one must leave nothing at the source.
    if (card.first && session && session.loaded > 0) {
      await deletePipeline(fleet.url, session.api.pipeline);
      await atDestination(fleet, `drop database if exists ${session.db}`);
      session = undefined;
    }
    session ??= await openSession(fleet, source, `chaos-${card.round}-${attempt}`);
    if (session.loaded > 0) await source.change(card.round * 10 + attempt);
    const record = await playRound(fleet, source, session, card, attempt, usual);
    return { session, done: { ...record, servers: lane.servers } };
  } catch (error) {
    options.say(`round ${card.round} broke: ${error instanceof Error ? error.stack : String(error)}`);
    return { session, done: brokenRecord(options, card, attempt, error) };
  }
}

function brokenRecord({ mode }: LaneOptions, card: Card, attempt: number, error: unknown): RoundRecord {
  const none = {
    blows: [],
    servers: [],
    cancel: null,
    settings: null,
    startedAt: null,
    endedAt: null,
    repeated: !card.first,
  };
  const sums = { recoveryMs: 0, retries: 0, rows: 0, differences: 0, run: 0, counted: false };
  return { card, mode, attempt, pipeline: '', outcome: 'broken', ...none, ...sums, problems: [String(error)] };
}

async function keepLogs(folder: string, fleet: Fleet, card: Card): Promise<void> {
  const target = join(folder, `round-${card.round}`);
  await mkdir(target, { recursive: true });
  await cp(fleet.log, join(target, 'product.log')).catch(() => {});
  for (const server of ['source', 'destination', 'temporal'] as const) {
    const log = join(fleet[server].dataDir, '..', 'server.log');
    await cp(log, join(target, `${server}.log`)).catch(() => {});
  }
  await cp(fleet.temporal.dataDir, join(target, 'temporal'), { recursive: true }).catch(() => {});
}

function seconds(from: string | null, to: string | null): string {
  return ((Date.parse(to ?? '') - Date.parse(from ?? '')) / 1000).toFixed(1);
}
