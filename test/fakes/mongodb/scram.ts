import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { BSON } from 'mongodb';
import { type Answer, type Command, CommandError, type Peer } from './wire.ts';

/** The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677). */

type Conversation = { readonly user: string; readonly first: string; readonly answer: string };
const SALT = randomBytes(16);
const ITERATIONS = 4096;

export function saslStart(command: Command, peer: Peer): Answer {
  const text = payload(command);
  const first = text.slice(text.indexOf('n=', 3));
  const user = /n=([^,]*)/.exec(first)?.[1] ?? '';
  const nonce = /r=(.*)$/.exec(first)?.[1] ?? '';
  const answer = `r=${nonce}${randomBytes(12).toString('hex')},s=${SALT.toString('base64')},i=${ITERATIONS}`;
  peer.sasl = { user, first, answer } satisfies Conversation;
  return { conversationId: 1, done: false, payload: new BSON.Binary(Buffer.from(answer)) };
}

export function saslContinue(command: Command, peer: Peer, users: Readonly<Record<string, string>>): Answer {
  const { user, first, answer } = peer.sasl as Conversation;
  const text = payload(command);
  const bare = text.slice(0, text.lastIndexOf(',p='));
  const proof = Buffer.from(text.slice(bare.length + 3), 'base64');
  const salted = pbkdf2Sync(users[user] ?? randomBytes(8).toString('hex'), SALT, ITERATIONS, 32, 'sha256');
  const key = hmac(salted, 'Client Key');
  const message = `${first},${answer},${bare}`;
  const signature = hmac(createHash('sha256').update(key).digest(), message);
  if (!key.every((byte, i) => (byte ^ (signature[i] as number)) === proof[i]))
    throw new CommandError(18, 'AuthenticationFailed', 'Authentication failed.');
  peer.user = user;
  const verifier = hmac(hmac(salted, 'Server Key'), message).toString('base64');
  return { conversationId: 1, done: true, payload: new BSON.Binary(Buffer.from(`v=${verifier}`)) };
}

function payload(command: Command): string {
  return Buffer.from((command['payload'] as BSON.Binary).buffer).toString();
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
