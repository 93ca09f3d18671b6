/** What the worker registers: workflow types are these function names (DESIGN.md §4). Stored in histories: never rename. */
export { delta } from './delta.ts';
export { full, syncnew } from './full.ts';
export { pipeline } from './pipeline.ts';
export { catalog, connectionTest, removal, report } from './quick.ts';
export { resume } from './resume.ts';
export { rollback, rollbackPoints } from './rollback.ts';
export { validate } from './validate.ts';
