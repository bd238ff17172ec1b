/** What became of a guest that was handed over, asked over another connection. */
import { OperatorError } from '../../base/errors.ts';
import { Peer, SILENCE_MS } from '../../replication/index.ts';
import type { StreamAddress } from '../streams/index.ts';
import { nodePorts, streamCodecs } from './node-ports.ts';
import { connectPeer, wireOf } from './wire.ts';

const ANSWER_WITHIN_MS = 2000;

/** `gone`: nobody listens there any more, which the host itself says. Undefined: it cannot be known now. */
export async function askOutcome(
  address: StreamAddress,
  tls: string | undefined,
  guest: string,
): Promise<'running' | 'never' | 'gone' | undefined> {
  const stream = await connectPeer(address, tls).catch((error: unknown) => error);
  if (stream instanceof Error || typeof stream !== 'object' || stream === null || !('pipe' in stream))
    return isRefused(stream) ? 'gone' : undefined;
  const socket = stream as Awaited<ReturnType<typeof connectPeer>>;
  return await new Promise((resolve) => {
    const late = setTimeout(() => answer(undefined), ANSWER_WITHIN_MS);
    const answer = (outcome: 'running' | 'never' | undefined): void => {
      clearTimeout(late);
      peer.close();
      resolve(outcome);
    };
    const peer = new Peer(
      wireOf(socket),
      streamCodecs,
      nodePorts,
      { packs: false, silenceMs: SILENCE_MS },
      {
        message: ({ kind }) => answer(kind === 'running' ? 'running' : undefined),
        lost: (error) => answer(error instanceof OperatorError && error.code === 'never-ran' ? 'never' : undefined),
      },
    );
    socket.on('data', (bytes: Buffer) => peer.push(bytes));
    socket.on('error', (error) => peer.disconnected(error));
    socket.on('close', () => peer.disconnected());
    peer.say('outcome', { guest });
  });
}

/** The target's kernel says that nothing listens: its process is gone, for whoever listens does so as long as he lives. */
function isRefused(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === 'ECONNREFUSED' || cause?.code === 'ENOENT';
}
