/** What a machine is made of, as a library's user asks for it; and what of it a partition, or one that is restored, may be told. */
import type { Aia, PciOptions, PromotionMode, ShadowModel } from '../../machine/index.ts';
import type { Failback, NetdevOptions } from '../../network/index.ts';
import type { HealthOptions } from '../agent/index.ts';
import type { ShareOptions } from '../shares/index.ts';
import type { Lease } from './machine-lease.ts';

/** A disk: a file, or what a server exports. */
export interface DriveOptions {
  /** Path of an image, or `nbd://HOST[:PORT]/EXPORT`, `nbd+unix:///EXPORT?socket=PATH`, `nbds://...` (docs/disks.md). */
  readonly file: string;
  /** Default: by the file's name, `.qcow2` or else raw; never by its content. */
  readonly format?: 'raw' | 'qcow2';
  readonly readOnly?: boolean;
  /** Writes go to a temporary copy-on-write layer (true) or to an overlay file of that path. */
  readonly overlay?: boolean | string;
  /** False: an image that names a file below it is refused. Default true. */
  readonly backing?: boolean;
  /** `ignore`: the guest is not offered to discard. Default `unmap`. */
  readonly discard?: 'unmap' | 'ignore';
  /** Seconds for which requests wait for a server that is gone, before they fail. Default 0. */
  readonly reconnectDelaySeconds?: number;
}

/** Sockets between guest and host (virtio-vsock). */
export interface VsockOptions {
  /**
   * Path of the unix socket by which programs of the host reach ports of the guest, and from which the paths follow at which
   * they listen for the guest, as Firecracker's `uds_path` (docs/vsock.md). Without, nobody is there for the guest.
   */
  readonly socket?: string;
  /** The guest's context ID. Default 3. */
  readonly cid?: number;
}

/**
 * `auto`: ours is put into an initrd that has none, and whichever of ours and QEMU's answers is used; `kagemusha`: ours
 * alone; `qemu`: QEMU's alone (Debian: qemu-guest-agent), nothing is put into the guest; `off`: nothing is put into the
 * guest, and no port is there for QEMU's.
 */
export type AgentChoice = 'auto' | 'kagemusha' | 'qemu' | 'off';

