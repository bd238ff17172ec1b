/** Connections of checkpoint streams (streams/address.ts). */
import type { Duplex } from 'node:stream';
import { OperatorError } from '../../base/errors.ts';
import type { Wire } from '../../replication/index.ts';
import { addressText, connectStream, isLoopback, type StreamAddress } from '../streams/index.ts';

/** Bytes that wait in this process for a peer that reads slowly. */
const MOST_UNSENT_BYTES = 4 << 20;

/** Whether the connection is slower than packing pages is. */
export function isSlow({ kind, host }: StreamAddress): boolean {
  return kind !== 'unix' && !isLoopback(host ?? '');
}

/** `tls`: the folder of the certificates. Rejects with OperatorError `bad-usage`, `peer-unreachable`. */
export async function connectPeer(address: StreamAddress, tls?: string): Promise<Duplex> {
  try {
    return await connectStream(address, tls);
  } catch (cause) {
    if (cause instanceof OperatorError) throw cause;
    throw new OperatorError(
      'peer-unreachable',
      `nobody can be reached at ${addressText(address)}: ${cause instanceof Error ? cause.message : cause}`,
      'Start "kage receive" there, and see that the address is right.',
      { cause },
    );
  }
}

/** A connection as replication has it. */
export function wireOf(stream: Duplex): Wire {
  return {
    write: async (pieces) => {
      if (stream.destroyed) throw new Error('the connection is closed');
      for (const piece of pieces) stream.write(piece);
      if (stream.writableLength <= MOST_UNSENT_BYTES) return;
      await new Promise<void>((resolve, reject) => {
        const done = (): void => {
          stream.off('drain', drained);
          stream.off('close', closed);
        };
        const drained = (): void => {
          done();
          resolve();
        };
        const closed = (): void => {
          done();
          reject(new Error('the connection is closed'));
        };
        stream.on('drain', drained);
        stream.on('close', closed);
      });
    },
    close: () => {
      stream.end();
      setTimeout(() => stream.destroy(), 1000).unref();
    },
  };
}
