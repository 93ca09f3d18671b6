import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { appendFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { failure, JvmError, type Raised, withoutSecrets } from '../../../src/drivers/jdbc/failure.ts';
import { encodeRequest } from '../../../src/drivers/jdbc/frames.ts';
import { type Jvm, startJvm } from '../../../src/drivers/jdbc/jvm.ts';
import { type JdbcOptions, jdbcOptions } from '../../../src/drivers/jdbc/options.ts';
import { decodeRange, encodeRange, rangeConditions } from '../../../src/drivers/jdbc/range.ts';
import { compile, isFresh, jarsIn, javaArguments, javaTools } from '../../../src/drivers/jdbc/runtime.ts';
import { jvmFolder } from '../../../src/drivers/jdbc/scratch.ts';
import { identityOf } from '../../../src/drivers/jdbc/session.ts';
import { mapType } from '../../../src/drivers/jdbc/types.ts';
import type { Column } from '../../../src/drivers/model.ts';

const params = { drv: 'x.Driver', url: 'jdbc:x://h/d', uid: 'u', pwd: 'sesame' };

/** A program in the JVM's place: it waits for a request, then prints frames and ends as it is told. */
function pretend(script: string, more: { temporary?: string } = {}): Jvm {
  const program = `const frame = (type, ...parts) => { const body = Buffer.concat(parts), head = Buffer.alloc(5); head.write(type); head.writeInt32BE(body.length, 1); return Buffer.concat([head, body]); };
    const int = (n) => { const b = Buffer.alloc(4); b.writeInt32BE(n); return b; };
    const long = (n) => { const b = Buffer.alloc(8); b.writeBigInt64BE(BigInt(n)); return b; };
    const data = (rows, text) => frame('D', int(rows), Buffer.from(text));
    process.stdin.once('data', () => { ${script} });`;
  const clean = (text: string): string => text.replaceAll('sesame', '***');
  return startJvm({ java: process.execPath, args: ['-e', program], heapMb: 64, clean, ...more });
}

async function readAll(jvm: Jvm): Promise<{ text: string; rows: number }> {
  let text = '';
  const batches = jvm.read([]);
  for (;;) {
    const next = await batches.next();
    if (next.done) return { text, rows: next.value.rows };
    text += Buffer.from(next.value.data).toString();
  }
}

describe('a reading', () => {
  test('ends with its final record', async () => {
    const jvm = pretend(
      "process.stdout.write(Buffer.concat([data(1, 'a\\nb'), data(1, 'c\\n'), frame('F', long(2), int(0))]))",
    );
    expect(await readAll(jvm)).toEqual({ text: 'a\nbc\n', rows: 2 });
    await jvm.stop();
  });

  test.each([
    [
      'without its final record',
      "process.stdout.end(data(1, 'a\\n')); process.stdout.once('finish', () => process.exit(0))",
      /ended before it had answered/,
    ],
    [
      'in the middle of a frame',
      "process.stdout.write(data(1, 'a\\n').subarray(0, 7), () => process.exit(1))",
      /exit code 1/,
    ],
    [
      'with other rows than it says',
      "process.stdout.write(Buffer.concat([data(1, 'a\\n'), frame('F', long(2), int(0))]))",
      /read 2 rows, but 1 have come/,
    ],
    [
      'by a kill',
      "process.stdout.write(data(1, 'a\\n'), () => process.kill(process.pid, 'SIGKILL'))",
      /ended before it had answered/,
    ],
    [
      'with another answer than its final record',
      "process.stdout.write(Buffer.concat([data(1, 'a\\n'), frame('T', int(0), int(0), int(0))])); setInterval(() => {}, 1000)",
      /ended before it had answered/,
    ],
    [
      'with words that are no frame, and goes on',
      "process.stdout.write('What a driver may print'); setInterval(() => {}, 1000)",
      /ended before it had answered/,
    ],
    [
      'with words that are no frame',
      "process.stdout.write('Terminating due to something', () => process.exit(1))",
      /ended before it had answered/,
    ],
  ])('fails when it ends %s', async (_how, script, message) => {
    const jvm = pretend(script);
    const error: Error = await readAll(jvm).then(
      () => expect.unreachable(),
      (thrown: Error) => thrown,
    );
    expect(error.message).toMatch(message);
    // Tried again: none of these is known to come back.
    expect(error.name).toBe('Error');
    await jvm.stop();
  });

  test('that takes too much memory says which setting to raise', async () => {
    const jvm = pretend('process.exit(3)');
    await expect(readAll(jvm)).rejects.toMatchObject({
      name: 'UnsupportedValue',
      message: expect.stringContaining('raise jdbc_heap_mb'),
    });
  });

  test('tells what was printed, without the password, and without the half of one that is cut', async () => {
    const jvm = pretend("process.stderr.write('bad sesame', () => process.exit(1))");
    await expect(readAll(jvm)).rejects.toThrow('exit code 1): bad ***');
    for (const after of [496, 1_996]) {
      const long = pretend(`process.stderr.write('sesame' + 'x'.repeat(${after}), () => process.exit(1))`);
      const { message } = await readAll(long).then(
        () => expect.unreachable(),
        (error: Error) => error,
      );
      expect(message).not.toMatch(/same/);
    }
  });

  test('by a Java that is too old for the helper says so', async () => {
    const jvm = pretend(
      "process.stderr.write('java.lang.UnsupportedClassVersionError: FlowJdbc : Unsupported major.minor', () => process.exit(1))",
    );
    await expect(readAll(jvm)).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('it must be 8 or later'),
    });
  });

  test('leaves nothing in the temporary folder of a JVM that is killed', async () => {
    const temporary = await jvmFolder();
    await writeFile(join(temporary, 'sqlite-libsqlitejdbc.so'), 'x');
    const jvm = pretend("process.kill(process.pid, 'SIGKILL')", { temporary });
    await expect(readAll(jvm)).rejects.toThrow('ended before');
    await jvm.stop();
    expect(existsSync(temporary)).toBe(false);
  });
});

