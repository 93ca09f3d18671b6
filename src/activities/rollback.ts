import type { ClaimedScope, Point } from '../drivers/apply.ts';
import { Misconfigured, PositionLost } from '../drivers/errors.ts';
import type { Position } from '../drivers/model.ts';
import type { MainStream } from '../workflows/children.ts';
import { at, beat, type Connections, type Ends, type Sealed } from './connections.ts';
import type { Kept } from './pump.ts';

export type PointsInput = Sealed & { readonly pipeline: string; readonly main: MainStream };
/** `unreachableReason`: why there is none, or why older ones are not shown. */
export type PointsAnswer = { readonly points: readonly Point[]; readonly unreachableReason: string | null };

/** To a recorded point, or to a position that an operator has written down. */
export type RollbackTarget = { readonly point: number } | { readonly position: string };
export type RollbackInput = PointsInput & { readonly run: number; readonly to: RollbackTarget };
export type RollbackAnswer = { readonly position: string };

/** Quick activities. */
export function pointActivities(connections: Connections) {
  return {
    /** Rollback points that the source's log still reaches, newest first. */
    async readPoints(input: PointsInput): Promise<PointsAnswer> {
      return connections.withEnds(input, (ends) => reachable(ends, input));
    },
  };
}

export function rollbackActivities(connections: Connections) {
  return {
    /**
     * Sets the main stream back (EXACTNESS.md §10): the next delta replays from there. Refused when the log does not reach so far back, or the
     * stream has not been there yet. Repeated after a crash it changes nothing more.
     */
    async rollBack(input: RollbackInput): Promise<RollbackAnswer> {
      return connections.withEnds(input, (ends) => rollBack(ends, input));
    },
  };
}

async function reachable({ source, destination }: Ends, { pipeline, main }: PointsInput): Promise<PointsAnswer> {
  const [database] = main.databases;
  if (database === undefined) return { points: [], unreachableReason: null };
  const all = await at('destination', () => destination.points(database, pipeline, main.scope));
  const row = (await at('destination', () => destination.scopes(database, pipeline))).find(
    ({ scope }) => scope === main.scope,
  );
  const points: Point[] = [];
  for (const point of all) {
    const { lost } = await at('source', () => source.logState(row?.slot ?? '', point.position));
    // Older ones are lost, too.
    if (lost !== null) return { points, unreachableReason: lost };
    points.push(point);
  }
  return { points, unreachableReason: null };
}

async function rollBack(ends: Ends, input: RollbackInput): Promise<RollbackAnswer> {
  const { source, destination } = ends;
  const { pipeline, main, run } = input;
  const to = await positionOf(ends, input);
  const reached = (position: Position, goal: Position): boolean => source.reached(position, goal);
  const claim = await at('destination', () => destination.claimScope(main.databases, pipeline, main.scope, run));
  beat({ claimed: true });
  for (const { position, database } of claim.databases) {
    if (!reached(position, to))
      throw new Misconfigured(
        `The copy in ${database} has not come as far as ${to} yet: it stands at ${position}.`,
        'Choose an earlier position; later ones are reached by deltas.',
      );
  }
  const { lost } = await at('source', () => source.logState(claim.slot, to));
  if (lost !== null)
    throw new PositionLost(lost, 'Choose a later point: GET rollback-points lists those that can be reached.');
  const tables = await at('destination', () => destination.followed(main.databases, pipeline, main.scope));
  await at('destination', () => destination.rollBack({ claim, to, tables, reached }));
  return { position: to };
}

async function positionOf({ source, destination }: Ends, { pipeline, main, to }: RollbackInput): Promise<Position> {
  if ('position' in to) {
    const position = to.position as Position;
    try {
      source.reached(position, position);
    } catch {
      throw new Misconfigured(
        `"${to.position}" is no position of this source.`,
        'Give a position as GET status shows it.',
      );
    }
    return position;
  }
  const points = await at('destination', () => destination.points(main.databases[0] ?? '', pipeline, main.scope));
  const found = points.find(({ id }) => id === to.point);
  if (!found)
    throw new Misconfigured(
      `There is no rollback point ${to.point}.`,
      'GET rollback-points lists those that can be reached.',
    );
  return found.position;
}

/**
 * With `rollback_window` the source keeps its log back to the newest point that is older than the window, or as far as `rollback_window_mb`
 * allows; undefined: no window.
 */
export async function keptFrom(
  { source, destination, params }: Ends,
  claim: ClaimedScope,
  from: Position,
): Promise<Kept> {
  const hours = Number(params.source['rollback_window'] ?? 0);
  const [first] = claim.databases;
  if (!(hours > 0) || !first) return undefined;
  const points = await at('destination', () => destination.points(first.database, claim.pipeline, claim.scope));
  const most = Number(params.source['rollback_window_mb'] ?? 10_240) * 1_048_576;
  const before = Date.now() - hours * 3_600_000;
  // Newest first: the first one that is old enough, or too far back.
  let kept: Position | null = null;
  for (const point of points) {
    if (!source.reached(from, point.position)) continue;
    const { bytes } = await at('source', () => source.logState(claim.slot, point.position));
    if (bytes !== null && bytes > most) break;
    kept = point.position;
    if (Date.parse(point.recordedAt) < before) break;
  }
  return kept;
}
