/**
 * Flags of Node for every process of the product. V8 lets the space of young objects grow with the machine's memory, to three times 64 MB; a capture
 * makes many short-lived objects and fills all of it, and is no faster for it (docs/benchmarks.md). They count at a process's start only.
 */
export const nodeFlags: readonly string[] = ['--max-semi-space-size=8'];
