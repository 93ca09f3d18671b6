/** JSON with objects as maps: a JavaScript object would put names that look like numbers first, and MongoDB compares documents in the order of their fields. */
export function orderedJson(text: string): unknown {
  let at = 0;

  function value(): unknown {
    const char = text[at];
    if (char === '{') return object();
    if (char === '[') return array();
    const token = TOKEN.exec(text.slice(at))?.[0];
    if (token === undefined) throw new SyntaxError('This is no JSON.');
    at += token.length;
    return JSON.parse(token);
  }

  function object(): Map<string, unknown> {
    const found = new Map<string, unknown>();
    at++;
    while (text[at] !== '}') {
      const name = value();
      expect(':');
      found.set(String(name), value());
      if (text[at] !== '}') expect(',');
    }
    at++;
    return found;
  }

  function array(): unknown[] {
    const found: unknown[] = [];
    at++;
    while (text[at] !== ']') {
      found.push(value());
      if (text[at] !== ']') expect(',');
    }
    at++;
    return found;
  }

  function expect(char: string): void {
    if (text[at] !== char) throw new SyntaxError('This is no JSON.');
    at++;
  }

  const found = value();
  if (at !== text.length) throw new SyntaxError('This is no JSON.');
  return found;
}

/** A string, a number or a word at the beginning. */
const TOKEN = /^(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null)/;
