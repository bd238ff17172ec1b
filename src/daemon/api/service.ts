/** What stands behind the API: partitions, images, the daemon itself. */
import type { GuestImage, Images, WorkOptions } from '../../host/index.ts';
import type { ClusterDoor, OperatedPartitions } from '../cluster/index.ts';
import type { Partitions } from '../partitions/index.ts';

export interface ImageShelf extends Images {
  list(): Promise<GuestImage[]>;
  /** Whether it was there. */
  remove(name: string, options: { signal?: AbortSignal }): Promise<boolean>;
  pull(name: Parameters<Images['pull']>[0], options: WorkOptions & { refresh?: boolean }): Promise<GuestImage>;
}

export interface Service {
  /** Of this host, and its machines. */
  readonly partitions: Partitions;
  /** The same, and those of the cluster. */
  readonly operated: OperatedPartitions;
  /** Undefined: no daemon runs. */
  readonly cluster: ClusterDoor | undefined;
  readonly images: ImageShelf;
  /** The package's. */
  readonly version: string;
  readonly stateFolder: string;
  readonly startedAt: string;
  /** What runs was adopted, and the daemon is not about to end. */
  isReady(): boolean;
  /** Requests answered, by operation and status. */
  readonly requests: Map<string, number>;
  /** A bug of ours, for the log. */
  failed(error: unknown): void;
}
