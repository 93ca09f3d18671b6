import { runCommand } from './process.ts';

/** Whether a Docker engine answers, and not only the client is installed. */
export async function dockerAnswers(): Promise<boolean> {
  try {
    await runCommand('docker', ['info', '--format', '{{.ServerVersion}}'], { timeoutMs: 10_000 });
    return true;
  } catch {
    return false;
  }
}
