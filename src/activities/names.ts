import { createHash } from 'node:crypto';

/**
 * The name by which a pipeline's objects are known at the source (publication; prefix of its slots): `flow_` and twelve hex digits,
 * because pipeline names may be longer than a slot name and hold hyphens. Two installations that read one source with pipelines of
 * the same name would share it, so the installation's id goes in.
 */
export function sourceName(pipeline: string): string {
  return `flow_${createHash('sha256').update(`${installation}\0${pipeline}`).digest('hex').slice(0, 12)}`;
}

/** Slot name of one scope. */
export function slotName(pipeline: string, scope: number): string {
  return `${sourceName(pipeline)}_${scope}`;
}

/** Slot name for the log of tables that are paused under a claim: no two claims of a pipeline share one, later ones have a greater number. */
export function keptName(pipeline: string, scope: number, claim: number): string {
  return `${sourceName(pipeline)}_k${scope}_${claim}`;
}

/** What `keptName` was called with; null: another slot. */
export function readKeptName(name: string): { readonly scope: number; readonly claim: number } | null {
  const found = /_k(\d+)_(\d+)$/.exec(name);
  return found && { scope: Number(found[1]), claim: Number(found[2]) };
}

let installation = '';

/** Set once by the worker at start: the same on every worker of an installation (derived from the secret key). */
export function setInstallation(id: string): void {
  installation = id;
}