test('a request is length, operation, numbers, texts and lists', () => {
  expect(encodeRequest('Q', ['é', null, 7, ['a']]).toString('hex')).toBe(
    ['00000018', '51', '00000002c3a9', 'ffffffff', '00000007', '00000001', '0000000161'].join(''),
  );
});

describe('what a worker lacks is said', () => {
  const options = (folder: string): JdbcOptions => jdbcOptions({ ...params, jdbc_drivers: folder });

  test('a folder, jars, a Java, a compiler', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'flow-jars-'));
    await expect(jarsIn(join(folder, 'none'))).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('There is no folder'),
    });
    await expect(jarsIn(folder)).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('holds no jar file'),
    });
    await writeFile(join(folder, 'b.JAR'), '');
    await writeFile(join(folder, 'a.jar'), '');
    expect(await jarsIn(folder)).toEqual([join(folder, 'a.jar'), join(folder, 'b.JAR')]);
    const sources = join(import.meta.dirname, '../../../src/drivers/jdbc/java');
    await expect(compile({ java: 'no-such-java', javac: 'no-such-javac' }, sources)).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringMatching(/no Java on the worker.*apt-get install/),
    });
    await expect(compile({ java: process.execPath, javac: 'no-such-javac' }, sources)).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringMatching(/no Java compiler.*src\/drivers\/jdbc\/classes/),
    });
    await rm(folder, { recursive: true });
    const jvm = startJvm({ java: 'no-such-java', args: [], heapMb: 64, clean: (text) => text });
    await expect(jvm.ask('O', [])).rejects.toMatchObject({
      name: 'Misconfigured',
      message: expect.stringContaining('There is no Java'),
    });
    await expect(javaArguments(options(folder), folder)).rejects.toThrow('There is no folder');
  });

  test.each([
    [{ drv: '' }, 'drv'],
    [{ drv: 'x; rm' }, 'drv'],
    [{ url: 'postgresql://h/d' }, 'url'],
    [{ jdbc_heap_mb: '1' }, 'jdbc_heap_mb'],
    [{ on_unrepresentable: 'maybe' }, 'on_unrepresentable'],
  ])('%j', (wrong, name) => {
    expect(() => jdbcOptions({ ...params, ...wrong })).toThrow(`The parameter ${name} is missing or malformed`);
  });
});

