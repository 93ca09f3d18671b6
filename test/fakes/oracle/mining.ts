import type { SQLInputValue } from 'node:sqlite';
import { oracleError } from './error.ts';
import type { FakeRedo, FakeValue } from './redo.ts';
import type { FakeOracle } from './server.ts';

/** LogMiner: its package, and the view on the log. A session has one. */
export type Mining = { files: string[]; from: bigint; to: bigint; started: boolean };

const idOf = (name: string): string => /(\d+_\d+)\.(?:arc|log)$/.exec(name)?.[1] ?? '';

export function mine(server: FakeOracle, mining: Mining, sql: string, binds: SQLInputValue[]): FakeValue[][] {
  const { files } = (server.settings.minesFor ?? server).control;
  const has = (file: { thread: number; sequence: number }): boolean =>
    mining.files.some((name) => idOf(name) === `${file.thread}_${file.sequence}`);
  if (/add_logfile/.test(sql)) {
    const name = String(binds[0]);
    if (/\.new\)/.test(sql)) mining.files = [];
    if (mining.files.includes(name)) throw oracleError('ORA-01289', 'cannot add duplicate logfile');
    if (server.settings.copies && !server.settings.copies.has(name))
      throw oracleError('ORA-01284', `file ${name} cannot be opened`);
    mining.files.push(name);
  } else if (/start_logmnr/.test(sql)) {
    mining.from = BigInt(/startscn => (\d+)/.exec(sql)?.[1] ?? '0');
    mining.to = BigInt(/endscn => (\d+)/.exec(sql)?.[1] ?? '0');
    const lost = files.find((file) => !file.there && has(file));
    if (lost) throw oracleError('ORA-00308', `cannot open archived log '/arch/${lost.thread}_${lost.sequence}.arc'`);
    if (/dict_from_redo_logs/.test(sql) && !files.some((file) => file.dictionary && has(file)))
      throw oracleError('ORA-01371', 'Complete LogMiner dictionary not found');
    for (const file of files)
      if (file.first <= mining.to && (file.next ?? mining.to + 1n) > mining.from && !has(file))
        throw oracleError('ORA-01291', 'missing log file');
    mining.started = true;
  } else mining.started = false;
  return [];
}

/** The filter of the statement, applied by rules of its own. */
export function contentsOf(server: FakeOracle, mining: Mining, sql: string): FakeValue[][] {
  if (!mining.started)
    throw oracleError(
      'ORA-01306',
      'dbms_logmnr.start_logmnr() must be invoked before selecting from v$logmnr_contents',
    );
  const of = server.settings.minesFor ?? server;
  const from = BigInt(/scn >= (\d+)/.exec(sql)?.[1] ?? '0');
  const to = BigInt(/scn <= (\d+)/.exec(sql)?.[1] ?? '0');
  const container = /src_con_name = '((?:[^']|'')*)'/.exec(sql)?.[1];
  const names = new Set(
    [...sql.matchAll(/\('((?:[^']|'')*)', '((?:[^']|'')*)'\)/g)].map(([, owner, name]) =>
      `${owner}.${name}`.replaceAll("''", "'"),
    ),
  );
  const wanted = (row: FakeRedo): boolean => {
    if (row.scn < from || row.scn > to || row.scn < mining.from || row.scn > mining.to) return false;
    if (container !== undefined && row.container !== container)
      return row.operation === 34 && /' or operation_code = 34\)/.test(sql);
    const file = of.control.file(row.sequence, row.thread);
    // A file that is written over ends where its new rows begin.
    const held = (name: string): boolean =>
      idOf(name) === `${row.thread}_${row.sequence}` && !(file.reused && name.endsWith('.log'));
    if (!mining.files.some(held)) return false;
    if ([6, 7, 34, 36].includes(row.operation)) return true;
    if (row.operation === 5) return !(row.info ?? '').startsWith('INTERNAL DDL');
    return row.owner === 'UNKNOWN' || names.has(`${row.owner}.${row.table}`);
  };
  const rows = of.log.filter(wanted);
  // LogMiner merges the threads by SCN; rows of one SCN keep their order.
  return rows
    .map((row, index) => ({ row, index }))
    .sort((a, b) => (a.row.scn < b.row.scn ? -1 : a.row.scn > b.row.scn ? 1 : a.index - b.index))
    .map(({ row }) => [
      String(row.scn),
      row.time,
      row.xid,
      String(row.operation),
      String(row.rollback),
      String(row.status),
      row.info,
      row.owner,
      row.table,
      row.object,
      row.rowId,
      String(row.csf),
      row.sql,
    ]);
}
