import { BSON, type Document } from 'mongodb';
import { Misconfigured } from '../errors.ts';

/** A table's `where`: a filter as in find(), as (Extended) JSON. Throws `Misconfigured`. */
export function parseFilter(where: string): Document {
  try {
    const filter: unknown = BSON.EJSON.parse(where, { relaxed: false });
    if (filter !== null && typeof filter === 'object' && !Array.isArray(filter)) return filter as Document;
  } catch {
    // Said below.
  }
  throw new Misconfigured(
    'The condition is no JSON object.',
    'Write `where` as a filter of find(), as JSON: {"status":"A","at":{"$gte":{"$date":"2024-01-01T00:00:00Z"}}}.',
  );
}
