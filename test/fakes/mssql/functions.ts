import type { DatabaseSync } from 'node:sqlite';
import { convert, type Stored, toUtc, variantOf } from './convert.ts';

/** What functions of T-SQL ask the server. */
export type World = {
  readonly database: string;
  readonly settings: { readonly tracking: boolean; readonly mayRead: boolean };
  /** The connection that writes. */
  writer(): DatabaseSync;
  /** Lets the capture job work, where it runs; up to where it has come. */
  capture(): bigint;
  /** The name of a change table by its object_id. */
  changeTable(id: number): string | null;
};

/** The last committed version, as a session sees it. */
export function version(db: DatabaseSync): bigint {
  return BigInt((db.prepare('select version from "$meta"').get() as { version: number }).version);
}

/** A version as LSN. */
export function lsn(value: bigint): Uint8Array {
  return Buffer.from(value.toString(16).padStart(20, '0'), 'hex');
}

function now(): string {
  return new Date().toISOString().slice(0, 23).replace('T', ' ');
}

const PARTS: Readonly<Record<string, number>> = { minute: 60_000, millisecond: 1 };

function moment(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`);
}

/** Gives a session the functions of T-SQL that SQLite lacks, and those that `rewrite` puts in the place of its syntax. */
export function addFunctions(db: DatabaseSync, world: World): void {
  const add = (name: string, fn: (...args: never[]) => Stored, options = {}): void =>
    void db.function(name, { varargs: true, useBigIntArguments: true, ...options }, fn as never);
  add('tsql_convert', ((target: string, source: string, value: Stored, style: bigint | null) =>
    convert(target, source, value, style === null ? null : Number(style))) as never);
  add('tsql_same', ((value: Stored) => value) as never);
  add('tsql_srid', ((value: string | null) =>
    value === null ? null : Number(/SRID=(\d+)/.exec(value)?.[1] ?? 0)) as never);
  add('tsql_wkt', ((value: string | null) => value?.replace(/^SRID=\d+;/, '') ?? null) as never);
  add('SWITCHOFFSET', ((value: Stored) => toUtc(value)) as never);
  add('SQL_VARIANT_PROPERTY', ((value: Stored) => (value === null ? null : variantOf(value).t)) as never);
  add('tsql_bytes', ((value: bigint) => lsn(value).subarray(2)) as never);
  add('tsql_lsn', ((value: bigint) => lsn(value)) as never);
  add('tsql_mask', ((...bits: bigint[]) => {
    const mask = Buffer.alloc(Math.ceil(bits.length / 8));
    for (const [i, bit] of bits.entries())
      if (bit === 1n) mask[mask.length - 1 - (i >> 3)] = (mask[mask.length - 1 - (i >> 3)] as number) | (1 << (i & 7));
    return mask;
  }) as never);
  add('tsql_datediff', ((part: string, from: string | null, to: string) =>
    from === null ? null : BigInt(Math.round((moment(to) - moment(from)) / (PARTS[part] ?? 1)))) as never);
  add('tsql_dateadd', ((part: string, count: bigint, to: string) =>
    new Date(moment(to) + Number(count) * (PARTS[part] ?? 1)).toISOString().slice(0, 23).replace('T', ' ')) as never);
  add('DB_NAME', (() => world.database) as never);
  add('DB_ID', (() => 1) as never);
  add('SERVERPROPERTY', ((name: string) => (name === 'EngineEdition' ? 3 : '16.0.4135.4')) as never);
  add('SYSUTCDATETIME', (() => now()) as never);
  add('SYSDATETIME', (() => now()) as never);
  add('HAS_PERMS_BY_NAME', ((_name: string, _kind: string, permission: string) =>
    permission === 'SELECT' && world.settings.mayRead ? 1 : 0) as never);
  add('QUOTENAME', ((name: string) => `[${name}]`) as never);
  add('OBJECT_SCHEMA_NAME', (() => 'dbo') as never);
  add('COLUMNPROPERTY', (() => 1) as never);
  add('OBJECT_NAME', ((id: bigint) => world.changeTable(Number(id))) as never);
  add('MIN_ACTIVE_ROWVERSION', (() =>
    lsn(BigInt((world.writer().prepare('select row_version + 1 as v from "$meta"').get() as { v: number }).v)).subarray(
      2,
    )) as never);
  // Of the session's own snapshot.
  add('CHANGE_TRACKING_CURRENT_VERSION', (() => (world.settings.tracking ? version(db) : null)) as never);
  add('CHANGE_TRACKING_MIN_VALID_VERSION', ((id: bigint) => {
    const row = db.prepare('select least from "sys.change_tracking_tables" where object_id = ?').get(id) as
      | { least: number }
      | undefined;
    return row ? BigInt(row.least) : null;
  }) as never);
  add('tsql_captured', (() => lsn(world.capture())) as never, { deterministic: true });
  add('fn_cdc_get_max_lsn', (() => {
    const captured = world.capture();
    const any = world.writer().prepare('select 1 from "cdc.lsn_time_mapping" limit 1').get();
    return any ? lsn(captured) : null;
  }) as never);
}
