import { formatColumnType, parseColumnType, fit as typeFit } from '../column-types.ts';
import { Misconfigured, UnsupportedValue } from '../errors.ts';
import type { Column, ColumnType, TableOptions } from '../model.ts';
import { documentWords, ID, MORE } from './document-row.ts';
import { type FieldKind, kindOfType, typeOfKind } from './field-kinds.ts';
import type { MongoOptions } from './options.ts';
import { folded, isName, type SampledFields } from './sampled-fields.ts';

/** Long enough for what applications put into an `_id`; longer ones are refused row by row, or wanted by `types`. */
const ID_LENGTH = 255;

/**
 * The columns of a collection: `_id`, fields that have one, and the document. Throws for options `types` and `mask` that name no column, or that would
 * change the key (EXACTNESS.md §8) or a value.
 */
export function columnsOf(
  where: string,
  key: readonly string[],
  options: TableOptions,
  mongo: Pick<MongoOptions, 'canonical' | 'fields' | 'whole'>,
  sample: SampledFields | undefined,
): Column[] {
  const keyed = key.length > 0;
  const types = options.types ?? {};
  const fields = new Map(sample?.fields);
  // What is named has a column, whether the sample has it or not.
  if (mongo.fields !== 'none')
    for (const [name, type] of Object.entries(types))
      if (name !== ID && name !== MORE) fields.set(name, namedKind(where, name, type, fields, mongo.canonical));
  // A field that is to be hidden has a column, whether a document has it now or not: elsewhere it would be seen.
  if (mongo.fields !== 'none')
    for (const name of options.mask ?? [])
      if (name !== ID && name !== MORE && !fields.has(name))
        fields.set(name, namedKind(where, name, 'JSON', fields, mongo.canonical));
  const columns: Column[] = [
    {
      name: ID,
      type: keyed ? { kind: 'varchar', length: ID_LENGTH } : { kind: 'text', size: 'long' },
      nullable: !keyed,
      sourceType: 'any',
      masked: false,
    },
    ...[...fields]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(
        ([name, kind]): Column => ({ name, type: typeOfKind(kind), nullable: true, sourceType: kind, masked: false }),
      ),
    {
      name: MORE,
      type: { kind: 'json' },
      nullable: false,
      sourceType: documentWords({ ...mongo, sampled: mongo.fields === 'sampled' }),
      masked: false,
    },
  ];
  const names = new Set(columns.map(({ name }) => name));
  for (const name of [...Object.keys(types), ...(options.mask ?? [])])
    if (!names.has(name))
      throw new Misconfigured(
        `${where} has no column ${name}: a collection is copied as _id and _more, which holds all fields that have no column of their own (\`document_fields\`).`,
        'Correct `types` or `mask`, or set `document_fields` of the source.',
      );
  return columns.map((column) => {
    const masked = options.mask?.includes(column.name) ?? false;
    if (masked && column.name === ID)
      throw new UnsupportedValue(`The _id of ${where} can't be masked.`, 'Take it out of `mask`.');
    if (masked) return { ...column, type: { kind: 'varchar', length: 1 }, nullable: true, masked };
    const wanted = Object.hasOwn(types, column.name) ? types[column.name] : undefined;
    return wanted === undefined ? column : { ...column, type: chosenType(where, column, wanted) };
  });
}

/** The kind that a user's type asks for; that of the sample unless the type is one for more. */
function namedKind(
  where: string,
  name: string,
  text: string,
  fields: ReadonlyMap<string, FieldKind>,
  canonical: boolean,
): FieldKind {
  const type = parseColumnType(text);
  const kind = kindOfType(type);
  const sampled = fields.get(name);
  if (sampled !== undefined && kind !== 'any' && !(sampled === 'int' && kind === 'long' && !canonical)) return sampled;
  if (sampled !== undefined) return kind as FieldKind;
  const taken = new Set([ID, MORE, ...[...fields.keys()].map(folded)]);
  if (kind !== undefined && isName(name) && !taken.has(folded(name))) return kind;
  throw new UnsupportedValue(
    `The field ${name} of ${where} can't have a column of type ${formatColumnType(type)}.`,
    'Columns of fields are INT, BIGINT, DOUBLE, BOOL, DATETIME(6), CHAR(24) for an ObjectId, DECIMAL, VARCHAR, LONGTEXT or JSON; two names must differ in more than case.',
  );
}

/** `_id` may be any VARCHAR, since none is ever cut; the document a JSON or text type; a field what holds its values as they are written. */
function chosenType(where: string, column: Column, wanted: string): ColumnType {
  const type = parseColumnType(wanted);
  const isText = type.kind === 'varchar' || type.kind === 'text';
  const fits =
    column.name === ID
      ? type.kind === 'varchar'
      : column.name === MORE
        ? type.kind === 'json' || type.kind === 'text'
        : typeFit(column.type, type) === 'exact' || isText || column.sourceType === kindOfType(type);
  if (!fits || typeFit(column.type, type) === 'never')
    throw new UnsupportedValue(
      `${where}.${column.name} can't be copied as ${formatColumnType(type)}.`,
      column.name === ID
        ? 'Give `_id` a VARCHAR(n).'
        : column.name === MORE
          ? 'Give `_more` JSON or LONGTEXT.'
          : 'Give the field a type that holds all its values, or VARCHAR or LONGTEXT.',
    );
  return type;
}
