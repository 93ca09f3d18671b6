import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, logTail, portIsFree, type RunningProgram, startProgram } from '../servers/process.ts';
import { makeRunFolder } from '../servers/server.ts';
import { temporalProgram } from '../servers/temporal.ts';
import { waitForRoute } from './api-client.ts';

export type Product = {
  url: string;
  /** null: an external Temporal server, whose Web UI's address is not known. */
  temporalUi: string | null;
  log: string;
  stop(): Promise<void>;
};

/** Starts `flow-ingest serve` on free ports with a data folder of its own, and waits until it is ready. */
export async function startProduct(): Promise<Product> {
  const external = process.env['TEMPORAL_ADDRESS'] ?? '';
  const [port, temporalPort, uiPort] = [await preferred(8081), await preferred(7233), await preferred(8233)];
  const folder = await makeRunFolder('product');
  const log = join(folder, 'product.log');
  const env = {
    ...process.env,
    HOST: '127.0.0.1',
    PORT: String(port),
    DATA_DIR: join(folder, 'data'),
    ...(external === ''
      ? {
          TEMPORAL_CLI_PATH: await temporalProgram(),
          TEMPORAL_PORT: String(temporalPort),
          TEMPORAL_UI_PORT: String(uiPort),
        }
      : {}),
  };
  const main = join(import.meta.dirname, '../../src/main.ts');
  const program = startProgram(process.execPath, [main, 'serve'], {
    log,
    env,
    orphanSignal: 'TERM',
    orphanFolder: folder,
  });
  const url = `http://127.0.0.1:${port}`;
  const product = {
    url,
    temporalUi: external === '' ? `http://127.0.0.1:${uiPort}` : null,
    log,
    stop: () => stop(program, folder),
  };
  await waitForRoute(`${url}/readyz`, 90_000, program.running).catch(async (error: unknown) => {
    const tail = logTail(log);
    await product.stop();
    throw new Error(`flow-ingest serve did not come up: ${error instanceof Error ? error.message : error}\n${tail}`);
  });
  return product;
}

async function stop(program: RunningProgram, folder: string): Promise<void> {
  await program.stop();
  await rm(folder, { recursive: true, force: true });
}

async function preferred(port: number): Promise<number> {
  return (await portIsFree(port)) ? port : freePort();
}
