/**
 * What is said on the API's WebSockets, whatever carries them: a console, or a command with its streams.
 *
 *   console   binary both ways: bytes of the console, what it said lately first; keys for it
 *   exec      text: what to run; binary, behind a byte that names the channel: 0 stdin (empty: end), 1 stdout, 2 stderr;
 *             text at last: {"kind": "exit", code} or {"kind": "problem", problem}
 */
import { HostError } from '../../base/errors.ts';
import type { RemoteMachine } from '../../host/index.ts';
import { execRequest } from '../schemas/problem.ts';
import type { SocketOperation } from './calls.ts';
import { optionsOf, readyWithin } from './exec.ts';
import { badRequest, problemOf, RequestError } from './problem-of.ts';
import type { Service } from './service.ts';

/** One end of a socket: the daemon's. */
export interface Peer {
  send(message: string | Uint8Array): void;
  /** Bytes that were sent and not taken. */
  readonly bufferedBytes: number;
  /** Messages in order; ends when the other side is gone. */
  messages(): AsyncIterable<string | Uint8Array>;
  /** WebSocket close codes: 1000 is the ordinary end. */
  close(code: number, reason: string): void;
  /** Aborts when the other side is gone. */
  readonly gone: AbortSignal;
}

/** Who does not read is cut off at so many bytes. */
const MOST_BUFFERED = 8 << 20;
const CLOSE = { normal: 1000, policy: 1008, tooSlow: 1013, failed: 1011 } as const;
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2 } as const;

export type Session = (service: Service, name: string, peer: Peer) => Promise<void>;

export const sessions: { readonly [O in SocketOperation]: Session } = { attachConsole, attachExec };

/** The machine is reached before the socket is opened, so that who asks for none is answered as HTTP has it. */
export async function checkThere(service: Service, name: string): Promise<void> {
  await using _ = await service.operated.reach(name);
}

async function attachConsole(service: Service, name: string, peer: Peer): Promise<void> {
  await guarded(service, peer, async () => {
    await using machine = await service.operated.reach(name);
    const keys = (async () => {
      for await (const message of peer.messages()) await machine.writeConsole(bytesOf(message));
    })();
    keys.catch(() => {}); // an ended machine takes no keys
    await machine.attach((bytes) => send(peer, bytes), peer.gone);
    peer.close(CLOSE.normal, 'the partition has ended');
  });
}

async function attachExec(service: Service, name: string, peer: Peer): Promise<void> {
  await guarded(service, peer, async () => {
    await using machine = await service.operated.reach(name);
    const messages = peer.messages()[Symbol.asyncIterator]();
    const first = await messages.next();
    if (first.done) return;
    try {
      const code = await run(machine, first.value, messages, peer);
      peer.send(JSON.stringify({ kind: 'exit', code }));
    } catch (error) {
      const problem = problemOf(error);
      if (problem.code === 'bug' && !peer.gone.aborted) service.failed(error);
      peer.send(JSON.stringify({ kind: 'problem', problem }));
    }
    peer.close(CLOSE.normal, 'the command has ended');
  });
}

async function run(
  machine: RemoteMachine,
  first: string | Uint8Array,
  messages: AsyncIterator<string | Uint8Array>,
  peer: Peer,
): Promise<number> {
  const request = readRequest(first);
  await readyWithin(machine, request.waitMs, peer.gone);
  const { code } = await machine.exec(request.argv, {
    ...optionsOf(request),
    stdin: stdinOf(messages),
    onStdout: (bytes) => send(peer, withChannel(CHANNEL.stdout, bytes)),
    onStderr: (bytes) => send(peer, withChannel(CHANNEL.stderr, bytes)),
    signal: peer.gone,
  });
  return code;
}

function readRequest(message: string | Uint8Array) {
  if (typeof message !== 'string')
    throw new RequestError(400, 'bad-request', 'the first message is not text', 'Send an ExecRequest as JSON');
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    throw new RequestError(400, 'bad-request', 'the first message is not JSON', 'Send an ExecRequest as JSON');
  }
  const read = execRequest.omit({ stdin: true }).safeParse(value);
  if (!read.success) throw badRequest('message', read.error.issues);
  return read.data;
}

/** A client that leaves, or says that it has no more, ends the command's input. */
async function* stdinOf(messages: AsyncIterator<string | Uint8Array>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { done, value } = await messages.next();
    if (done) return;
    if (typeof value === 'string' || value[0] !== CHANNEL.stdin) continue;
    if (value.length === 1) return;
    yield value.subarray(1);
  }
}

function withChannel(channel: number, bytes: Uint8Array): Uint8Array {
  const message = new Uint8Array(bytes.length + 1);
  message[0] = channel;
  message.set(bytes, 1);
  return message;
}

function bytesOf(message: string | Uint8Array): Uint8Array {
  return typeof message === 'string' ? Buffer.from(message) : message;
}

function send(peer: Peer, message: Uint8Array): void {
  if (peer.bufferedBytes > MOST_BUFFERED) peer.close(CLOSE.tooSlow, 'what was asked for is not read fast enough');
  else if (message.length > 0) peer.send(message);
}

async function guarded(service: Service, peer: Peer, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (peer.gone.aborted) return;
    if (!(error instanceof HostError)) service.failed(error);
    peer.close(CLOSE.failed, problemOf(error).detail.slice(0, 100));
  }
}
