/**
 * The cluster's store for who waits for answers: opened by its place, read, and changed by transactions that compare what they were
 * decided on.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import type { ClusterStore, Query, StoreEntry, Transaction } from '../../cluster/index.ts';
import { EtcdStore, type EtcdTls, SqliteStore } from '../../host/cluster/index.ts';
import type { StorePlace } from './cluster-config.ts';

export type OpenStore = ClusterStore & { close(): void };

/** Of a store whose member is silent, another must have time to answer. */
const READ_MS = 3000;
const COMMIT_MS = 3000;
const ATTEMPTS = 20;

/** Errors: `bad-store`, `bad-usage` for certificates that cannot be read. Nothing is asked of the store yet. */
export function openStore(place: StorePlace, tlsFolder: string | undefined): OpenStore {
  if (place.kind === 'sqlite') return new SqliteStore(place.file);
  return new EtcdStore(place.endpoints, tlsFolder === undefined ? {} : etcdTls(tlsFolder));
}

function etcdTls(folder: string): EtcdTls {
  try {
    const [ca = '', cert = '', key = ''] = ['ca', 'cert', 'key'].map((name) =>
      readFileSync(join(folder, `${name}.pem`), 'utf8'),
    );
    return { ca, cert, key };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError(
      'bad-store',
      `the certificates for etcd cannot be read: ${why}`,
      'Name a folder with ca.pem, cert.pem and key.pem',
      { cause },
    );
  }
}

export function placeText(place: StorePlace): string {
  return place.kind === 'sqlite' ? `sqlite:${place.file}` : `etcd:${place.endpoints.join(',')}`;
}

/** Errors: `store-unreachable`. */
export async function readStore(store: ClusterStore, query: Query): Promise<readonly StoreEntry[]> {
  return await new Promise((resolve, reject) =>
    store.read(query, READ_MS, (outcome) => {
      if (outcome.kind === 'read') resolve(outcome.entries);
      else reject(unreachable(outcome.reason));
    }),
  );
}

/**
 * Reads, decides, commits, and does so again when something changed meanwhile, or when it is not known what became of the commit:
 * so `decide` must see in what it is given that its wish is fulfilled, and then returns undefined. What it throws is passed on.
 * Errors: `store-unreachable`.
 */
export async function transact(
  store: ClusterStore,
  query: Query,
  decide: (entries: readonly StoreEntry[]) => Transaction | undefined,
): Promise<void> {
  let reason = 'others change the same again and again';
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const transaction = decide(await readStore(store, query));
    if (transaction === undefined) return;
    const outcome = await new Promise<Parameters<Parameters<ClusterStore['commit']>[2]>[0]>((resolve) =>
      store.commit(transaction, COMMIT_MS, resolve),
    );
    if (outcome.kind === 'committed') return;
    if (outcome.kind === 'unknown') ({ reason } = outcome);
  }
  throw unreachable(reason);
}

export function unreachable(reason: string): OperatorError {
  return new OperatorError(
    'store-unreachable',
    `the cluster's store does not answer: ${reason}`,
    'See that it runs and that this host reaches it, and try again; nothing of this host is lost meanwhile',
  );
}
