/**
 * What stands behind a guest's devices on the host: its disks' files, its folders, its place in the machine's networks, its
 * sockets. Disks and ports can be given up to another process and taken back (docs/replication.md).
 */
import { must } from '../../base/assert.ts';
import { VirtioNet, VirtioVsock } from '../../devices/index.ts';
import type { Board } from '../../machine/index.ts';
import type { GuestAddress, UserNetwork } from '../../network/index.ts';
import type { GuestNetwork } from '../network/guest-network.ts';
import type { MachineNetworks } from '../network/machine-networks.ts';
import type { OpenShare } from '../shares/index.ts';
import { VsockSockets } from '../vsock/index.ts';
import { type OpenedDrive, openDrives } from './drives.ts';
import { GuestOutputs } from './guest-outputs.ts';
import type { MachineLease } from './machine-lease.ts';
import type { MachineOptions } from './machine-options.ts';
import { guestNetworkOptions } from './net-change.ts';

export interface GuestBackendsParts {
  readonly options: MachineOptions;
  readonly drives: readonly OpenedDrive[];
  readonly shares: readonly OpenShare[];
}

export class GuestBackends {
  readonly shares: readonly OpenShare[];
  /** Where what the guest says passes, to leave at once or when a standby has it, and in time. */
  readonly outputs: GuestOutputs;
  readonly networks: MachineNetworks;
  #options: MachineOptions;
  readonly #drives: OpenedDrive[];
  #network: GuestNetwork | undefined;
  #vsock: VsockSockets | undefined;
  /** Of the user-mode network that was given up. */
  #connections: ReturnType<UserNetwork['save']> | undefined;

  constructor({ options, drives, shares }: GuestBackendsParts, networks: MachineNetworks, lease: MachineLease) {
    this.#options = options;
    this.#drives = [...drives];
    this.shares = shares;
    this.networks = networks;
    this.outputs = new GuestOutputs(drives, lease);
  }

  /** What the machine was made with; its drives have the addresses that they have now. */
  get options(): MachineOptions {
    return this.#options;
  }

  get drives(): readonly OpenedDrive[] {
    return this.#drives;
  }

  get network(): GuestNetwork | undefined {
    return this.#network;
  }

  /** The user-mode network of this guest, if it has one for itself. */
  get user(): UserNetwork | undefined {
    return this.#network?.user;
  }

  /** Networks and sockets are opened: with the uplinks of that original, for a twin. Rejects with OperatorError; `leaveNetworks` is to follow. */
  async join(
    from: { readonly original?: GuestNetwork | undefined; readonly addresses?: readonly GuestAddress[] } = {},
  ): Promise<void> {
    const { original, addresses } = from;
    const options = this.#options;
    if (options.network !== false)
      this.#network = await this.networks.attach({
        ...guestNetworkOptions(options, original),
        ...(addresses === undefined ? {} : { addresses }),
      });
    if (options.vsock?.socket !== undefined) this.#vsock = await VsockSockets.listen(options.vsock.socket);
  }

  attachSockets({ virtioDevices }: Board): void {
    const door = virtioDevices.find((device) => device instanceof VirtioVsock);
    if (door) this.#vsock?.attach(this.outputs.vsock(door));
  }

  /** Frames reach the guest from here on. */
  connectNic({ virtioDevices }: Board): void {
    const net = virtioDevices.find((device) => device instanceof VirtioNet);
    if (net) this.#network?.connect(net);
  }

  /** Drives by their number, which were opened anew, at other addresses perhaps. Nothing is under way. */
  replaceDrives(drives: ReadonlyMap<number, OpenedDrive>): void {
    for (const [i, drive] of drives) {
      this.#drives[i] = drive;
      this.outputs.replaceDisk(i, drive.backend);
    }
    // Whoever stands by for the guest next hears of the addresses that there are now.
    if (drives.size > 0) this.#options = { ...this.#options, drives: this.#drives.map(({ options }) => options) };
  }

  /** What another process is to have: disks that are not only this one's, ports. The guest stands still. */
  async letGo(): Promise<void> {
    for (const [i, drive] of this.#drives.entries()) {
      if (!outlivesMachine(drive)) continue;
      await drive.backend.flush();
      await drive.close();
      this.#drives[i] = { ...drive, close: async () => {} };
    }
    this.#connections = this.user?.save();
    this.leaveNetworks();
  }

  /** The guest is to go on here after all. */
  async takeBack(board: Board): Promise<void> {
    for (const [i, drive] of this.#drives.entries()) {
      if (!outlivesMachine(drive)) continue;
      const opened = must((await openDrives([drive.options], { forkable: false, quick: true }))[0]);
      this.#drives[i] = opened;
      this.outputs.replaceDisk(i, opened.backend);
    }
    await this.join({ addresses: [] });
    this.attachSockets(board);
    if (this.#connections !== undefined) this.user?.restore(this.#connections);
    this.connectNic(board);
  }

  leaveNetworks(): void {
    this.closeNetworks();
    this.#network = undefined;
    this.#vsock = undefined;
  }

  /** What they counted can still be asked for. */
  closeNetworks(): void {
    this.#network?.close();
    this.#vsock?.close();
  }

  async closeFiles(): Promise<void> {
    for (const share of this.shares) share.close();
    await Promise.all(this.#drives.map((drive) => drive.close()));
  }
}

function outlivesMachine({ options, temporary }: OpenedDrive): boolean {
  return !options.readOnly && temporary === undefined;
}
