import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { optionNames, optionRules } from '../../src/options.ts';

const text = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8');

it.each(optionNames)('docs/api.md says of %s what the code does', (name) => {
  const { side, type, default: fallback, effect } = optionRules[name];
  const shown = fallback === null ? 'none' : `\`${fallback}\``;
  expect(text).toContain(`| \`${name}\` | ${side} | ${type.replaceAll('|', '\\|')} | ${shown} | ${effect} |`);
});
