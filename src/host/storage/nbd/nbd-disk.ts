/**
 * A disk that an NBD server exports. When the server is gone, it is looked for until it is back; requests wait so long as
 * the operator says, and fail after that, as with QEMU's `reconnect-delay`.
 *
 *     connected --lost--> away: requests wait, then fail --back--> what was acknowledged and not flushed is sent again,
 *                                                                  then what waits --> connected
 *
 * So nothing that the guest was told is written gets lost with a server that dies, as long as this process lives. What is
 * kept for that is bounded: when it is too much, a flush of our own comes between. A server that has no flush says that
 * its acknowledgement is enough, and nothing is kept.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError } from '../../../base/errors.ts';
import { type BlockBackend, totalBytes } from '../../../devices/index.ts';
import { SharedFlush } from '../shared-flush.ts';
import { cut } from '../storage-file.ts';
import { NbdConnection, NbdError, type NbdRequest } from './connection.ts';
import type { ExportInfo, Handshake } from './handshake.ts';
import { CMD } from './protocol.ts';
import { WriteJournal } from './write-journal.ts';

const JOURNAL_BYTES = 32 << 20;
/** Of a trim or of zeros; a length has 32 bits. */
const RANGE_BYTES = 1 << 30;
const ZERO_CHUNK_BYTES = 1 << 20;
const PAUSE_MS = { first: 50, most: 2000 };

export interface NbdDiskOptions {
  readonly readOnly: boolean;
  /** How long requests wait for a server that is gone. */
  readonly reconnectDelayMs: number;
  /** Another connection to the same export. */
  readonly connect: () => Promise<Handshake>;
}

