import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { cachedFolder } from './cache.ts';
import { runCommand } from './process.ts';

/**
 * Parses statements in an SQL dialect by sqlfluff, kept in the cache; answers for each what it could not parse, or null. A test tool only. Rejects with the
 * reason where there is no Python with pip, or its package index can't be reached.
 */
export async function parseSql(dialect: string, statements: readonly string[]): Promise<(string | null)[]> {
  const folder = await cachedFolder('sqlfluff-4.5.0', async (draft) => {
    await runCommand('python3', ['-m', 'pip', 'install', '--quiet', '--target', join(draft, 'lib'), 'sqlfluff==4.5.0']);
  });
  const child = spawn('python3', ['-c', PROGRAM, dialect], {
    env: { ...process.env, PYTHONPATH: join(folder, 'lib') },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.end(JSON.stringify(statements));
  const [answer, errors] = await Promise.all([textOf(child.stdout), textOf(child.stderr)]);
  try {
    return JSON.parse(answer) as (string | null)[];
  } catch {
    throw new Error(`sqlfluff ended without an answer: ${errors.slice(-500)}`);
  }
}

const PROGRAM = `
import json, logging, sys
logging.disable(logging.CRITICAL)
from sqlfluff.core import Linter
linter = Linter(dialect=sys.argv[1])
answers = []
for sql in json.load(sys.stdin):
    parsed = linter.parse_string(sql + "\\n")
    problems = [v.desc() for v in parsed.violations if v.rule_code() in ("PRS", "LXR")]
    answers.append(problems[0] if problems else None)
print(json.dumps(answers))
`;
