/**
 * Whose files are, for the guest. On the host everything is done as the user who runs the machine, whose files those of the
 * guest's root are therefore; others' are nobody's, as in rootless containers. Where the host's root runs it, owners are the
 * same on both sides.
 */
import { Refusal } from './errno.ts';

/** `nobody`, `nogroup`. */
const NOBODY = 65534;
const ROOT = 0;
/** In a request: stays as it is. */
const UNCHANGED = 0xffff_ffff;

export class Owners {
  readonly #uid: number;
  readonly #gid: number;

  constructor(uid: number, gid: number) {
    this.#uid = uid;
    this.#gid = gid;
  }

  /** Whether the host lets us give files away. */
  get isHostRoot(): boolean {
    return this.#uid === ROOT;
  }

  uidToGuest(uid: number): number {
    if (this.isHostRoot) return uid;
    return uid === this.#uid ? ROOT : NOBODY;
  }

  gidToGuest(gid: number): number {
    if (this.isHostRoot) return gid;
    return gid === this.#gid ? ROOT : NOBODY;
  }

  /** For chown, which takes -1 for what stays. Throws Refusal EPERM for whom there is not. */
  toHost(uid: number | undefined, gid: number | undefined): readonly [number, number] {
    return [this.#one(uid, this.#uid), this.#one(gid, this.#gid)];
  }

  #one(id: number | undefined, own: number): number {
    if (id === undefined || id === UNCHANGED) return -1;
    if (this.isHostRoot) return id;
    if (id === ROOT) return own;
    throw new Refusal('EPERM');
  }
}
