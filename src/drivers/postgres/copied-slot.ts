import { Misconfigured } from '../errors.ts';
import type { Server, Session } from './connection.ts';
import { lost, slotLoss, slotState } from './log-start.ts';
import { dropSlot, slotFailure } from './position.ts';

/**
 * Copies a slot (contract: `Source.slots`): the copy stands where the slot stands at that moment and is not moved by its reader. A slot can be copied
 * while it is read.
 */
export async function copySlot(session: Session, server: Server, from: string, to: string): Promise<void> {
  if (server.version < 120000)
    throw new Misconfigured(
      'The server can not copy replication slots before PostgreSQL 12.',
      'Load the table again when it is resumed.',
    );
  const loss = slotLoss(await slotState(session, server.version, from), from, server.database);
  if (loss !== undefined) throw lost(loss);
  await dropSlot(session, to);
  try {
    await session.query('select pg_copy_logical_replication_slot($1, $2)', [from, to]);
  } catch (error) {
    throw slotFailure(error);
  }
}
