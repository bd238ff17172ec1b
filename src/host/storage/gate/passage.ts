/**
 * One client's way through the gate, from the end of its handshake on: requests are read whole, checked, sent on by a connection behind
 * that is this client's alone, and answered by simple replies.
 *
 *     open --fence--> fenced: what is read is refused; what was sent on is waited for --> over: the client's connection is closed
 *     open --client leaves, server goes, protocol broken--> what was sent on is waited for, or lost --> over
 *
 * Between the look at the generation and the sending nothing else can happen (one step of one thread), and a request is sent on only
 * when all its bytes are here: a client that stops in the middle of a write has none of it done. The connection behind is not closed by
 * us while an answer is outstanding, since a server may go on with what it has read from a closed connection.
 */
import type { Socket } from 'node:net';
import { HostError } from '../../../base/errors.ts';
import type { ByteStream } from '../nbd/byte-stream.ts';
import { type NbdConnection, NbdError, type NbdRequest } from '../nbd/connection.ts';
import {
  CMD,
  CMD_FLAG,
  type Command,
  ERROR,
  PAYLOAD_BYTES_DEFAULT,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
} from '../nbd/protocol.ts';

/** Requests of one client that are under way; more are not read. */
const REQUESTS_MAX = 128;
/** Their data, from before a write is read until the answer of a read is with the client's system. One request of the largest. */
const UNDER_WAY_BYTES_MAX = PAYLOAD_BYTES_DEFAULT;
/** For a client that does not take its last answers. */
const LEAVE_MS = 1000;

interface ClientRequest {
  readonly flags: number;
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: bigint;
  readonly sizeBytes: number;
  readonly payload: Uint8Array | undefined;
}

export interface PassageOptions {
  readonly client: Socket;
  readonly stream: ByteStream;
  readonly behind: NbdConnection;
  /** A request came of a generation that is over. */
  refused(): void;
}

export class Passage {
  /** When nothing of this client is outstanding behind, and nothing will be. `isInDoubt`: a change was sent on and never answered. */
  readonly over: Promise<{ readonly isInDoubt: boolean }>;
  readonly #options: PassageOptions;
  #isFenced = false;
  #isInDoubt = false;
  #isOver = false;
  /** Sent on and not answered. */
  #outstanding = 0;
  #requests = 0;
  #bytes = 0;
  #wake: (() => void) | undefined;
  #drained: (() => void) | undefined;

  constructor(options: PassageOptions) {
    this.#options = options;
    this.over = this.#run();
  }

