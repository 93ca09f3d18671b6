/**
 * Buffers of one size that are written again once their bytes have gone. Left to the garbage collector, every 64 MB of them make it mark
 * the whole heap, which costs a busy worker as much CPU as reading and sending rows does.
 */
export type Recycled = {
  take(): Buffer;
  /** What gives a buffer back, at its first call; one of another size is dropped. */
  giver(buffer: Buffer): () => void;
};

/** Buffers of `bytes` bytes for one reader. */
export function recycled(bytes: number): Recycled {
  const free: Buffer[] = [];
  return {
    // Not from Buffer's shared pool, which would keep a batch alive for the sake of a neighbour.
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(bytes),
    giver(buffer) {
      let given = buffer.length !== bytes;
      return () => {
        if (!given) free.push(buffer);
        given = true;
      };
    },
  };
}
