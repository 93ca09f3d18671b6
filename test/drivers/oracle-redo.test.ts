import { spawn } from 'node:child_process';
import { text as textOf } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redoParser } from '../../scripts/servers/redo-parser.ts';
import { RedoSyntax } from '../../src/drivers/oracle/redo-reader.ts';
import { parseLong, parseRedo } from '../../src/drivers/oracle/redo-statement.ts';
import { literal } from '../fakes/oracle/redo.ts';
import { answerOf, COLUMNS, normalised, randomOf, statement } from './redo-statements.ts';

/** docs/proof/oracle-redo.md was made with as many as FLOW_MATRIX compares. */
const STATEMENTS = process.env['FLOW_MATRIX'] ? 100_000 : 20_000;

describe('SQL_REDO', () => {
  test.each([
    [
      `insert into "S"."T" ("A","B") values ('it''s || , )',NULL);`,
      'insert',
      [
        ['A', { form: 'text', text: "it's || , )" }],
        ['B', null],
      ],
      [],
    ],
    [
      `update "S"."T" a set a."A" = UNISTR('\\0412\\\\') || UNISTR('b') where a."B" IS NULL and "C" = HEXTORAW('0E')`,
      'update',
      [['A', { form: 'text', text: 'В\\b' }]],
      [
        ['B', null],
        ['C', { form: 'hex', text: '0E' }],
      ],
    ],
    [
      `delete from "S"."T" where "A" = TO_TIMESTAMP('2020-02-02 00:00:00.') and "B" = NULL and "C" = -1.5E+3;`,
      'delete',
      [],
      [
        ['A', { form: 'timestamp', text: '2020-02-02 00:00:00.' }],
        ['B', null],
        ['C', { form: 'bare', text: '-1.5E+3' }],
      ],
    ],
    [
      `insert into "S"."T"("A","B","C","D") values (/* JSON */ '{"a":1}',XMLTYPE('<a>)</a>'),EMPTY_CLOB(),Unsupported Type)`,
      'insert',
      [
        ['A', { form: 'unsupported', text: '{"a":1}' }],
        ['B', { form: 'unsupported', text: "XMLTYPE('<a>)</a>')" }],
        ['C', { form: 'empty', text: '' }],
        ['D', { form: 'unsupported', text: 'Unsupported Type' }],
      ],
      [],
    ],
  ])('%s', (sql, kind, set, where) => {
    const parsed = parseRedo(sql);
    expect(parsed).toMatchObject({ kind, schema: 'S', table: 'T' });
    expect([...parsed.set]).toEqual(set);
    expect([...parsed.where]).toEqual(where);
  });

  test('the row of a LOB operation', () => {
    const parsed = parseLong(
      `DECLARE \n loc_c CLOB; \n BEGIN\n select "BODY", "Two Words" into loc_c, loc_d from "S"."T" where "ID" = '1' and "V" = 'x;' for update;\n`,
    );
    expect([...(parsed?.set.keys() ?? [])]).toEqual(['BODY', 'Two Words']);
    expect([...(parsed?.where ?? [])]).toEqual([
      ['ID', { form: 'text', text: '1' }],
      ['V', { form: 'text', text: 'x;' }],
    ]);
  });

  test('a statement that is cut or damaged anywhere is refused, or says something else, never the same', () => {
    const random = randomOf(7);
    for (let i = 0; i < 40; i++) {
      const sql = statement(random).replace(/;$/, '');
      const whole = answerOf(parseRedo(sql));
      for (let cut = 0; cut < sql.length; cut += 3) {
        let shown = '';
        try {
          shown = answerOf(parseRedo(sql.slice(0, cut)));
        } catch (error) {
          expect(error).toBeInstanceOf(RedoSyntax);
          continue;
        }
        // A statement may end earlier than it did: at a condition, or within a number.
        expect([shown === whole, /^insert/.test(sql)]).not.toEqual([true, true]);
        expect(/^insert/.test(sql)).toBe(false);
      }
    }
  });

  test('any text comes back from each of the forms that it is spelled in', () => {
    const unicode = fc
      .string({ unit: 'binary', maxLength: 40 })
      .filter((text) => !/[\ud800-\udfff]/.test(text.replace(/[\ud800-\udbff][\udc00-\udfff]/g, '')));
    fc.assert(
      fc.property(fc.array(unicode, { minLength: 1, maxLength: 4 }), fc.boolean(), (texts, national) => {
        const columns = texts.map((_, i) => `C${i}`);
        const type = national ? 'NVARCHAR2(9)' : 'VARCHAR2(9)';
        const sql = `insert into "S"."T"(${columns.map((name) => `"${name}"`).join(',')}) values (${texts.map((text) => literal(text, type)).join(',')});`;
        expect([...parseRedo(sql).set.values()]).toEqual(texts.map((text) => ({ form: 'text', text })));
      }),
      { numRuns: 100 },
    );
  });

  test(`${STATEMENTS} statements are read as Debezium's LogMinerDmlParser reads them`, {
    timeout: 300_000,
  }, async (context) => {
    const program = await redoParser().catch((error: Error) => {
      console.log(`SKIPPED: SQL_REDO is not compared with Debezium's parser: ${error.message}`);
      return undefined;
    });
    if (!program) return context.skip();
    const random = randomOf(20_261_121);
    const all = Array.from({ length: STATEMENTS }, () => statement(random));
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const child = spawn(program.command, program.args, { stdio: ['pipe', 'pipe', 'ignore'] });
    child.stdin.end(`${[COLUMNS.map(base64).join(','), ...all.map(base64)].join('\n')}\n`);
    const lines = (await textOf(child.stdout)).split('\n').slice(0, -1);
    expect(lines).toHaveLength(STATEMENTS);
    const different = lines.flatMap((line, i) => {
      const sql = all[i] as string;
      const own = answerOf(parseRedo(sql));
      return normalised(line) === own ? [] : [{ sql, theirs: line, own }];
    });
    const refused = lines.filter((line) => line.startsWith('!')).length;
    console.log(`${STATEMENTS} statements, ${different.length} read differently, ${refused} refused by Debezium`);
    expect(different.slice(0, 5)).toEqual([]);
  });
});
