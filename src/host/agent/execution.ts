/**
 * One command that the guest agent runs: its input goes out in pieces that the agent acknowledges (so that a
 * command which does not read fills neither the guest's memory nor the host's), its output comes in by callback,
 * its end is a promise.
 *
 *   starting --started--> running --exit--> exited --end | held--> ended
 *      | abort: abandoned --started: kill--> ended
 */
import { HostError } from '../../base/errors.ts';
import { inputSlots, limits, type Reply, type Request } from './frames.ts';
import type { ExecOptions } from './session.ts';

/** What an execution needs of its session. */
export interface ExecutionPort {
  send(request: Request): void;
  whenReady: Promise<unknown>;
  forget(): void;
}

type Piece = { data: Uint8Array; sent: () => void };
type ExecutionReply = Extract<Reply, { verb: 'started' | 'out' | 'err' | 'took' | 'exit' | 'held' | 'end' }>;

const unsent = (): HostError => new HostError('stdin-closed', "the command's input is closed");

export class Execution {
  readonly id: number;
  /** Resolves when the command has ended and its output is complete; rejects if the session fails or on abort. */
  readonly ended: Promise<{ exitCode: number }>;
  readonly #port: ExecutionPort;
  readonly #options: ExecOptions;
  readonly #end = Promise.withResolvers<{ exitCode: number }>();
  #state: 'starting' | 'abandoned' | 'running' | 'exited' | 'ended' = 'starting';
  #exitCode = 0;
  #isSent = false;
  #isClosing = false;
  #isEofSent = false;
  #underway = 0;
  #pieces: Piece[] = [];
  #rejectPieces: ((error: unknown) => void)[] = [];
  #signals: string[] = [];
  readonly #onAbort = (): void => {
    if (this.#state === 'starting' && this.#isSent) {
      // It cannot be killed before the agent has told that it started; until then the id stays known.
      this.#state = 'abandoned';
      this.#dropInput();
      this.#end.reject(this.#options.signal?.reason);
      return;
    }
    this.kill('KILL');
    this.fail(this.#options.signal?.reason);
  };

  constructor(id: number, options: ExecOptions, port: ExecutionPort) {
    this.id = id;
    this.#options = options;
    this.#port = port;
    this.ended = this.#end.promise;
    this.ended.catch(() => {}); // whoever awaits it is told
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Sends the script when the agent is there. The session calls it once. */
  start(script: Uint8Array): void {
    this.#port.whenReady.then(
      () => {
        if (this.#state === 'ended') return;
        this.#port.send({ verb: 'exec', id: this.id, data: script });
        this.#isSent = true;
      },
      () => {}, // the session fails its executions itself
    );
  }

  /** Resolves when all of `bytes` is on its way; rejects when the input is closed or the command has ended. */
  async writeStdin(bytes: Uint8Array): Promise<void> {
    if (this.#isClosing || (this.#state !== 'starting' && this.#state !== 'running')) throw unsent();
    if (bytes.length === 0) return;
    await new Promise<void>((resolve, reject) => {
      this.#rejectPieces.push(reject);
      for (let at = 0; at < bytes.length; at += limits.inputBytes) {
        const data = bytes.slice(at, at + limits.inputBytes);
        const isLast = at + data.length >= bytes.length;
        this.#pieces.push({ data, sent: isLast ? () => this.#settle(resolve, reject) : () => {} });
      }
      this.#pump();
    });
  }

  /** The command reads end of file behind what was written so far. */
  closeStdin(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#pump();
  }

  /** Sends a signal (`TERM`, `INT`, ...) to the command's process group; kept until the command has started. */
  kill(signal: string): void {
    if (!/^[A-Z][A-Z0-9]{0,15}$/.test(signal)) throw new HostError('bad-signal', `${signal} names no signal`);
    if (this.#state === 'running') this.#port.send({ verb: 'kill', id: this.id, signal });
    else if (this.#state === 'starting') this.#signals.push(signal);
  }

  /** A frame for this command. The session calls it. */
  take(reply: ExecutionReply): void {
    if (this.#state === 'ended') return;
    switch (reply.verb) {
      case 'started':
        if (this.#state === 'abandoned') {
          this.#port.send({ verb: 'kill', id: this.id, signal: 'KILL' });
          this.#leave();
        }
        if (this.#state !== 'starting') return;
        this.#state = 'running';
        this.#pump();
        for (const signal of this.#signals.splice(0)) this.kill(signal);
        return;
      case 'out':
      case 'err':
        if (this.#state === 'abandoned') return;
        (reply.verb === 'out' ? this.#options.onStdout : this.#options.onStderr)?.(reply.data);
        return;
      case 'took':
        this.#underway = Math.max(0, this.#underway - 1);
        this.#pump();
        return;
      case 'exit':
        if (this.#state === 'abandoned') {
          this.#leave();
          return;
        }
        this.#state = 'exited';
        this.#exitCode = reply.exitCode;
        this.#dropInput();
        return;
      case 'held': // what it left running holds its output open; all that was written has come
      case 'end':
        if (this.#state === 'exited') this.#finish();
        return;
    }
  }

  /** Ends the waiting with an error; the session calls it when it closes. */
  fail(reason: unknown): void {
    if (this.#state === 'ended') return;
    this.#leave();
    this.#end.reject(reason);
  }

  #finish(): void {
    this.#leave();
    this.#end.resolve({ exitCode: this.#exitCode });
  }

  #leave(): void {
    this.#state = 'ended';
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#dropInput();
    this.#port.forget();
  }

  #dropInput(): void {
    this.#pieces = [];
    for (const reject of this.#rejectPieces.splice(0)) reject(unsent());
  }

  #settle(resolve: () => void, reject: (error: unknown) => void): void {
    this.#rejectPieces = this.#rejectPieces.filter((entry) => entry !== reject);
    resolve();
  }

  #pump(): void {
    if (this.#state !== 'running') return; // before, the agent has nobody who would take it
    while (this.#underway < inputSlots) {
      const piece = this.#pieces.shift();
      if (!piece) break;
      this.#underway += 1;
      this.#port.send({ verb: 'in', id: this.id, data: piece.data });
      piece.sent();
    }
    if (this.#isClosing && this.#pieces.length === 0 && !this.#isEofSent) {
      this.#isEofSent = true;
      this.#port.send({ verb: 'eof', id: this.id });
    }
  }
}