test('the folder of a worker that was killed goes when the next one begins; that of one that lives stays', async () => {
  const module = new URL('../../../src/drivers/jdbc/scratch.ts', import.meta.url).href;
  const program = `const { scratch } = await import(${JSON.stringify(module)});
    process.stdout.write(await scratch() + '\\n'); setInterval(() => {}, 1000);`;
  const begin = async (): Promise<{ folder: string; kill(how: NodeJS.Signals): Promise<void> }> => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return {
      folder: line.toString().trim(),
      async kill(how) {
        child.kill(how);
        await gone;
      },
    };
  };
  const [killed, alive] = await Promise.all([begin(), begin()]);
  await killed.kill('SIGKILL');
  expect(existsSync(killed.folder)).toBe(true);
  const next = await begin();
  expect([killed, alive, next].map(({ folder }) => existsSync(folder))).toEqual([false, true, true]);
  await Promise.all([alive.kill('SIGKILL'), next.kill('SIGKILL')]);
  for (const { folder } of [alive, next]) await rm(folder, { recursive: true });
});

test('Java is that of JAVA_HOME, where it is set', async () => {
  expect(javaTools('')).toEqual({ java: 'java', javac: 'javac' });
  expect(javaTools('/opt/java')).toEqual({ java: '/opt/java/bin/java', javac: '/opt/java/bin/javac' });
  const { java } = javaTools('/no/such/home');
  const jvm = startJvm({ java, args: [], heapMb: 64, clean: (text) => text });
  await expect(jvm.ask('O', [])).rejects.toMatchObject({
    name: 'Misconfigured',
    message: expect.stringMatching(/no Java at \/no\/such\/home\/bin\/java, where the worker's JAVA_HOME says/),
  });
});

const withCompiler = /jdk\.compiler/.test(spawnSync(javaTools().java, ['--list-modules']).stdout?.toString() ?? '');
if (!withCompiler) console.log('SKIPPED: the JDBC helper without javac: the Java runtime here holds no compiler');
test.skipIf(!withCompiler)('a runtime that holds a compiler needs no javac', async () => {
  const sources = join(import.meta.dirname, '../../../src/drivers/jdbc/java');
  const folder = await compile({ java: javaTools().java, javac: 'no-such-javac' }, sources);
  expect(existsSync(join(folder, 'FlowJdbc.class'))).toBe(true);
});

const compiler = spawnSync(javaTools().javac, ['-version']).status === 0;
if (!compiler) console.log('SKIPPED: build.sh of the JDBC helper: there is no javac on this machine');
test.skipIf(!compiler || !process.env['FLOW_MATRIX'])(
  'build.sh makes classes for Java 8 that are used as long as their sources are the same',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'flow-build-'));
    const [sources, classes] = [join(folder, 'java'), join(folder, 'classes')];
    await cp(join(import.meta.dirname, '../../../src/drivers/jdbc/java'), sources, { recursive: true });
    expect(await isFresh(classes, sources)).toBe(false);
    expect(spawnSync('sh', [join(sources, 'build.sh')]).status).toBe(0);
    expect(await isFresh(classes, sources)).toBe(true);
    // Class files say for which Java they are: 52 is 8.
    expect((await readFile(join(classes, 'FlowJdbc.class'))).readUInt16BE(6)).toBe(52);
    await appendFile(join(sources, 'FlowJdbc.java'), '// changed');
    expect(await isFresh(classes, sources)).toBe(false);
    await rm(folder, { recursive: true });
  },
);

