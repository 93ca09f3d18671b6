#!/usr/bin/env -S node --max-semi-space-size=8 --heap-growing-percent=50
import { newApiKey } from './api/auth.ts';
import { type Config, ConfigError, loadConfig } from './config.ts';
import { createLog, type Log } from './log.ts';

const help = `flow-ingest: copies databases into SingleStore and keeps the copies exact.

  flow-ingest serve           API, workers and, unless TEMPORAL_ADDRESS is set, a Temporal server
  flow-ingest api             the API alone
  flow-ingest worker          a worker alone; any number, on any machine
  flow-ingest api-key [name]  a new API key, and its line for API_KEYS_FILE

Settings are environment variables; the README lists them.`;

/** Exit code for settings and commands that can't work: a supervisor must not try again. */
const unusable = 2;

async function main(command: string | undefined, argument: string | undefined): Promise<void> {
  switch (command) {
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      return console.log(help);
    case 'api-key':
      return printKey(argument ?? 'default');
    case 'serve': {
      const { serve } = await import('./serve.ts');
      return withConfig((config, log) => serve(config, log, process.env));
    }
    case 'api':
      return withConfig(runApi);
    case 'worker': {
      // Only a worker loads Temporal's native library.
      const { runWorker } = await import('./worker.ts');
      return withConfig((config, log) => {
        endWithSupervisor();
        return runWorker(config, log.with({ process: 'worker' }));
      });
    }
    default:
      console.error(`flow-ingest: unknown command ${command}\n\n${help}`);
      process.exitCode = unusable;
  }
}

async function withConfig(run: (config: Config, log: Log) => Promise<void>): Promise<void> {
  try {
    const config = loadConfig(process.env);
    await run(config, createLog(config.log));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const line of error.lines) console.error(`flow-ingest: ${line}`);
    process.exit(unusable);
  }
}

async function runApi(config: Config, log: Log): Promise<void> {
  const { startApi } = await import('./api/server.ts');
  const own = log.with({ process: 'api' });
  const server = await startApi(config, own);
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  endWithSupervisor();
  // A supervisor says when all is ready; alone, the API says so itself.
  if (process.send) process.send({ listening: server.url });
  else console.log(`flow-ingest api listening on ${server.url}`);
  await stopped;
  await server.close();
}

/** A child must not go on alone: the channel to the supervisor closes whatever way that ends. */
function endWithSupervisor(): void {
  if (!process.channel) return;
  process.once('disconnect', () => {
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => process.exit(1), 5_000).unref();
  });
  process.channel.unref();
}

function printKey(name: string): void {
  if (!/^[^:#\s][^:\r\n]{0,99}$/.test(name)) {
    console.error('flow-ingest: a key’s name is 1 to 100 characters without colons and line ends');
    process.exitCode = unusable;
    return;
  }
  const { key, line } = newApiKey(name);
  console.log(`API key, shown only now:\n${key}\n\nLine for API_KEYS_FILE:\n${line}`);
}

await main(process.argv[2], process.argv[3]);
