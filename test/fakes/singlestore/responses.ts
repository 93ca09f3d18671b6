import { EOF, ERR, LOCAL_INFILE, MAX_FRAME, OK, okStatus, readLength, STATUS } from './packets.ts';

/** How a command ended, or that the server now wants the data of a LOAD DATA LOCAL. */
export type Outcome = {
  kind: 'done' | 'infile';
  /** Number of results that came without an error. */
  results: number;
  failed: boolean;
  /** The server status of the last result, when it carried one. */
  status: number | undefined;
};

/** What comes next from the server: one packet, results, an EOF-terminated list, or the end of authentication. */
type Expectation = 'single' | 'results' | 'list' | 'auth';

/** The start of a server packet and the length of its first frame. */
type PacketHead = { head: Buffer; length: number };

const HEAD = 64;

/** Follows the packets of one server connection without holding them. */
export type ResponseTracker = {
  /** Looks at bytes on their way to the client; `shift` is added to each sequence number in place. */
  feed(chunk: Buffer, shift: number): void;
  /** Says what the next packets answer; resolves when they have all passed. */
  expect(kind: Expectation): Promise<Outcome>;
};

/** A tracker for result sets in the form with EOF packets, the only one that the proxy lets clients ask for. */
export function trackResponses(): ResponseTracker {
  let state: Expectation | 'idle' | 'columns' | 'columnsEnd' | 'rows' = 'idle';
  let columns = 0;
  let outcome: Outcome = { kind: 'done', results: 0, failed: false, status: undefined };
  let settle: (outcome: Outcome) => void = () => {};

  const finish = (part: Partial<Outcome>) => {
    state = 'idle';
    outcome = { ...outcome, ...part };
    settle(outcome);
  };
  const result = (status: number) => {
    outcome.results++;
    outcome.status = status;
    if (status & STATUS.moreResults) state = 'results';
    else finish({ kind: 'done' });
  };
  const isEof = ({ head, length }: PacketHead) => head[0] === EOF && length < 9;

  const onPacket = (packet: PacketHead) => {
    const { head } = packet;
    const first = head[0];
    if (state === 'idle') return;
    if (first === ERR && state !== 'columns') finish({ kind: 'done', failed: true });
    else if (state === 'single')
      finish({ kind: 'done', results: 1, status: first === OK && head.length >= 7 ? okStatus(head) : undefined });
    else if (state === 'auth') {
      if (first === OK) finish({ kind: 'done', results: 1, status: okStatus(head) });
    } else if (state === 'list') {
      if (isEof(packet)) finish({ kind: 'done', results: 1 });
    } else if (state === 'results') {
      if (first === OK) result(okStatus(head));
      else if (first === LOCAL_INFILE) finish({ kind: 'infile' });
      else {
        columns = readLength(head, 0).value;
        state = 'columns';
      }
    } else if (state === 'columns') {
      columns--;
      if (columns === 0) state = 'columnsEnd';
    } else if (state === 'columnsEnd') state = 'rows';
    else if (isEof(packet)) result(head.readUInt16LE(3));
  };

  return {
    feed: scanFrames(onPacket),
    expect(kind) {
      state = kind;
      outcome = { kind: 'done', results: 0, failed: false, status: undefined };
      return new Promise((resolve) => {
        settle = resolve;
      });
    },
  };
}

/** Calls back at the end of each packet in a stream of bytes, joining frames of packets above 16 MB. */
function scanFrames(onPacket: (packet: PacketHead) => void): (chunk: Buffer, shift: number) => void {
  const header = Buffer.alloc(4);
  const head = Buffer.alloc(HEAD);
  let headerLength = 0;
  let headLength = 0;
  let length = 0;
  let left = 0;
  let firstLength = -1;

  const frameEnd = () => {
    headerLength = 0;
    if (length === MAX_FRAME) return;
    const packet = { head: head.subarray(0, headLength), length: firstLength };
    firstLength = -1;
    headLength = 0;
    onPacket(packet);
  };

  return (chunk, shift) => {
    let at = 0;
    while (at < chunk.length) {
      if (headerLength < 4) {
        if (headerLength === 3 && shift !== 0) chunk[at] = ((chunk[at] ?? 0) + shift) & 0xff;
        header[headerLength++] = chunk[at++] ?? 0;
        if (headerLength < 4) continue;
        length = header.readUIntLE(0, 3);
        left = length;
        if (firstLength < 0) firstLength = length;
      } else {
        const part = Math.min(left, chunk.length - at);
        if (headLength < HEAD) headLength += chunk.copy(head, headLength, at, at + Math.min(part, HEAD - headLength));
        at += part;
        left -= part;
      }
      if (left === 0) frameEnd();
    }
  };
}
