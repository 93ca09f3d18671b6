import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { nodeFlags } from '../src/node-flags.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

it('the command and the image start with the flags that the supervisor uses', () => {
  expect(read('src/main.ts').split('\n')[0]).toBe(`#!/usr/bin/env -S node ${nodeFlags.join(' ')}`);
  const entry = ['node', ...nodeFlags, 'src/main.ts'].map((word) => JSON.stringify(word)).join(', ');
  expect(read('Dockerfile')).toContain(`ENTRYPOINT [${entry}]`);
});
