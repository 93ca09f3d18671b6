import { StructureChanged } from '../errors.ts';
import type { Batch, ChunkRead } from '../model.ts';
import type { Session } from './connection.ts';
import { countedLoad, rejection } from './counted-load.ts';
import { markRefusal } from './letters.ts';
import { quote } from './sql.ts';
import type { Writing } from './stage.ts';

export type Lines = () => AsyncGenerator<Batch, ChunkRead, undefined>;

/** Loads lines with one of a table's statements; a refused row is an error that `isRefusal` knows, and is looked for in `rowsAgain`. Returns the rows. */
export async function load(
  session: Session,
  { followed, loadRows: intoPlace, exact, stage }: Writing,
  statement: string,
  lines: Lines,
  rowsAgain: Lines | undefined,
  signal: AbortSignal,
): Promise<number> {
  let refused: string | undefined;
  const counted = {
    statement,
    table: followed.table,
    replace: !exact || statement !== intoPlace,
    filled: 'The copy',
    refuse: (words: string) => {
      refused = words;
    },
  };
  try {
    return (await countedLoad(session, counted, lines(), () => {}, signal)).rows;
  } catch (error) {
    if (refused === undefined) throw error;
    if (error instanceof StructureChanged) {
      if (!statement.includes(quote(stage.name))) throw error;
      // Another attempt has made its own.
      throw new Error(`The staging table of ${followed.ref.schema}.${followed.ref.name} was replaced.`);
    }
    throw markRefusal(await rejection(followed.table, 'its changes', refused, rowsAgain, signal));
  }
}
