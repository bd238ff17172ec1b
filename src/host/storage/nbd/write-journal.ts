/**
 * What a server has acknowledged and not yet flushed. It may lose that when it dies (doc/proto.md, "Ordering of messages
 * and writes"); whoever has it here can send it again. In the order of acknowledgement, which no two overlapping writes
 * of a guest that waits for the first leave open.
 */

import type { NbdRequest } from './connection.ts';
import { CMD } from './protocol.ts';

/** Of a request without data. */
const ENTRY_BYTES = 64;

export class WriteJournal {
  #entries: NbdRequest[] = [];
  #bytes = 0;
  /** Entries dropped so far. */
  #dropped = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get entries(): readonly NbdRequest[] {
    return this.#entries;
  }

  /** Adds a request that changes the disk; its data is copied. */
  add(request: NbdRequest): void {
    const entry =
      request.command === CMD.WRITE
        ? { ...request, from: [new Uint8Array(Buffer.concat(request.from ?? []))] }
        : request;
    this.#entries.push(entry);
    this.#bytes += costOf(entry);
  }

  /** For `dropBefore`: everything that was added until now. */
  mark(): number {
    return this.#dropped + this.#entries.length;
  }

  /** It is on the server's medium. */
  dropBefore(mark: number): void {
    for (const entry of this.#entries.splice(0, mark - this.#dropped)) this.#bytes -= costOf(entry);
    this.#dropped = mark;
  }
}

function costOf({ command, sizeBytes }: NbdRequest): number {
  return ENTRY_BYTES + (command === CMD.WRITE ? sizeBytes : 0);
}
