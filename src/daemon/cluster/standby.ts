/** What is kept here for a guest that runs on another host, whatever the method. */
import type { Method } from '../../cluster/index.ts';
import type { Partitions } from '../partitions/index.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import type { GuestRecords } from './guest-records.ts';
import type { PeerAsk } from './peer-channel.ts';

export interface Standby {
  readonly method: Method;
  /** Where the guest runs, as far as is known. */
  readonly activeHost: string;
  /** It runs there from now on. */
  moved(activeHost: string): void;
  /** It could take over now. */
  readonly isReady: boolean;
  /** What the active host's daemon asks for its guest's checkpoints. */
  answer?(ask: StandbyAsk): Promise<object>;
  /** A file that the active host's daemon sends. */
  take?(sent: PeerAsk): Promise<object>;
  /** This host may run what is its own until then. */
  grant?(incarnation: number, deadlineMs: number): void;
  /** It is looked after no more; what is there stays. */
  close(): void;
  /** Nothing of it stays. Resolves when its process is gone. */
  drop(): Promise<void>;
}

export interface StandbyAsk {
  readonly generation: number;
  /** When it was sent, by the asking host's clock. */
  readonly atMs: number;
}

export interface StandbyParts {
  readonly partitions: Partitions;
  readonly records: GuestRecords;
  /** Of sockets. */
  readonly folder: string;
  readonly stateFolder: string;
  readonly listenHost: string;
  readonly tlsFolder: string;
  guest(name: string): Promise<PartitionSpec>;
  note(kind: string, guest: string, detail: string): void;
}
