import { createEngine, type Engine } from './engine.ts';
import { ServerError, startTds, type TdsOptions, type TdsServer } from './server.ts';

/** A server that speaks TDS and holds one database. */
export type Fake = {
  readonly engine: Engine;
  readonly tds: TdsServer;
  readonly user: string;
  readonly password: string;
  /** Refuses logins from now on with this error; undefined: no longer. */
  refuse(number: number | undefined, message?: string): void;
  close(): Promise<void>;
};

export async function startFake(more: Pick<TdsOptions, 'tls' | 'tlsRequired'> = {}, database = 'shop'): Promise<Fake> {
  const engine = createEngine(database);
  const user = 'flow';
  const password = 'pä55 "wörd"';
  let refusal: ServerError | undefined;
  const tds = await startTds({
    ...more,
    logIn(login) {
      if (refusal) throw refusal;
      if (login.user !== user || login.password !== password)
        throw new ServerError(18456, `Login failed for user '${login.user}'.`);
      if (login.database !== '' && login.database !== database)
        throw new ServerError(
          4060,
          `Cannot open database "${login.database}" requested by the login. The login failed.`,
        );
      return engine.session();
    },
  });
  return {
    engine,
    tds,
    user,
    password,
    refuse(number, message = 'refused') {
      refusal = number === undefined ? undefined : new ServerError(number, message);
    },
    async close() {
      await tds.close();
      engine.close();
    },
  };
}
