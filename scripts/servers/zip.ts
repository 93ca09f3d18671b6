import { type FileHandle, mkdir, open, writeFile } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { inflateRawSync } from 'node:zlib';

type Entry = { name: string; method: number; packed: number; headerAt: number };

/**
 * Unpacks the files of a ZIP archive whose path `rename` maps to a path below `folder`; others are left out. Reads what
 * is needed only, so that large archives cost no memory. No ZIP64, no encryption.
 */
export async function unzip(
  archive: string,
  folder: string,
  rename: (name: string) => string | undefined,
): Promise<void> {
  const file = await open(archive);
  try {
    for (const entry of await readDirectory(file)) {
      const path = entry.name.endsWith('/') ? undefined : rename(entry.name);
      if (path === undefined) continue;
      const target = resolve(join(folder, path));
      if (!target.startsWith(resolve(folder) + sep)) throw new Error(`${entry.name} would leave the folder`);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, await readEntry(file, entry));
    }
  } finally {
    await file.close();
  }
}

async function readDirectory(file: FileHandle): Promise<Entry[]> {
  const { size } = await file.stat();
  const tail = await readAt(file, Math.max(0, size - 65_557), Math.min(size, 65_557));
  const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end < 0) throw new Error('not a ZIP archive');
  const directory = await readAt(file, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
  const entries: Entry[] = [];
  for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === 0x02014b50; ) {
    const nameLength = directory.readUInt16LE(at + 28);
    entries.push({
      name: directory.toString('utf8', at + 46, at + 46 + nameLength),
      method: directory.readUInt16LE(at + 10),
      packed: directory.readUInt32LE(at + 20),
      headerAt: directory.readUInt32LE(at + 42),
    });
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

async function readEntry(file: FileHandle, entry: Entry): Promise<Buffer> {
  const header = await readAt(file, entry.headerAt, 30);
  const start = entry.headerAt + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  const packed = await readAt(file, start, entry.packed);
  return entry.method === 0 ? packed : inflateRawSync(packed);
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
