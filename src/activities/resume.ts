import type { ClaimedScope, Followed } from '../drivers/apply.ts';
import type { Position } from '../drivers/model.ts';

/** Where the log must be read from. Positions of one scope's databases are ordered: each is a boundary of the same stream. */
export function smallest(claim: ClaimedScope, reached: (position: Position, goal: Position) => boolean): Position {
  const positions = claim.databases.map((row) => row.position);
  const first = positions.find((one) => positions.every((other) => reached(other, one)));
  if (first === undefined) throw new Error('The positions of the destination databases are not of one stream.');
  return first;
}

/**
 * What the table holds already: its own beginning, and what its database has applied while another one lags behind. `whole`: what it held when it joined is
 * delivered again, which comes to the same rows.
 */
export function skipped(claim: ClaimedScope, table: Followed, from: Position, whole = false): Position[] {
  const own = claim.databases.find((row) => row.database === table.target.database)?.position;
  return [
    ...(table.followFrom && !whole ? [table.followFrom] : []),
    ...(own !== undefined && own !== from ? [own] : []),
  ];
}
