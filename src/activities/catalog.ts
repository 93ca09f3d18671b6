import { ApplicationFailure } from '@temporalio/activity';
import { destinationOf, sourceCode } from '../codes.ts';
import { formatColumnType } from '../drivers/column-types.ts';
import type { Finding } from '../drivers/model.ts';
import type { Source } from '../drivers/source.ts';
import type {
  CatalogAnswer,
  CatalogInput,
  RemovalAnswer,
  RemovalInput,
  ReportAnswer,
  ReportInput,
  TableDetail,
  TestInput,
  TestResult,
} from '../workflows/messages.ts';
import { at, type Connections } from './connections.ts';
import type { FailureDetails } from './failure.ts';
import { sourceName } from './names.ts';

/** Tables that a report holds at most: about a megabyte, half of what Temporal carries. */
const REPORT_PAGE = 2_000;

/** Connection tests, listings and reports: what the API asks of a worker, because the worker's network place is what counts. */
export function catalogActivities(connections: Connections) {
  return {
    /** Opens one end and runs its preflight. Never fails for what the user can mend: that is the answer. */
    async testConnection(input: TestInput): Promise<TestResult> {
      try {
        const findings =
          input.side === 'source'
            ? await connections.withSource(input.params, (source) => source.preflight([]))
            : await connections.withDestination(input.params, (destination, params) =>
                destination.preflight(params['db'] ? [params['db']] : []),
              );
        const errors = findings.filter((finding) => finding.severity === 'error');
        return {
          ok: errors.length === 0,
          messages: errors.map((finding) => ({ topic: topicOf(finding), message: finding.message })),
        };
      } catch (error) {
        return { ok: false, messages: [{ topic: null, message: withAction(error) }] };
      }
    },

    /** One level of the source's catalog, or one table in detail. */
    async readCatalog(input: CatalogInput): Promise<CatalogAnswer> {
      return connections.withSource(input.source, (source, params) =>
        at('source', async () => {
          const database = source.database;
          const code = sourceCode(params['type'] ?? '');
          if (input.database === null) return { database, names: [database] };
          const anyName = code?.naming === 'schema';
          if (!anyName && input.database !== database && input.database !== 'default') return { database, names: null };
          if (input.schema === null) return { database, names: await source.schemas() };
          if (input.table)
            return { database, names: [], table: await detail(source, input, input.schema, input.table) };
          const listed = await source.tables(input.schema);
          return { database, names: listed === null ? null : listed.map((table) => table.name) };
        }),
      );
    },

    /** Control tables of a pipeline at its destination. */
    async readReport(input: ReportInput): Promise<ReportAnswer> {
      return connections.withDestination(input.destination, (destination) =>
        at('destination', async () => {
          const { pipeline, run } = input;
          const tables = [];
          const runTables = [];
          for (const database of input.databases) {
            if (run === undefined) tables.push(...(await destination.tables(database, pipeline)));
            else runTables.push(...(await destination.runTables(database, pipeline, run)));
          }
          const from = (input.page ?? 0) * REPORT_PAGE;
          const page = <T>(list: readonly T[]) => list.slice(from, from + REPORT_PAGE);
          const more = Math.max(tables.length, runTables.length) > from + REPORT_PAGE;
          return { tables: page(tables), runTables: page(runTables), more };
        }),
      );
    },

    /** Drops slots, publication and control rows; an end that can't be reached for good is named in a warning and left alone. */
    async removePipeline(input: RemovalInput): Promise<RemovalAnswer> {
      const warnings: string[] = [];
      const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
        try {
          await work();
        } catch (error) {
          warnings.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
        }
      };
      if (Object.keys(input.source).length > 0) {
        await attempt('Source', () =>
          connections.withSource(input.source, (source) => source.remove(sourceName(input.pipeline))),
        );
      }
      if (Object.keys(input.destination).length > 0) {
        await attempt('Destination', () =>
          connections.withDestination(input.destination, async (destination) => {
            for (const database of input.databases) await destination.remove(database, input.pipeline);
          }),
        );
      }
      return { warnings };
    },
  };
}

/** What is wrong, and who must do what. */
function withAction(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const action =
    error instanceof ApplicationFailure && error.nonRetryable
      ? (error.details?.[0] as FailureDetails | undefined)?.action
      : undefined;
  if (action === undefined || action === '' || message.includes(action)) return message;
  return `${message.replace(/[^.!?]$/, '$&.')} ${action}`;
}

function topicOf(finding: Finding): string | null {
  return finding.code === 'db' ? 'db' : null;
}

async function detail(
  source: Source,
  input: CatalogInput,
  schema: string,
  asked: NonNullable<CatalogInput['table']>,
): Promise<TableDetail> {
  const ref = { schema, name: asked.name };
  const [described] = await source.describe([{ ref, options: asked.options }]);
  const target = destinationOf(input.source['type'] ?? '', source.database, ref, input.destination);
  const destination = { db: target.database, table: target.table };
  if (!described || 'error' in described) {
    const error = described?.error ?? {
      class: 'UnsupportedValue',
      message: 'No such table.',
      action: 'Check the name.',
    };
    return { columns: [], leftOut: [], key: [], destination, warnings: [], error };
  }
  const { table } = described;
  return {
    columns: table.columns.map((column) => ({
      name: column.name,
      sourceType: column.sourceType,
      destinationType: formatColumnType(column.type),
      nullable: column.nullable,
      masked: column.masked,
    })),
    leftOut: table.leftOut,
    key: table.key,
    destination,
    warnings: table.warnings,
    error: null,
  };
}
