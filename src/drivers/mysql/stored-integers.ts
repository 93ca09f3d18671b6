import { type LogColumn, OP } from './log-columns.ts';
import { appendAscii, appendInteger } from './number-text.ts';

/** Whole numbers as rows of the log hold them: one to eight bytes, little end first. */
export function appendStoredInteger(data: Buffer, at: number, column: LogColumn, bytes: Buffer, p: number): number {
  const signed = column.op === OP.signed;
  switch (column.width) {
    case 1: {
      const byte = bytes[p] as number;
      return appendInteger(data, at, signed ? (byte << 24) >> 24 : byte);
    }
    case 2: {
      const number = (bytes[p] as number) | ((bytes[p + 1] as number) << 8);
      return appendInteger(data, at, signed ? (number << 16) >> 16 : number);
    }
    case 3: {
      const number = (bytes[p] as number) | ((bytes[p + 1] as number) << 8) | ((bytes[p + 2] as number) << 16);
      return appendInteger(data, at, signed ? (number << 8) >> 8 : number);
    }
    case 4:
      return appendInteger(data, at, signed ? word(bytes, p) : word(bytes, p) >>> 0);
    default: {
      const low = word(bytes, p) >>> 0;
      const high = word(bytes, p + 4);
      if (signed && high < 0) {
        if (high >= -2_097_151) return appendInteger(data, at, high * 4_294_967_296 + low);
        return appendAscii(data, at, String(bytes.readBigInt64LE(p)));
      }
      return appendWide(data, at, high >>> 0, low);
    }
  }
}

function word(bytes: Buffer, p: number): number {
  return (
    (bytes[p] as number) |
    ((bytes[p + 1] as number) << 8) |
    ((bytes[p + 2] as number) << 16) |
    ((bytes[p + 3] as number) << 24)
  );
}

/** Appends a number of 64 bits without sign. */
export function appendWide(data: Buffer, at: number, high: number, low: number): number {
  if (high < 2_097_152) return appendInteger(data, at, high * 4_294_967_296 + low);
  return appendAscii(data, at, String((BigInt(high) << 32n) | BigInt(low)));
}