export interface MachineOptions {
  /** Unique among the user's running machines; a made-up one by default. */
  readonly name?: string;
  /** Harts, 1 to 16. Default 1. */
  readonly cpus?: number;
  /** Threads that run the harts, 1 to 32. Default: one for each hart, but no more than the host can run at a time. */
  readonly processors?: number;
  /** Its claim where harts wait for a processor, 2 to 262144; everybody's is 1024. */
  readonly weight?: number;
  /** Processors' worth of time that it may use at most: 0.5 is half of one. */
  readonly cap?: number;
  /** Processors that may run its harts, counted from 0; all of them by default. */
  readonly pin?: readonly number[];
  /** Guest memory in bytes, a multiple of 4096. Default 512 MiB. */
  readonly memoryBytes?: number;
  /** `rv64` with switches: `rv64,zba=off,zbb=emulate`. */
  readonly cpu?: string;
  /** Direct kernel boot; or firmware in machine mode (with the kernel as its payload, if both are given). */
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly bios?: string;
  readonly drives?: readonly DriveOptions[];
  /** Folders of the host that the guest has too, mounted where they say (docs/shares.md). Default: none. */
  readonly shares?: readonly ShareOptions[];
  /**
   * A balloon (virtio-balloon), by which the guest gives memory back that it does not need: to the machine, for its other
   * partitions. By default in machines with room for others.
   */
  readonly balloon?: boolean;
  /** Sockets between guest and host, without a network. Default: none. */
  readonly vsock?: VsockOptions;
  /** Default true: a network, the user-mode one unless `netdevs` says otherwise. */
  readonly network?: boolean;
  /** Uplinks of the guest's interface, the preferred one first (docs/mechanisms/network-paths.md). */
  readonly netdevs?: readonly NetdevOptions[];
  /** The guest's hardware address. Default 52:54:00:12:34:56, or one made of its name where it shares a segment. */
  readonly mac?: string;
  /** When a path that comes before the one in force is well again: go back to it (default), if it is faster, or not. */
  readonly failback?: Failback;
  /** Default true; without, a guest stays with its first path, whatever becomes of it. Of the whole machine. */
  readonly pathFailover?: boolean;
  /** Published ports, `[HOSTIP:]HOSTPORT:GUESTPORT[/tcp|udp]`, of the user-mode network. */
  readonly publish?: readonly string[];
  /** The guest's agent, by which exec and shutdown work. Default (and true): `auto`; false: `off`. */
  readonly agent?: boolean | AgentChoice;
  /** The guest's heart beats at this interval, and the host tells when it does not. Default 0: it does not beat. */
  readonly heartbeatMs?: number;
  /** Checks of the guest's health by a command in it, as docker's HEALTHCHECK. Default: none. */
  readonly health?: HealthOptions;
  readonly clock?: 'real' | 'instructions';
  /** Seeds what is random in the machine; with `clock: 'instructions'` the same seed gives the same run. */
  readonly seed?: number;
  /** Listens for gdb on this TCP port of the loopback address. */
  readonly gdbPort?: number;
  /** Starts stopped, waiting for gdb or resume(). */
  readonly startPaused?: boolean;
  /** Bytes for decoded and translated code. Default 64 MiB. */
  readonly codeMemoryBytes?: number;
  /** Hot code is translated to WebAssembly. Default true; without, everything is interpreted. */
  readonly translate?: boolean;
  /** How often a jump target is reached before it is translated, 1 to 65535. */
  readonly hotThreshold?: number;
  /** Sensitive instructions that translated code does where they stand: none, the frequent ones (default), all. */
  readonly promotion?: PromotionMode;
  /** Code overlays for what is emulated, trapped or a breakpoint. Default true; without, by trap each time. */
  readonly overlay?: boolean;
  /** Shadow page tables of each hart, 1 to 64. Default 32; with one, each change of root empties it. */
  readonly shadows?: number;
  /** What drops their translations: fences (default), or writes to page tables, for machines of one hart. */
  readonly shadowModel?: ShadowModel;
  /** Bits of satp.ASID, 0 to 16. Default 16. */
  readonly asidBits?: number;
  /**
   * Harts with the hypervisor extension, for a guest that is a hypervisor itself. Default: as `cpu` says, which has it only
   * where it is named; false hides it all the same.
   */
  readonly nested?: boolean;
  /**
   * What both stages of a nested guest's translation come to is kept in shadows. Default true. Without, for measuring, both
   * are walked for whatever the buffers lack, and each entry of the guest empties these.
   */
  readonly combinedShadows?: boolean;
  /**
   * Interrupt relays at the ports of PCI Express, by which the hypervisor knows who interrupted. Default true. Without, it
   * polls the functions. Guests do not see it.
   */
  readonly relay?: boolean;
  /**
   * Interrupts a second that a PCI Express function may have, 100 to 10,000,000; what is more waits for some milliseconds,
   * and equal ones become one. Default 30,000. By the instruction clock nobody waits.
   */
  readonly interruptRate?: number;
  /**
   * The interrupt controller, as QEMU's machine option of that name: a PLIC (`none`, the default), an APLIC, or an APLIC
   * with an IMSIC at each hart.
   */
  readonly aia?: Aia;
  /** Guest interrupt files of each hart's IMSIC, 0 (default) to 7. */
  readonly aiaGuests?: number;
  /**
   * PCI Express: true makes each virtio device a function behind a root port of its own; or root ports, and the places of
   * those devices that are to be functions (docs/pcie.md). Default false: all of them are in virtio-mmio slots.
   */
  readonly pci?: boolean | PciOptions;
  /** Instructions and CSRs whose every execution is counted and logged: `wfi`, `fence.i`, `satp`, `rdtime`. */
  readonly traps?: readonly string[];
  /** A file that gets a line for each of these executions. */
  readonly trapLog?: string;
  /**
   * Room for more partitions in the machine (createPartition): how many of them, 16 by default, and their memory together,
   * 2 GiB by default. It is reserved, and taken from the host where it is touched. Without, the machine is for one guest.
   */
  readonly room?: { readonly partitions?: number; readonly memoryBytes?: number };
  /** Protection tables for the guest's kernel, user, firmware and devices. Default true; without, for measuring. */
  readonly protection?: boolean;
  /** A file that gets a line for each access that a protection table forbade. */
  readonly protectionLog?: string;
  /**
   * Starts where an earlier machine with the same kernel, files and options had booted, and keeps this one's boot for
   * later ones. Default false. Without effect where the options do not allow it (docs/snapshots.md).
   */
  readonly bootSnapshot?: boolean;
  /**
   * Until when the machine may run its guest: at the deadline it stops by itself, until there is a later one (docs/cluster.md). A
   * machine for one guest, with the real clock. Default: it has none.
   */
  readonly lease?: Lease;
  readonly signal?: AbortSignal;
}

/** Of a partition that joins a machine; what is the machine's own its first partition decided. */
export type PartitionOptions = Omit<
  MachineOptions,
  | 'processors'
  | 'cpu'
  | 'clock'
  | 'codeMemoryBytes'
  | 'translate'
  | 'hotThreshold'
  | 'promotion'
  | 'overlay'
  | 'relay'
  | 'interruptRate'
  | 'traps'
  | 'trapLog'
  | 'gdbPort'
  | 'room'
  | 'bootSnapshot'
  | 'pathFailover'
  | 'lease'
>;

/** What of a restored machine may be other than in its snapshot. A lease is its own, or none: never its snapshot's. */
export type RestoreOptions = Pick<
  MachineOptions,
  | 'name'
  | 'publish'
  | 'shares'
  | 'vsock'
  | 'netdevs'
  | 'failback'
  | 'pathFailover'
  | 'processors'
  | 'weight'
  | 'cap'
  | 'pin'
  | 'heartbeatMs'
  | 'health'
  | 'gdbPort'
  | 'startPaused'
  | 'codeMemoryBytes'
  | 'translate'
  | 'hotThreshold'
  | 'promotion'
  | 'shadows'
  | 'shadowModel'
  | 'combinedShadows'
  | 'relay'
  | 'lease'
  | 'signal'
>;
