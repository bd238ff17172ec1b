/** What replication asks of the machine whose guest is replicated, and of the connection and the host around it. */
import type { JournalDisk } from './journal-disk.ts';
import type { OutputGate } from './output-gate.ts';

export interface PageBatch {
  /** Runs of page numbers (machine/snapshot/runs.ts). */
  readonly meta: Uint8Array;
  /** The bytes of those that hold something. */
  readonly data: Uint8Array;
}

/** A guest that stands still. */
export interface Hold {
  /** When it began to. */
  readonly sinceMs: number;
  /** It goes on. */
  release(): void;
}

export interface SourceGuest {
  /** It has ended by itself: `hold` rejects from now on, and whoever replicates it is told soon (Protection.guestEnded). */
  readonly hasEnded: boolean;
  /** Brings it to where nothing of it changes by itself. Rejects when it has ended. */
  hold(): Promise<Hold>;
  /** Numbers of pages that changed since the last sweep, in rising order: at first, of all that hold something. Held. */
  sweep(): Uint32Array;
  /** What these pages hold at this moment: copies. While it runs, pages that change meanwhile are of the next sweep. */
  read(pages: Uint32Array): PageBatch;
  /** The machine's clock. */
  ticks(): number;
  /** All else that the guest is made of; held. What it returns makes JSON of it, for which the guest need not stand still. */
  state(): () => Uint8Array;
  readonly gate: OutputGate;
  readonly disks: readonly SourceDisk[];
  /** Nobody sweeps any more. */
  endSweeps(): void;
  /** The share of a processor that each vCPU may have at most while it is migrated; undefined: as ever. */
  throttle(cap: number | undefined): void;
}

export interface SourceDisk {
  readonly journal: JournalDisk;
  /**
   * `layer`: what the guest writes is with this process alone, and is copied; `shared`: the peer will open the very disk;
   * `read-only`: nothing happens to it.
   */
  readonly role: 'layer' | 'shared' | 'read-only';
  /** Of a layer: what was written to it so far, piece by piece; while the guest runs. */
  contents?(): AsyncIterable<
    { readonly offset: number; readonly bytes: Uint8Array } | { readonly offset: number; readonly zeroBytes: number }
  >;
}

export interface ReplicationPorts {
  /** Monotonic, in milliseconds. */
  nowMs(): number;
  /** The function returned takes it back. */
  after(delayMs: number, callback: () => void): () => void;
}