describe('errors of drivers', () => {
  const options = jdbcOptions({ ...params, url: 'jdbc:x://u:hid@h/d?password=deep', jdbc_options: '&token=tok1' });
  const raised = (more: Partial<Raised>): JvmError =>
    new JvmError({ kind: 'sql', className: 'java.sql.SQLException', state: '', code: '0', text: 'it broke', ...more });

  test.each([
    [
      'opening',
      { kind: 'class', text: 'x.Driver' },
      'Misconfigured',
      'No jar in the folder jdbc-drivers holds the class x.Driver',
    ],
    ['opening', { kind: 'nodriver', text: 'java.lang.String' }, 'Misconfigured', 'is no JDBC driver'],
    ['opening', { kind: 'java' }, 'Misconfigured', 'needs a newer Java'],
    ['opening', { kind: 'broken' }, 'Misconfigured', 'can not be made'],
    ['opening', { kind: 'url' }, 'Misconfigured', 'does not take this URL (jdbc:x:…)'],
    ['opening', { state: '28P01' }, 'AccessDenied', 'refused the login of u'],
    ['opening', { state: '08004' }, 'AccessDenied', 'refused the login of u'],
    [
      'opening',
      { state: '08001', code: '390100', text: 'Incorrect username or password was specified.' },
      'AccessDenied',
      'refused the login',
    ],
    ['opening', { state: '3D000' }, 'Misconfigured', 'does not exist'],
    ['opening', { state: '08001', text: 'Connection refused' }, 'Error', "Can't reach the database"],
    ['reading', { state: '42501' }, 'AccessDenied', 'denies access of table s.t'],
    ['reading', { state: '42S02' }, 'StructureChanged', 'structure of table s.t changed'],
    ['reading', { state: '22012' }, 'UnsupportedValue', 'can not give a value'],
    ['reading', { kind: 'keyvalue' }, 'UnsupportedValue', 'it broke'],
    ['reading', { state: '08006' }, 'Error', 'it broke'],
  ] as const)('while %s %j: %s', (doing, error, name, message) => {
    const found = failure(raised(error), options, { doing, table: 's.t' });
    expect(found.name).toBe(name);
    expect(found.message).toContain(message);
  });

  test('hold no secret', () => {
    const text = `no driver for ${options.url}; sesame deep hid tok1 &token=tok1`;
    expect(withoutSecrets(text, options)).toBe('no driver for <url>; *** *** *** *** &token=***');
  });

  test('hold no secret that is written in another way than in the URL', () => {
    const url = 'jdbc:x://h/d;password={p;1};sslKeyPassword=a%2Fb%20c;sig=s3cret';
    expect(withoutSecrets('in p;1, as a/b c, a%2Fb%20c, s3cret', { url, password: '' })).toBe(
      'in ***, as ***, ***, ***',
    );
  });

  test('are cut behind their secrets, not within', () => {
    const text = `${'x'.repeat(1_496)}sesame`;
    expect(failure(raised({ text }), options, { doing: 'reading' }).message).not.toMatch(/ses/);
  });
});

describe('ranges', () => {
  const column = (name: string, type: Column['type']): Column => ({
    name,
    type,
    nullable: false,
    sourceType: '',
    masked: false,
  });
  const key = [column('a', { kind: 'int', bytes: 8, unsigned: false }), column('b', { kind: 'varchar', length: 9 })];
  const quote = (name: string): string => `"${name}"`;

  test('adjoin: what one ends before, the next begins with', () => {
    expect(rangeConditions({ from: ['1', 'x'], to: ['5'] }, key, quote)).toEqual([
      {
        sql: '"a" >= ? and ("a" > ? or ("a" = ? and ("b" >= ?)))',
        parameters: ['l', '1', 'l', '1', 'l', '1', 's', 'x'],
      },
      { sql: '("a" < ?)', parameters: ['l', '5'] },
    ]);
  });

  test('that were not made here are refused', () => {
    expect(decodeRange(encodeRange({ from: ["it's"] }))).toEqual({ from: ["it's"] });
    for (const text of ['{"from":[]}', '{"to":"x"}', '{"from":[1]}'])
      expect(() => decodeRange(text)).toThrow('damaged');
  });
});

