/** Reads requests and responses out of the API reference as its pages were published. */
import { readFileSync } from 'node:fs';

export type Exchange = {
  readonly title: string;
  readonly method: string;
  /** Path template, e.g. `/list-db/{database}/{schema}`. */
  readonly path: string;
  readonly requests: readonly {
    readonly method: string;
    readonly url: string;
    readonly headers: Record<string, string>;
    readonly body: string | undefined;
  }[];
  readonly answers: readonly { readonly status: number; readonly title: string; readonly body: unknown }[];
};

const text = readFileSync(new URL('./flow-ingest-api.txt', import.meta.url), 'utf8')
  // The published page tears the masked password apart.
  .replaceAll(/"\n\s*``````output\n\s*\*\*\*"/g, '"***"');

/** All documented operations with their sample requests and answers. */
export const reference: readonly Exchange[] = text
  .split(/^\* \*/m)
  .slice(1)
  .flatMap((section) => {
    const endpoint = /## Endpoint(GET|PATCH|POST) (\/[\w{}/-]+?)(?=##|\s)/.exec(section);
    if (endpoint === null) return [];
    const [, method = '', path = ''] = endpoint;
    const title = section.slice(0, section.indexOf('*'));
    const [, responses = ''] = section.split('## Responses');
    return [{ title, method, path, requests: requestsOf(section), answers: answersOf(responses) }];
  });

/** The 23 documented type codes with product and extract type. */
export const documentedTypes: readonly { readonly product: string; readonly extract: string; readonly code: string }[] =
  [...text.matchAll(/^\| ([^|\n]+?) *\| ([^|\n]+?) *\| (rds\.\w+) *\|$/gm)].map(
    ([, product = '', extract = '', code = '']) => ({ product, extract, code }),
  );

/** The documented default ports. */
export const documentedPorts: readonly { readonly product: string; readonly port: number }[] = [
  ...text.matchAll(/^\| ([^|\n]+?) *\| (\d{4}) *\|$/gm),
].map(([, product = '', port = '']) => ({ product, port: Number(port) }));

function requestsOf(section: string): Exchange['requests'] {
  return [...section.matchAll(/curl -X (\w+) (\S+)([\s\S]*?)```/g)].map(([, method = '', url = '', rest = '']) => ({
    method,
    url: new URL(url).pathname,
    headers: Object.fromEntries(
      [...rest.matchAll(/-H "([^:]+): ([^"]+)"/g)].map(([, name = '', value = '']) => [name, value]),
    ),
    body: /-d '([^']*)'/.exec(rest)?.[1],
  }));
}

function answersOf(responses: string): Exchange['answers'] {
  const none = /^204 No Content/.exec(responses);
  if (none !== null) return [{ status: 204, title: 'No Content', body: undefined }];
  let title = '';
  return [...responses.matchAll(/(?:200 OK(?: - ([^`\n]*))?(?:Examples:)?\n?)?```json\n([\s\S]*?)```/g)].map(
    ([, given, body = '']) => {
      title = given?.replace('Examples:', '') ?? title;
      return { status: 200, title, body: JSON.parse(body) };
    },
  );
}
