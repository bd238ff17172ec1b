/**
 * How a gate is told: JSON lines on a Unix socket of its own, `control.sock` in the folder of its generations, for this user alone; and
 * between hosts by TLS, where both ends show a certificate of one authority.
 *
 *     {"id": 1, "method": "hello"}         {"id": 1, "result": {"version": 1}}
 *     {"id": 2, "method": "fence", "params": {"export": "disk0", "generation": 8}}
 *     {"id": 2, "result": {"generation": 8, "proof": "answered"}}
 *     {"id": 3, "method": "status"}        {"id": 4, "error": {"code": ..., "message": ..., "fix": ...}}
 *
 * Answers come in any order. A line that is no request ends the connection, and so does silence. Whoever leaves takes nothing back.
 */
import type { Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { HostError, OperatorError } from '../../../base/errors.ts';
import {
  addressText,
  listenForStreams,
  parseAddress,
  type StreamAddress,
  type StreamListener,
} from '../../streams/index.ts';
import { checkExport, checkGeneration } from './export-name.ts';
import type { StorageGate } from './gate.ts';

/** Of the lines. */
export const CONTROL_VERSION = 1;
const LINE_BYTES_MAX = 16 << 10;
const CONNECTIONS_MAX = 64;
/** Of one connection, until the answer is with its system. */
const REQUESTS_MAX = 64;
/** Without a request that is under way, or a whole line. */
const SILENCE_MS = 60_000;
/** A host that vanished gives its place back. */
const KEEP_ALIVE_MS = 15_000;

/** Where the gate that keeps its generations in this folder is told: `unix:PATH`. */
export function gateControl(stateFolder: string): string {
  return addressText({ kind: 'unix', path: join(resolve(stateFolder), 'control.sock') });
}

/** Throws OperatorError `bad-usage`: whoever may tell a gate has to show who he is. */
export function parseControl(text: string): StreamAddress {
  const address = parseAddress(text);
  if (address.kind === 'unix' || address.kind === 'tls') return address;
  throw new OperatorError(
    'bad-usage',
    `a gate is not told at ${text}: nobody is asked who he is`,
    'Write unix:PATH or tls:HOST:PORT.',
  );
}

interface Request {
  readonly id: number;
  readonly method: string;
  readonly params: { readonly export?: unknown; readonly generation?: unknown };
}

export interface ControlOptions {
  /** The folder of the certificates: ca.pem, cert.pem, key.pem. */
  readonly tls?: string;
  /** How long a connection may be silent; a minute by default. */
  readonly silenceMs?: number;
}

export class GateControl implements AsyncDisposable {
  readonly #gate: StorageGate;
  readonly #silenceMs: number;
  readonly #sockets = new Set<Socket>();
  #listener: StreamListener | undefined;

  private constructor(gate: StorageGate, silenceMs: number) {
    this.#gate = gate;
    this.#silenceMs = silenceMs;
  }

  /** At `unix:PATH` or `tls:HOST:PORT`. Throws OperatorError `bad-usage`, `address-in-use`, HostError `cannot-listen`. */
  static async open(gate: StorageGate, address: string, options: ControlOptions = {}): Promise<GateControl> {
    const control = new GateControl(gate, options.silenceMs ?? SILENCE_MS);
    control.#listener = await listenForStreams(parseControl(address), options.tls, (socket) =>
      control.#arrived(socket),
    );
    return control;
  }

  /** With the port that it was given. */
  get address(): string {
    return this.#listener === undefined ? '' : addressText(this.#listener.address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#listener?.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #arrived(socket: Socket): void {
    if (this.#sockets.size >= CONNECTIONS_MAX) return void socket.destroy();
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket)).on('error', () => {});
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    void this.#serve(socket).catch(() => socket.destroy());
  }

  async #serve(socket: Socket): Promise<void> {
    let underWay = 0;
    const silence = setTimeout(() => underWay === 0 && socket.destroy(), this.#silenceMs);
    socket.on('close', () => clearTimeout(silence));
    for await (const line of linesOf(socket)) {
      const request = parse(line);
      if (request === undefined || ++underWay > REQUESTS_MAX) break;
      silence.refresh();
      void this.#answer(request).then((answer) => {
        if (socket.destroyed) return;
        socket.write(`${JSON.stringify({ id: request.id, ...answer })}\n`, () => {
          underWay--;
          if (!socket.destroyed) silence.refresh();
        });
      });
    }
    socket.destroy();
  }

  async #answer({ method, params }: Request): Promise<{ readonly result: unknown } | { readonly error: unknown }> {
    try {
      if (method === 'hello') return { result: { version: CONTROL_VERSION } };
      if (method === 'status') return { result: this.#gate.report() };
      if (method !== 'fence') throw new OperatorError('bad-usage', 'that is no method', 'Use fence or status.');
      const { export: exportName, generation } = params;
      checkExport(exportName);
      checkGeneration(generation);
      return { result: await this.#gate.fence(exportName, generation) };
    } catch (error) {
      return { error: told(error) };
    }
  }
}

function told(error: unknown): { readonly code: string; readonly message: string; readonly fix?: string } {
  if (error instanceof OperatorError) return { code: error.code, message: error.message, fix: error.fix };
  const why = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
  if (error instanceof HostError) return { code: error.code, message: `${error.message}${why}` };
  return { code: 'bug', message: String(error) };
}

function parse(line: string): Request | undefined {
  try {
    const { id, method, params = {} } = JSON.parse(line) as { id?: unknown; method?: unknown; params?: unknown };
    const isRequest = Number.isSafeInteger(id) && typeof method === 'string' && typeof params === 'object';
    return isRequest && params !== null ? { id: id as number, method, params } : undefined;
  } catch {
    return undefined;
  }
}

/** Lines as they come; throws when one is too long. */
export async function* linesOf(socket: Socket, longest = LINE_BYTES_MAX): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of socket as AsyncIterable<Uint8Array>) {
    const from = rest.length;
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf('\n', from); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      if (line.length > longest) throw new HostError('gate-protocol', 'a line is too long');
      yield line;
    }
    if (rest.length > longest) throw new HostError('gate-protocol', 'a line is too long');
  }
}
