/**
 * Errors that trying again does not cure (DESIGN.md §4). The class name becomes the failure type in Temporal; everything else that a
 * driver throws is taken as transient. Messages are shown to users and stored in histories: no secret, no row dump.
 */
class Permanent extends Error {
  /** Who must do what, in one sentence. */
  readonly action: string;
  constructor(message: string, action: string) {
    super(message);
    this.name = new.target.name;
    this.action = action;
  }
}

/** Login refused, a grant is missing, or the server refuses the connection as configured (TLS, host rules). */
export class AccessDenied extends Permanent {}
/** The source's log no longer reaches back to the position, or the server is another one. */
export class PositionLost extends Permanent {}
/** A table's structure is not what the run was planned with. */
export class StructureChanged extends Permanent {}
/** A table, column, option or value that cannot be copied exactly. */
export class UnsupportedValue extends Permanent {}
/** The destination refuses rows or DDL; the message names table, key and column where known. */
export class DestinationRejected extends Permanent {}
/** A newer run owns the scope, chunk or table: this one must stop without touching anything. */
export class Superseded extends Permanent {}
/** A required setting is missing or malformed; found before anything was touched. */
export class Misconfigured extends Permanent {}

export type PermanentError =
  | AccessDenied
  | PositionLost
  | StructureChanged
  | UnsupportedValue
  | DestinationRejected
  | Superseded
  | Misconfigured;

/** True for the classes above; callers treat every other error as transient. */
export function isPermanent(error: unknown): error is PermanentError {
  return error instanceof Permanent;
}
