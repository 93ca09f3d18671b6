/** MariaDB's UUID, INET4 and INET6 as their columns print them. */

/**
 * Time-based UUIDs are stored with their parts turned round, so that they sort by time; since MariaDB 10.10.6 and 10.11.5 those of version 6 and above
 * are not. `always`: a column made by an older server, where all are.
 */
export function uuidText(stored: Buffer, always: boolean): string {
  const turned = always || isTurned(stored);
  const hex = turned
    ? Buffer.concat([
        stored.subarray(12, 16),
        stored.subarray(10, 12),
        stored.subarray(8, 10),
        stored.subarray(6, 8),
        stored.subarray(0, 6),
      ]).toString('hex')
    : stored.toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function isTurned(stored: Buffer): boolean {
  const version = stored[8] as number;
  return ((stored[6] as number) & 0x80) !== 0 && version > 0 && version < 0x60;
}

export function inet4Text(stored: Buffer): string {
  return stored.subarray(0, 4).join('.');
}

/** The first longest run of zero groups becomes `::`, even a run of one; addresses that hold an IPv4 one end in it. */
export function inet6Text(stored: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => stored.readUInt16BE(i * 2));
  let [best, length] = [-1, 0];
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > length) [best, length] = [i, run];
    i += run;
  }
  const old = best === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff));
  const shown = groups.slice(0, old ? 6 : 8).map((group) => group.toString(16));
  if (old) shown.push(inet4Text(stored.subarray(12)));
  if (best < 0) return shown.join(':');
  return `${shown.slice(0, best).join(':')}::${shown.slice(best + length).join(':')}`;
}
