/** The host's end of guest/bench/network.c: a server on the loopback address that takes, gives or echoes. */
import { createServer, type Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import { assert, must } from '../src/base/assert.ts';

const KIND = { take: 1n, give: 2n, echo: 3n } as const;
const HEAD_BYTES = 16;
const MIB = 1 << 20;
const U64 = (1n << 64n) - 1n;

export interface IoPeer {
  readonly port: number;
  close(): void;
}

export async function startPeer(): Promise<IoPeer> {
  const sockets = new Set<Socket>();
  const pattern = randomWords(1n, MIB / 8);
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // A guest that ends takes its connections along.
    socket.on('error', () => socket.destroy());
    serve(socket, pattern);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  assert(typeof address === 'object' && address !== null, 'the peer has a port');
  return {
    port: must(address).port,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function serve(socket: Socket, pattern: Uint8Array): void {
  let head: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  let take: ((bytes: Uint8Array) => void) | undefined;
  socket.on('data', (bytes: Buffer) => {
    if (take !== undefined) return take(bytes);
    head = Buffer.concat([head, bytes]);
    if (head.length < HEAD_BYTES) return;
    const count = Number(head.readBigUInt64LE(8));
    switch (head.readBigUInt64LE(0)) {
      case KIND.take:
        take = taker(socket, count);
        break;
      case KIND.give:
        take = () => {};
        give(socket, pattern, count);
        break;
      case KIND.echo:
        take = (echoed) => void socket.write(echoed);
        break;
      default:
        socket.destroy();
        return;
    }
    if (head.length > HEAD_BYTES) take(head.subarray(HEAD_BYTES));
  });
}

/** Answers with the CRC-32 of what came, once all has. */
function taker(socket: Socket, sizeBytes: number): (bytes: Uint8Array) => void {
  let [left, sum] = [sizeBytes, 0];
  return (bytes) => {
    sum = crc32(bytes, sum);
    left -= bytes.length;
    if (left > 0) return;
    const answer = Buffer.alloc(8);
    answer.writeBigUInt64LE(BigInt(sum));
    socket.write(answer);
  };
}

function give(socket: Socket, pattern: Uint8Array, sizeBytes: number): void {
  for (let left = sizeBytes; left > 0; left -= pattern.length) {
    const isTaken = socket.write(pattern.subarray(0, Math.min(left, pattern.length)));
    if (isTaken) continue;
    socket.once('drain', () => give(socket, pattern, left - pattern.length));
    return;
  }
}

/** next_random of guest/bench/bench.h. */
export function randomWords(seed: bigint, count: number): Uint8Array {
  const words = new BigUint64Array(count);
  let x = seed;
  for (let i = 0; i < count; i += 1) {
    x ^= x >> 12n;
    x = (x ^ (x << 25n)) & U64;
    x ^= x >> 27n;
    words[i] = (x * 0x2545f4914f6cdd1dn) & U64;
  }
  return new Uint8Array(words.buffer);
}
