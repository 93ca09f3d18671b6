/**
 * Flags of Node for every process of the product (docs/benchmarks.md); they count at a process's start only. V8 lets the space of young objects grow
 * with the machine's memory, to three times 64 MB, and the old space to up to four times what lives in it before it looks for garbage; a capture makes many
 * short-lived objects and fills all of both, and is no faster for it.
 */
export const nodeFlags: readonly string[] = ['--max-semi-space-size=8', '--heap-growing-percent=50'];
