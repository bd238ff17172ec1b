/** What stands behind the API in this process: the store, the partitions, the images. */
import type { DetachedProgram } from '../host/index.ts';
import type { ImageShelf, Service } from './api/service.ts';
import { ClusterDoor, type ClusterDoorOptions, OperatedPartitions } from './cluster/index.ts';
import { Partitions } from './partitions/index.ts';
import { Store, stateFolder } from './store/index.ts';

export interface LocalOptions {
  /** The package's. */
  readonly version: string;
  /** What runs a machine. */
  readonly program: DetachedProgram;
  readonly images: ImageShelf;
  /** Of state and sockets; the user's by default. */
  readonly stateFolder?: string;
  readonly runtimeFolder?: string;
  /** A bug of ours. */
  failed?(error: unknown): void;
}

export interface OpenService extends Service, AsyncDisposable {
  /** Nothing new is begun from now on. */
  end(): void;
}

/** What a daemon's service has that a verb's own has not. */
export interface OfService extends Pick<Service, 'isReady'> {
  /** It may be in a cluster. */
  readonly cluster?: Pick<ClusterDoorOptions, 'settings' | 'openHands'>;
}

/** Errors: those of the store. */
export async function openService(options: LocalOptions, { isReady, cluster: given }: OfService): Promise<OpenService> {
  const folder = options.stateFolder ?? stateFolder();
  const store = new Store(folder);
  const ending = new AbortController();
  const partitions = new Partitions({
    store,
    stateFolder: folder,
    ...(options.runtimeFolder === undefined ? {} : { runtimeFolder: options.runtimeFolder }),
    program: options.program,
    images: options.images,
    signal: ending.signal,
  });
  const failed = (error: unknown): void => options.failed?.(error);
  const { images } = options;
  const cluster = given && new ClusterDoor({ ...given, stateFolder: folder, partitions, images, failed });
  return {
    partitions,
    operated: new OperatedPartitions(partitions, cluster),
    cluster,
    images,
    version: options.version,
    stateFolder: folder,
    startedAt: new Date().toISOString(),
    isReady: () => isReady() && !ending.signal.aborted,
    requests: new Map(),
    failed,
    end: () => ending.abort(new Error('the daemon ends')),
    [Symbol.asyncDispose]: async () => {
      ending.abort(new Error('the daemon ends'));
      await cluster?.[Symbol.asyncDispose]();
      store[Symbol.dispose]();
    },
  };
}
