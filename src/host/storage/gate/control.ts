/**
 * How a gate is told: JSON lines on a Unix socket of its own, `control.sock` in the folder of its generations, for this user alone.
 *
 *     {"id": 1, "method": "fence", "params": {"export": "disk0", "generation": 8}}
 *     {"id": 1, "result": {"generation": 8, "proof": "answered"}}
 *     {"id": 2, "method": "status"}        {"id": 3, "error": {"code": ..., "message": ..., "fix": ...}}
 *
 * Answers come in any order. A line that is no request ends the connection. Whoever leaves takes nothing back.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { checkExport, checkGeneration } from './export-name.ts';
import type { StorageGate } from './gate.ts';
import { listenAt } from './listen.ts';

const LINE_BYTES_MAX = 16 << 10;
const CONNECTIONS_MAX = 64;
const REQUESTS_MAX = 64;

export function controlPath(stateFolder: string): string {
  return join(stateFolder, 'control.sock');
}

interface Request {
  readonly id: number;
  readonly method: string;
  readonly params: { readonly export?: unknown; readonly generation?: unknown };
}

export class GateControl implements AsyncDisposable {
  readonly #gate: StorageGate;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(gate: StorageGate) {
    this.#gate = gate;
    this.#server = createServer((socket) => {
      if (this.#sockets.size >= CONNECTIONS_MAX) return void socket.destroy();
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => {});
      void this.#serve(socket).catch(() => socket.destroy());
    });
  }

  /** Throws OperatorError `gate-address`. */
  static async open(gate: StorageGate, stateFolder: string): Promise<GateControl> {
    const control = new GateControl(gate);
    await listenAt(control.#server, { path: controlPath(stateFolder) });
    return control;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server.close(), 'close');
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(socket: Socket): Promise<void> {
    let underWay = 0;
    for await (const line of linesOf(socket)) {
      const request = parse(line);
      if (request === undefined || ++underWay > REQUESTS_MAX) break;
      void this.#answer(request).then((answer) => {
        underWay--;
        if (!socket.destroyed) socket.write(`${JSON.stringify({ id: request.id, ...answer })}\n`);
      });
    }
    socket.destroy();
  }

  async #answer({ method, params }: Request): Promise<{ readonly result: unknown } | { readonly error: unknown }> {
    try {
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
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      if (line.length > longest) throw new HostError('gate-protocol', 'a line is too long');
      yield line;
    }
    if (rest.length > longest) throw new HostError('gate-protocol', 'a line is too long');
  }
}
