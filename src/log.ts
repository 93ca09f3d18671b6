/** Log lines on stderr: one JSON object or one text line each. Known secret values never get through. */

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];
export type LogFormat = 'json' | 'text';

/** Fields that name what a line is about come first in text form. */
export type LogFields = {
  readonly pipeline?: string;
  readonly run?: number;
  readonly table?: string;
  readonly group?: 'Source' | 'Destination' | 'Others' | 'Errors';
  readonly [field: string]: unknown;
};

export type Log = {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log whose lines all carry these fields. */
  with(fields: LogFields): Log;
};

const hidden = new Set<string>();
const hiddenMost = 10_000;

/** From now on this process writes `***` for this value. Shorter than four characters would blot out ordinary words. */
export function hideInLogs(value: string): void {
  if (value.length < 4) return;
  if (hidden.size >= hiddenMost) hidden.delete(hidden.values().next().value as string);
  hidden.add(value);
}

/** `text` with every known secret value replaced by `***`. */
export function redact(text: string): string {
  let clean = text;
  for (const secret of hidden) if (clean.includes(secret)) clean = clean.replaceAll(secret, '***');
  return clean;
}

function plain(value: unknown): unknown {
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'bigint') return value.toString();
  // A cause or an own property of a driver's error may quote rows or passwords: message and stack only.
  if (value instanceof Error)
    return { name: value.name, message: redact(value.message), stack: redact(value.stack ?? '') };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
  }
  return value;
}

function textLine(at: string, level: LogLevel, message: string, fields: Record<string, unknown>): string {
  const shown = Object.entries(fields).map(([name, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return `${name}=${/\s/.test(text ?? '') ? JSON.stringify(text) : text}`;
  });
  return [at, level.toUpperCase().padEnd(5), message.replaceAll('\n', '\\n'), ...shown].join(' ');
}

/** Makes a log. `write` receives whole lines with their line end. */
export function createLog(
  settings: { readonly level: LogLevel; readonly format: LogFormat },
  write: (line: string) => void = (line) => process.stderr.write(line),
  fields: LogFields = {},
): Log {
  const least = logLevels.indexOf(settings.level);
  const line =
    (level: LogLevel) =>
    (message: string, more: LogFields = {}) => {
      if (logLevels.indexOf(level) < least) return;
      const at = new Date().toISOString();
      const said = redact(message);
      const about = plain({ ...fields, ...more }) as Record<string, unknown>;
      const text =
        settings.format === 'json'
          ? JSON.stringify({ at, level, message: said, ...about })
          : textLine(at, level, said, about);
      write(`${text}\n`);
    };
  return {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    with: (more) => createLog(settings, write, { ...fields, ...more }),
  };
}
