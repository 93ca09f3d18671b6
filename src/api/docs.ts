/** The OpenAPI document as one page that needs nothing from elsewhere: no script, no font, no network. */
import type { Ctx } from './request.ts';

type Schema = {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly description?: string;
  readonly example?: unknown;
};
type Content = Readonly<Record<string, { readonly schema?: Schema }>>;
type Operation = {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema: Schema;
  }[];
  readonly requestBody?: { readonly required?: boolean; readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>;
};
type Document = {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
};

/** `/docs`. */
export function docsPage(c: Ctx, document: object): Response {
  c.header(
    'Content-Security-Policy',
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
  );
  return c.html(pageOf(document as Document, new URL(c.req.url).origin));
}

function pageOf(document: Document, origin: string): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => !operation.operationId.endsWith('-of-pipeline'))
      .map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  const groups = Map.groupBy(operations, ({ operation }) => operation.tags[0] ?? 'Other');
  const sections = [...groups].map(
    ([tag, entries]) =>
      `<h2>${text(tag)}</h2>${entries.map(({ path, method, operation }) => operationHtml(path, method, operation, origin)).join('')}`,
  );
  const schemas = Object.entries(document.components.schemas).map(
    ([name, schema]) =>
      `<details id="${text(name)}"><summary><b>${text(name)}</b></summary><pre>${pretty(schema)}</pre></details>`,
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${text(document.info.title)} API</title><style>${style}</style></head><body>
<h1>${text(document.info.title)} <small>${text(document.info.version)}</small></h1><p>${text(document.info.description)}</p>
<p>The same as a document for tools: <a href="/openapi.json">/openapi.json</a></p>
${sections.join('\n')}<h2>Shapes</h2>${schemas.join('\n')}</body></html>`;
}

function operationHtml(path: string, method: string, operation: Operation, origin: string): string {
  const parameters = (operation.parameters ?? []).map(
    ({ name, in: where, required, schema }) =>
      `<tr><td><code>${text(name)}</code></td><td>${text(where)}${required ? '' : ', optional'}</td><td>${text(schema.description ?? schema.enum?.join(', ') ?? '')}</td></tr>`,
  );
  const bodies = Object.entries(operation.requestBody?.content ?? {}).map(
    ([type, { schema }]) =>
      `<p>Body (${text(type)}${operation.requestBody?.required ? '' : ', optional'}): ${schemaHtml(schema)}</p>`,
  );
  const answers = Object.entries(operation.responses).map(([status, { description, content }]) => {
    const shapes = Object.values(content ?? {}).map(({ schema }) => schemaHtml(schema));
    return `<tr><td><code>${text(status)}</code></td><td>${text(description)}</td><td>${shapes.join(' ')}</td></tr>`;
  });
  return `<details id="${text(operation.operationId)}"><summary><code class="${method}">${method}</code> <code>${text(path)}</code> ${text(operation.summary)}</summary>
${operation.description === undefined ? '' : `<p>${text(operation.description)}</p>`}
${parameters.length === 0 ? '' : `<table>${parameters.join('')}</table>`}${bodies.join('')}<table>${answers.join('')}</table>
<pre>${text(curl(path, method, operation, origin))}</pre></details>`;
}

function curl(path: string, method: string, operation: Operation, origin: string): string {
  const start = `curl -X ${method} ${origin}${path}`;
  return operation.requestBody?.required
    ? `${start} \\\n  -H "Content-Type: application/json" \\\n  -d @body.json`
    : start;
}

function schemaHtml(schema: Schema | undefined): string {
  if (schema?.$ref === undefined) return `<code>${pretty(schema ?? {})}</code>`;
  const name = schema.$ref.split('/').at(-1) ?? '';
  return `<a href="#${text(name)}">${text(name)}</a>`;
}

function pretty(value: unknown): string {
  return text(JSON.stringify(value, null, 2));
}

function text(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ddd}details{border:1px solid #ddd;border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer}pre{background:#f5f5f7;padding:.8rem;overflow:auto;border-radius:6px}table{border-collapse:collapse;margin:.5rem 0}
td{border:1px solid #ddd;padding:.2rem .6rem;vertical-align:top}code{font:14px ui-monospace,monospace}small{color:#777}
.GET{color:#0a6}.POST{color:#06c}.PATCH{color:#a60}.DELETE{color:#c22}
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#17171a}pre{background:#222226}details,td,h2{border-color:#3a3a40}a{color:#7ab8ff}}`;