export class NbdDisk implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** What offsets and sizes are multiples of. */
  readonly blockBytes: number;
  readonly discard?: (offset: number, sizeBytes: number) => Promise<void>;
  readonly #info: ExportInfo;
  readonly #options: NbdDiskOptions;
  readonly #journal: WriteJournal | undefined;
  readonly #flushes = new SharedFlush(() => this.#flush());
  readonly #closed = new AbortController();
  #connection: NbdConnection | undefined;
  /** While the server is away: when it went, and when it is back. */
  #away: { readonly sinceMs: number; readonly back: Promise<void> } | undefined;
  #failure: HostError | undefined;

  constructor(first: Handshake, options: NbdDiskOptions) {
    this.#options = options;
    this.#info = first.info;
    this.sizeBytes = first.info.sizeBytes;
    this.readOnly = options.readOnly;
    this.blockBytes = first.info.blockBytes;
    if (first.info.canTrim && !this.readOnly) {
      this.discard = (offset, sizeBytes) => this.#change(CMD.TRIM, offset, sizeBytes);
    }
    this.#journal = first.info.canFlush && !this.readOnly ? new WriteJournal() : undefined;
    this.#connected(new NbdConnection(first));
  }

  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    await this.#inParts(offset, totalBytes(into), this.#info.payloadBytesMax, (at, sizeBytes) =>
      this.#request({ command: CMD.READ, offset: at, sizeBytes, into: cut(into, at - offset, sizeBytes) }),
    );
  }

  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    await this.#inParts(offset, totalBytes(from), this.#info.payloadBytesMax, (at, sizeBytes) =>
      this.#requestChange({ command: CMD.WRITE, offset: at, sizeBytes, from: cut(from, at - offset, sizeBytes) }),
    );
    await this.#keepBounds();
  }

  flush(): Promise<void> {
    return this.readOnly || !this.#info.canFlush ? Promise.resolve() : this.#flushes.run();
  }

  async writeZeroes(offset: number, sizeBytes: number): Promise<void> {
    if (this.#info.canWriteZeroes) return await this.#change(CMD.WRITE_ZEROES, offset, sizeBytes);
    const zeros = new Uint8Array(Math.min(sizeBytes, ZERO_CHUNK_BYTES));
    for (let at = 0; at < sizeBytes; at += zeros.length) {
      await this.write(offset + at, [zeros.subarray(0, Math.min(zeros.length, sizeBytes - at))]);
    }
  }

  /** Flushes and says goodbye. */
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      this.#closed.abort(new HostError('nbd-closed', 'the disk is closed'));
      this.#connection?.disconnect();
    }
  }

  async #change(command: typeof CMD.TRIM | typeof CMD.WRITE_ZEROES, offset: number, sizeBytes: number): Promise<void> {
    await this.#inParts(offset, sizeBytes, RANGE_BYTES, (at, size) =>
      this.#requestChange({ command, offset: at, sizeBytes: size }),
    );
    await this.#keepBounds();
  }

  async #inParts(
    offset: number,
    sizeBytes: number,
    most: number,
    each: (at: number, sizeBytes: number) => Promise<void>,
  ): Promise<void> {
    const parts: Promise<void>[] = [];
    for (let at = offset; at < offset + sizeBytes; at += most)
      parts.push(each(at, Math.min(most, offset + sizeBytes - at)));
    // All are over before the caller has its buffers back.
    for (const result of await Promise.allSettled(parts)) if (result.status === 'rejected') throw result.reason;
  }

  async #requestChange(request: NbdRequest): Promise<void> {
    await this.#request(request);
    this.#journal?.add(request);
  }

  async #keepBounds(): Promise<void> {
    if ((this.#journal?.bytes ?? 0) > JOURNAL_BYTES) await this.flush();
  }

  async #flush(): Promise<void> {
    const mark = this.#journal?.mark() ?? 0;
    await this.#request({ command: CMD.FLUSH, offset: 0, sizeBytes: 0 });
    this.#journal?.dropBefore(mark);
  }

  /** Sends it, and again to a server that is back, for as long as it may wait. */
  async #request(request: NbdRequest): Promise<void> {
    for (;;) {
      const connection = await this.#usable();
      try {
        return await connection.send(request);
      } catch (error) {
        // The server's word counts, unless it is that it goes; a lost connection's is none.
        if (error instanceof NbdError && error.code === 'nbd-shutdown') connection.destroy(error);
        else if (error instanceof NbdError || this.#closed.signal.aborted) throw error;
      }
    }
  }

  async #usable(): Promise<NbdConnection> {
    for (;;) {
      this.#closed.signal.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#connection !== undefined) return this.#connection;
      const { sinceMs, back } = this.#away ?? { sinceMs: 0, back: Promise.resolve() };
      const leftMs = sinceMs + this.#options.reconnectDelayMs - performance.now();
      if (leftMs <= 0) throw new HostError('nbd-gone', 'the NBD server is gone');
      const over = new AbortController();
      const timer = sleep(leftMs, undefined, { signal: over.signal }).catch(() => undefined);
      await Promise.race([back, timer]);
      over.abort();
    }
  }

  #connected(connection: NbdConnection): void {
    this.#connection = connection;
    this.#away = undefined;
    void connection.ended.then(() => {
      this.#connection = undefined;
      if (this.#closed.signal.aborted) return;
      // Before those that were under way ask for another connection.
      this.#away = { sinceMs: performance.now(), back: this.#reconnect() };
    });
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#closed;
    for (let pauseMs = PAUSE_MS.first; !signal.aborted; pauseMs = Math.min(pauseMs * 2, PAUSE_MS.most)) {
      try {
        const connection = await this.#comeBack();
        if (signal.aborted) connection.disconnect();
        else this.#connected(connection);
        return;
      } catch (error) {
        if (error instanceof LostDisk) {
          this.#failure = error;
          return;
        }
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** A new connection, on which all is as it was acknowledged. */
  async #comeBack(): Promise<NbdConnection> {
    const handshake = await this.#options.connect();
    const { sizeBytes, readOnly, blockBytes, canFlush } = handshake.info;
    const connection = new NbdConnection(handshake);
    const isOther =
      sizeBytes !== this.sizeBytes ||
      (readOnly && !this.readOnly) ||
      blockBytes > this.blockBytes ||
      canFlush !== this.#info.canFlush;
    try {
      if (isOther) throw new LostDisk('nbd-changed', 'the NBD server is back with another export');
      for (const request of this.#journal?.entries ?? []) await connection.send(request);
      return connection;
    } catch (error) {
      const reason =
        error instanceof HostError ? error : new HostError('nbd-gone', 'the connection failed', { cause: error });
      connection.destroy(reason);
      if (!(error instanceof NbdError)) throw error;
      throw new LostDisk('nbd-lost', 'the NBD server does not take again what it had acknowledged', { cause: error });
    }
  }
}

/** The disk cannot be what the guest was told that it is: nothing is done on it any more. */
class LostDisk extends HostError {
  override name = 'LostDisk';
}
