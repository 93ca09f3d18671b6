/**
 * Text of a stored VECTOR (float32, little endian, in rows and in the binlog alike): a JSON array of the shortest numbers that read back
 * as the same float32. The servers' own text functions round to six digits.
 */
export function vectorText(value: Buffer): string {
  const items: string[] = [];
  for (let at = 0; at + 4 <= value.length; at += 4) items.push(shortest(value.readFloatLE(at)));
  return `[${items.join(',')}]`;
}

function shortest(number: number): string {
  if (Object.is(number, -0)) return '-0.0';
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(number.toPrecision(digits));
    if (Math.fround(short) === number) return String(short);
  }
  return String(Number(number.toPrecision(9)));
}
