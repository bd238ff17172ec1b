/**
 * A shared folder on the host: its root, what may be open in it, and which of the host's file systems are entered. Without
 * openat, which Node lacks, a component is opened by `/proc/self/fd/N/NAME`: the kernel begins at the open folder N whatever
 * its path has become, and takes one step. Linux has that; other hosts have no shares.
 */
import { type BigIntStats, fstatSync, readFileSync, statfsSync } from 'node:fs';
import { Refusal } from './errno.ts';
import type { FileSystem, Qid } from './file-system.ts';
import { QT_DIR, QT_SYMLINK, S_IFDIR, S_IFLNK, S_IFMT } from './file-system.ts';
import { type CallOptions, HostCalls } from './host-calls.ts';
import { HostNode, type NodeHome } from './host-node.ts';
import { Owners } from './owners.ts';

/** File systems by which one reaches into the host's kernel and processes, by their magic (linux/magic.h). */
const KERNELS = new Set([
  ...[0x9fa0, 0x6265_6572, 0x27e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0x6265_6570, 0xcafe_4a11],
  ...[0xde5e_81e4, 0x1cd1, 0x6e73_6673, 0x6165_676c, 0x1980_0202, 0x4249_4e4d, 0x5350_4143],
]);
/** That answer at once, or as soon as a medium does: ext, xfs, btrfs, tmpfs, ramfs, overlay, f2fs, zfs, bcachefs. */
const LOCAL = new Set([
  ...[0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x8584_58f6, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e],
]);
/** Of the process's descriptors, what all of its shares may have; the rest is for disks, sockets, and other machines. */
const PART_OF_DESCRIPTORS = 2;
const DESCRIPTORS_MAX = 65_536;
const DEVICE_BITS = 56n;

/** Descriptors of all shares of this process. */
const descriptors = { used: 0, most: 0 };

export interface HostShareOptions extends CallOptions {
  readonly readOnly: boolean;
  /** Descriptors that the share may have, nodes and open files. Default: what there is. */
  readonly descriptors?: number;
}

export class HostShare implements FileSystem, NodeHome {
  readonly calls: HostCalls;
  readonly readOnly: boolean;
  readonly root: HostNode;
  readonly owners = new Owners(process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
  readonly umask = process.umask();
  readonly #most: number;
  #open = 0;
  /** Numbers of devices that were entered. */
  readonly #devices = new Map<bigint, bigint>();

  /** `fd`: of the folder, opened with O_PATH; the share's from now on. */
  constructor(fd: number, { readOnly, atOnce, descriptors: most = DESCRIPTORS_MAX }: HostShareOptions) {
    this.readOnly = readOnly;
    this.calls = new HostCalls({ atOnce });
    this.#most = most;
    const stat = fstatSync(fd, { bigint: true });
    this.enter(fd, stat.dev);
    this.take();
    this.root = new HostNode(this, { fd, stat, name: '', target: '', parent: undefined });
  }

  /** Nodes and files that are open. */
  get open(): number {
    return this.#open;
  }

  /** Asks for a descriptor. Throws Refusal EMFILE; `give` is to follow when it is closed. */
  take(): void {
    descriptors.most ||= Math.min(DESCRIPTORS_MAX, Math.floor(descriptorLimit() / PART_OF_DESCRIPTORS));
    if (this.#open >= this.#most || descriptors.used >= descriptors.most) throw new Refusal('EMFILE');
    this.#open++;
    descriptors.used++;
  }

  give(): void {
    this.#open--;
    descriptors.used--;
  }

  /** What is behind `fd` is of that device. Throws Refusal EACCES where nobody is to go. */
  enter(fd: number, device: bigint): void {
    if (this.#devices.has(device)) return;
    const { type } = statfsSync(`/proc/self/fd/${fd}`);
    if (KERNELS.has(type)) throw new Refusal('EACCES');
    this.#devices.set(device, BigInt(this.#devices.size));
    if (!LOCAL.has(type) && this.calls.atOnce === 'while-fast') this.calls.atOnce = 'never';
  }

  /** Inode numbers of several devices in one share must not meet. */
  qidOf({ dev, ino, mode, mtimeNs, size }: BigIntStats): Qid {
    const kind = Number(mode) & S_IFMT;
    const type = kind === S_IFDIR ? QT_DIR : kind === S_IFLNK ? QT_SYMLINK : 0;
    const version = Number(BigInt.asUintN(32, mtimeNs ^ (mtimeNs >> 32n) ^ (size << 8n)));
    const number = this.#devices.get(dev) ?? BigInt(this.#devices.size);
    return { type, version: version || 1, path: BigInt.asUintN(64, ino ^ (number << DEVICE_BITS)) };
  }

  /** The share is used no more: nodes that somebody still holds stay until they are released. */
  close(): void {
    this.root.release();
  }
}

/** Soft limit of this process. */
function descriptorLimit(): number {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return soft === undefined ? DESCRIPTORS_MAX : Number(soft);
  } catch {
    return 1024;
  }
}
