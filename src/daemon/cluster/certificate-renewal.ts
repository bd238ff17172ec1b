/**
 * Keeps this host's certificate good: it is made anew near its end, or when it is not of this host's address any more, by the authority's
 * key, which is in the store.
 */
import { type ClusterStore, find, keyOf } from '../../cluster/index.ts';
import { AUTHORITY, certify, type HostCertificates, isGood, unseal, writeCertificates } from './certificates.ts';
import { noClusterThere } from './cluster-acts.ts';
import { type ClusterConfig, clusterFolder, parseHostAddress } from './cluster-config.ts';
import { readStore } from './store-access.ts';

export interface RenewalOptions {
  readonly config: ClusterConfig;
  readonly stateFolder: string;
  readonly store: ClusterStore;
  renewed(certificates: HostCertificates): void;
  failed(error: unknown): void;
}

const LOOK_MS = 3_600_000;
/** What could not be renewed is tried again so often. */
const AGAIN_MS = 60_000;

export class CertificateRenewal implements Disposable {
  readonly #options: RenewalOptions;
  #present: HostCertificates;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** Resolves when it has looked once. */
  static async begin(present: HostCertificates, options: RenewalOptions): Promise<CertificateRenewal> {
    const renewal = new CertificateRenewal(present, options);
    await renewal.#look();
    return renewal;
  }

  private constructor(present: HostCertificates, options: RenewalOptions) {
    this.#present = present;
    this.#options = options;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const isRenewed = await this.#renew();
    if (!this.#isClosed) this.#timer = setTimeout(() => void this.#look(), isRenewed ? LOOK_MS : AGAIN_MS).unref();
  }

  /** False: it should have been, and could not. */
  async #renew(): Promise<boolean> {
    const { config, stateFolder, store, renewed, failed } = this.#options;
    const { host } = parseHostAddress(config.address);
    if (isGood(this.#present, config.authority, config.name, host)) return true;
    try {
      const record = find(await readStore(store, { keys: [keyOf(AUTHORITY)] }), AUTHORITY).value;
      if (record === undefined) throw noClusterThere();
      const made = certify(unseal(record, config.secret, config.authority), config.name, [host]);
      writeCertificates(clusterFolder(stateFolder), made);
      this.#present = made;
      renewed(made);
      return true;
    } catch (error) {
      if (!this.#isClosed) failed(error);
      return false;
    }
  }
}