test.each([
  // What these vendors' drivers answer for getColumns, from their manuals.
  ['oracle', [3, 'NUMBER', 0, -127], { kind: 'decimal', precision: 65, scale: 30 }],
  ['oracle', [3, 'NUMBER', 5, -2], { kind: 'decimal', precision: 7, scale: 0 }],
  ['oracle', [93, 'DATE', 7, null], { kind: 'datetime', fraction: 6 }],
  ['oracle', [-101, 'TIMESTAMP(6) WITH TIME ZONE', 13, 6], { kind: 'datetime', fraction: 6 }],
  ['oracle', [101, 'BINARY_DOUBLE', 8, null], { kind: 'double' }],
  ['snowflake', [3, 'NUMBER', 38, 0], { kind: 'decimal', precision: 38, scale: 0 }],
  ['snowflake', [12, 'VARIANT', 16_777_216, null], { kind: 'json' }],
  ['snowflake', [2014, 'TIMESTAMPLTZ', 35, 9], { kind: 'datetime', fraction: 6 }],
  ['snowflake', [12, 'VARCHAR', 16_777_216, null], { kind: 'text', size: 'long' }],
  ['other', [-155, 'datetimeoffset', 34, 7], { kind: 'datetime', fraction: 6 }],
  ['other', [1111, 'strange', 0, null], { kind: 'text', size: 'long' }],
] as const)('%s %j', (product, [jdbcType, typeName, size, scale], type) => {
  const facts = {
    product,
    productName: '',
    version: '',
    driverName: '',
    driverVersion: '',
    quote: '"',
    catalog: '',
    level: 'schema',
  } as const;
  expect(mapType(facts, { name: 'c', jdbcType, typeName, size, scale, nullable: true })).toMatchObject({ type });
});

test('what has no text is left out with the reason', () => {
  const facts = {
    product: 'other',
    productName: '',
    version: '',
    driverName: '',
    driverVersion: '',
    quote: '"',
    catalog: '',
    level: 'schema',
  } as const;
  const column = { name: 'c', jdbcType: 2002, typeName: 'ADDRESS', size: 0, scale: null, nullable: true };
  expect(mapType(facts, column)).toEqual({ reason: expect.stringContaining('cast it in a view') });
});

test('the identity of a source is its product, catalog and place, whatever login and options its URL holds', () => {
  const facts = { productName: 'X', catalog: 'shop', level: 'schema' } as Parameters<typeof identityOf>[0];
  const of = (url: string, more = {}) => identityOf({ ...facts, ...more }, { url });
  const one = of('jdbc:x://h:1/d?user=u&password=p@ss');
  expect([of('jdbc:x://h:1/d'), of('jdbc:x://h:1/d;a=b'), of('jdbc:x://h:1/d?b@c')]).toEqual([one, one, one]);
  expect(of('jdbc:x:thin:u/p@h:1/d')).toBe(of('jdbc:x:thin:u/q@h:1/d'));
  expect(of('jdbc:x://h:1/d', { level: 'catalog' })).toBe(of('jdbc:x://h:1/d', { level: 'catalog', catalog: 'b' }));
  for (const other of [of('jdbc:x://i:1/d'), of('jdbc:x://h:1/e'), of('jdbc:x://h:1/d', { catalog: 'b' })])
    expect(other).not.toBe(one);
});
