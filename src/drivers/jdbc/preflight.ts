import { isPermanent } from '../errors.ts';
import type { Finding, TableRef } from '../model.ts';
import { readTables } from './catalog.ts';
import { describeTable, mappingsOf } from './describe.ts';
import type { JdbcOptions } from './options.ts';
import { EVERYTHING } from './range.ts';
import { chunkSelect } from './read.ts';
import { ask, type Session } from './session.ts';

/** What would make a full extract of `tables` fail: tables that are not there, and rights that are missing. Java, driver and login were proved by opening. Changes nothing. */
export async function preflight(
  session: Session,
  options: JdbcOptions,
  tables: readonly TableRef[],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const catalog = await readTables(session, options, tables);
  for (const [index, ref] of tables.entries()) {
    const name = `${ref.schema}.${ref.name}`;
    const found = catalog[index];
    if (!found) {
      const message = `There is no table ${name} that ${options.user} may see: check the name (it is case-sensitive), or grant SELECT on it.`;
      findings.push({ severity: 'error', code: 'table', message, table: ref });
      continue;
    }
    try {
      const table = describeTable(session.facts, found, {});
      const { sql } = chunkSelect(
        session.facts,
        table,
        mappingsOf(session.facts, found, table) ?? [],
        undefined,
        EVERYTHING,
      );
      // Reads no row, but the database checks the rights on every column.
      await ask(session, options, { doing: 'asking', table: name }, 'Q', [`${sql} where 1 = 0`, []]);
    } catch (error) {
      // What only some options cure is said when the table is described with them.
      if (!isPermanent(error)) throw error;
      if (error.name === 'UnsupportedValue') continue;
      const code = error.name === 'AccessDenied' ? 'grant' : 'table';
      findings.push({ severity: 'error', code, message: `${error.message} ${error.action}`, table: ref });
    }
  }
  return findings;
}
