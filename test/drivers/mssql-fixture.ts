import type { Params } from '../../src/drivers/model.ts';
import { open } from '../../src/drivers/mssql/source.ts';
import type { Source } from '../../src/drivers/source.ts';
import { type Fake, startFake } from '../fakes/mssql/fake.ts';

/** A fake server, and the driver on it. */
export type MssqlGround = AsyncDisposable & {
  readonly fake: Fake;
  params(more?: Params): Params;
  open(more?: Params): Promise<Source>;
  run(sql: string | readonly string[]): (string | null)[][];
};

export async function mssqlGround(
  type = 'rds.msfull',
  more: Parameters<typeof startFake>[0] = {},
): Promise<MssqlGround> {
  const fake = await startFake(more);
  const params = (more: Params = {}): Params => ({
    host: '127.0.0.1',
    port: String(fake.tds.port),
    uid: fake.user,
    pwd: fake.password,
    db: fake.engine.database,
    type,
    ...more,
  });
  return {
    fake,
    params,
    open: (more) => open(params(more), new AbortController().signal),
    run: (sql) => fake.engine.run(sql),
    [Symbol.asyncDispose]: () => fake.close(),
  };
}
