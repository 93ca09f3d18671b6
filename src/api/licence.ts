import { createHmac } from 'node:crypto';
import type { SecretKey } from '../secrets.ts';
import { badFields } from './problem.ts';
import { type Ctx, idempotencyKey, noContent, readBody } from './request.ts';
import { type Deps, empty, json, type Route } from './route.ts';
import { itemsSchema, pairsSchema } from './schemas.ts';

const readOnly = ['_lic_status', '_lic_prod'];

/** `config-var/licence`: stored and returned as documented; nothing is ever refused for lack of one. */
export function licenceRoutes({ pipelines, key }: Deps): Route[] {
  async function save(c: Ctx, pipeline: string): Promise<Response> {
    const body = await readBody(c, itemsSchema);
    const asked = idempotencyKey(c, key, body);
    const licence = licenceOf(body);
    await pipelines.setLicence({ pipeline, key: asked.given }, { key: licence, idempotencyKey: asked.key });
    return noContent();
  }
  async function show(c: Ctx, pipeline: string): Promise<Response> {
    const { licence } = await pipelines.config(pipeline);
    return c.json([
      { name: '_lic_status', value: 'No licence required' },
      { name: '_lic_key', value: licence },
      { name: '_lic_prod', value: productId(key) },
    ]);
  }
  const path = '/config-var/licence';
  const tag = 'Licence';
  return [
    {
      method: 'patch',
      path,
      id: 'save-licence',
      tag,
      summary: 'Save a licence key',
      body: { schema: itemsSchema, required: true },
      answers: empty,
      handle: save,
    },
    {
      method: 'get',
      path,
      id: 'get-licence',
      tag,
      summary: 'Get licence information',
      answers: { 200: json('Status, key and product id', pairsSchema) },
      handle: show,
    },
  ];
}

function licenceOf(items: readonly { readonly name: string; readonly value: string | number }[]): string {
  const errors = items.flatMap(({ name }, index) =>
    name === '_lic_key' || readOnly.includes(name) ? [] : [{ field: `[${index}].name`, message: 'must be _lic_key' }],
  );
  const keys = items.filter(({ name }) => name === '_lic_key').map(({ value }) => value);
  const [licence] = keys;
  if (licence === undefined) errors.push({ field: '_lic_key', message: 'is required' });
  if (keys.length > 1) errors.push({ field: '_lic_key', message: 'appears more than once' });
  if (
    licence !== undefined &&
    (typeof licence !== 'string' || !/^\P{Cc}{0,1000}$/u.test(licence) || !licence.isWellFormed())
  ) {
    errors.push({ field: '_lic_key', message: 'must be a string of at most 1000 characters' });
  }
  if (errors.length > 0 || typeof licence !== 'string') throw badFields(errors);
  return licence;
}

/** A stable id of the installation: everything that shares the secret key is one. */
function productId(key: SecretKey): string {
  const digest = createHmac('sha256', key.mac).update('product id').digest('hex').toUpperCase();
  return `FLOW-${(digest.slice(0, 25).match(/.{5}/g) ?? []).join('-')}`;
}