  /** From now on nothing is sent on. */
  fence(): void {
    this.#isFenced = true;
    // With nothing outstanding it is over at once, whether the client moves or not.
    if (this.#outstanding === 0) this.#leave();
  }

  /** The gate closes. */
  close(): void {
    this.#isFenced = true;
    this.#options.client.destroy();
  }

  /** What is outstanding behind is given up. */
  abandon(): void {
    this.#options.behind.destroy(new HostError('nbd-gone', 'the gate is closed'));
  }

  async #run(): Promise<{ readonly isInDoubt: boolean }> {
    const { client, behind } = this.#options;
    void behind.ended.then(() => {
      if (!this.#isOver) client.destroy();
    });
    try {
      while (await this.#next());
    } catch {
      // It left, or it does not speak the protocol: there is nobody to tell.
    }
    // Nothing is taken from it any more; answers of what was sent on still go to one that said goodbye.
    if (this.#outstanding > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    }
    this.#isOver = true;
    behind.disconnect();
    this.#leave();
    return { isInDoubt: this.#isInDoubt };
  }

  /** False: the client said goodbye. */
  async #next(): Promise<boolean> {
    const request = await this.#read();
    if (request.command === CMD.DISC) return false;
    const error = this.#whyNot(request);
    if (error === 0) this.#sendOn(request);
    else {
      if (error === ERROR.ESHUTDOWN) this.#options.refused();
      this.#answer(request, error);
    }
    return true;
  }

  async #read(): Promise<ClientRequest> {
    const { stream } = this.#options;
    const head = await stream.take(REQUEST_BYTES);
    if (head.getUint32(0) !== REQUEST_MAGIC) throw new HostError('nbd-protocol', 'the NBD client sends no request');
    const command = head.getUint16(6);
    const sizeBytes = head.getUint32(24);
    // Where the next request begins is not known without reading it.
    if (command === CMD.WRITE && sizeBytes > PAYLOAD_BYTES_DEFAULT) {
      throw new HostError('nbd-protocol', `the NBD client writes ${sizeBytes} bytes at once`);
    }
    await this.#room(heldBytes(command, sizeBytes));
    const payload = command === CMD.WRITE ? new Uint8Array((await stream.take(sizeBytes)).buffer) : undefined;
    return {
      ...{ flags: head.getUint16(4), command, cookie: head.getBigUint64(8), offset: head.getBigUint64(16) },
      ...{ sizeBytes, payload },
    };
  }

  /** The error that a request is refused with; 0: it goes on. */
  #whyNot({ command, flags, offset, sizeBytes }: ClientRequest): number {
    if (this.#isFenced) return ERROR.ESHUTDOWN;
    const { info } = this.#options.behind;
    const isKnown =
      command === CMD.READ ||
      command === CMD.WRITE ||
      (command === CMD.FLUSH && info.canFlush) ||
      (command === CMD.TRIM && info.canTrim) ||
      (command === CMD.WRITE_ZEROES && info.canWriteZeroes);
    const flagsKnown = command === CMD.WRITE_ZEROES ? CMD_FLAG.NO_HOLE : 0;
    if (!isKnown || (flags & ~flagsKnown) !== 0) return ERROR.EINVAL;
    if (command === CMD.FLUSH) return offset === 0n && sizeBytes === 0 ? 0 : ERROR.EINVAL;
    if (isChange(command) && info.readOnly) return ERROR.EPERM;
    if (offset + BigInt(sizeBytes) > BigInt(info.sizeBytes)) return isChange(command) ? ERROR.ENOSPC : ERROR.EINVAL;
    const isAligned = Number(offset) % info.blockBytes === 0 && sizeBytes % info.blockBytes === 0;
    const isTooLong = (command === CMD.READ || command === CMD.WRITE) && sizeBytes > info.payloadBytesMax;
    return sizeBytes === 0 || !isAligned || isTooLong ? ERROR.EINVAL : 0;
  }

  /** Called in the same step as `#whyNot`. */
  #sendOn(request: ClientRequest): void {
    const { command, flags, sizeBytes, payload } = request;
    const data = command === CMD.READ ? new Uint8Array(sizeBytes) : undefined;
    const onward: NbdRequest = {
      ...{ command: command as Command, flags, offset: Number(request.offset), sizeBytes },
      ...(payload === undefined ? {} : { from: [payload] }),
      ...(data === undefined ? {} : { into: [data] }),
    };
    this.#outstanding++;
    this.#options.behind.send(onward).then(
      () => this.#answered(request, 0, data),
      (error: unknown) => {
        if (error instanceof NbdError) return this.#answered(request, error.number);
        // The connection behind is gone, and with it ours.
        if (isChange(command)) this.#isInDoubt = true;
        this.#answered(request, ERROR.EIO);
      },
    );
  }

  #answered(request: ClientRequest, error: number, data?: Uint8Array): void {
    this.#outstanding--;
    this.#answer(request, error, data);
    if (this.#outstanding > 0) return;
    this.#drained?.();
    if (this.#isFenced) this.#leave();
  }

  #answer({ command, cookie, sizeBytes }: ClientRequest, error: number, data?: Uint8Array): void {
    const head = new DataView(new ArrayBuffer(16));
    head.setUint32(0, SIMPLE_REPLY_MAGIC);
    head.setUint32(4, error);
    head.setBigUint64(8, cookie);
    const { client } = this.#options;
    const done = (): void => {
      this.#requests--;
      this.#bytes -= heldBytes(command, sizeBytes);
      this.#wake?.();
    };
    const bytes = new Uint8Array(head.buffer);
    client.write(data === undefined ? bytes : Buffer.concat([bytes, data]), done);
  }

  /** Waits until so much may be under way, and takes it. */
  async #room(bytes: number): Promise<void> {
    while (this.#requests >= REQUESTS_MAX || (this.#bytes > 0 && this.#bytes + bytes > UNDER_WAY_BYTES_MAX)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#requests++;
    this.#bytes += bytes;
  }

  /** What was answered still reaches a client that reads. */
  #leave(): void {
    const { client } = this.#options;
    if (client.destroyed) return;
    this.#options.stream.close(new HostError('nbd-gone', 'the gate closes the connection'));
    client.destroySoon();
    const timer = setTimeout(() => client.destroy(), LEAVE_MS);
    client.once('close', () => clearTimeout(timer));
  }
}

function isChange(command: number): boolean {
  return command === CMD.WRITE || command === CMD.TRIM || command === CMD.WRITE_ZEROES;
}

/** A read that is too long is refused, and holds nothing. */
function heldBytes(command: number, sizeBytes: number): number {
  const hasData = command === CMD.WRITE || command === CMD.READ;
  return hasData && sizeBytes <= PAYLOAD_BYTES_DEFAULT ? sizeBytes : 0;
}
