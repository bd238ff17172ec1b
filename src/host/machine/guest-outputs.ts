/**
 * All ways by which a guest tells the world something: frames, the console, sockets, its agent's words, writes to its disks.
 * They leave at once, unless the guest is replicated (docs/replication.md), or the machine's deadline has passed
 * (docs/cluster.md):
 *
 *   guest -> gate: the standby has the state behind it -> lease: it is not too late -> world
 *
 * Frames have no second wait: those that are too late are lost where they would leave (network/machine-networks.ts).
 */
import type { BlockBackend, VsockEvents } from '../../devices/index.ts';
import { JournalDisk, OutputGate } from '../../replication/index.ts';
import type { GuestNetwork } from '../network/guest-network.ts';
import type { VsockDoor } from '../vsock/index.ts';
import { ConsoleHistory } from './console-history.ts';
import type { OpenedDrive } from './drives.ts';
import { leasedDisk } from './leased-disk.ts';
import type { MachineLease } from './machine-lease.ts';

/** What a piece of output counts for besides its bytes. */
const PIECE_BYTES = 128;

export class GuestOutputs {
  readonly gate = new OutputGate();
  readonly disks: readonly JournalDisk[];
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  /** Of the console, for a standby that has not been given it yet: the end of it. */
  #said = new ConsoleHistory();

  readonly #lease: MachineLease;

  constructor(drives: readonly OpenedDrive[], lease: MachineLease) {
    this.#lease = lease;
    this.disks = drives.map(({ backend }) => new JournalDisk(leasedDisk(backend, lease)));
  }

  /** The disk was opened anew. Nothing is under way, and nothing waits. */
  replaceDisk(drive: number, backend: BlockBackend): void {
    this.disks[drive]?.replace(leasedDisk(backend, this.#lease));
  }

  /** `leave` is called when the standby has what is behind it, and in time; what it needs until then is its own. */
  send(bytes: number, leave: () => void): void {
    this.gate.send(bytes + PIECE_BYTES, () => this.#lease.send(leave));
  }

  /** The console's bytes, from the guest. */
  console(bytes: Uint8Array): void {
    this.#said.push(bytes);
    this.send(bytes.length, () => {
      for (const listener of this.#listeners) listener(bytes);
    });
  }

  onConsole(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What the console said since this was last called, the end of it at least. */
  takeConsole(): Uint8Array {
    const said = this.#said.bytes();
    this.#said = new ConsoleHistory();
    return said;
  }

  /** What is said now need not wait. */
  get #isOpen(): boolean {
    return !this.gate.isClosed && this.#lease.isOpen;
  }

  /** The network's other end as the device has it, whichever that is by then. */
  network(
    network: () => GuestNetwork | undefined,
    mtuBytes: number,
  ): Pick<GuestNetwork, 'receive' | 'setGuestOffload' | 'setGuestReady'> & { readonly mtuBytes: number } {
    return {
      mtuBytes,
      receive: (frame, offload) => {
        if (!this.gate.isClosed) {
          network()?.receive(frame, offload);
          return;
        }
        // Lent for the call.
        const copy = frame.slice();
        this.gate.send(copy.length + PIECE_BYTES, () => network()?.receive(copy, offload));
      },
      setGuestOffload: (offload) => network()?.setGuestOffload(offload),
      setGuestReady: (ready) => network()?.setGuestReady(ready),
    };
  }

  /** The device's streams, with what the guest does to them behind the gate. */
  vsock(door: VsockDoor): VsockDoor {
    const held = (events: VsockEvents): VsockEvents => ({
      connected: () => this.send(0, () => events.connected?.()),
      data: (bytes) => {
        if (this.#isOpen) {
          events.data(bytes);
          return;
        }
        const copy = bytes.slice();
        this.send(copy.length, () => events.data(copy));
      },
      drained: (byteCount) => events.drained?.(byteCount),
      ended: () => this.send(0, () => events.ended()),
      failed: (reason) => this.send(0, () => events.failed(reason)),
    });
    return {
      connect: (port, events) => door.connect(port, held(events)),
      listen: (port, handler) =>
        door.listen(port, (request) =>
          this.send(0, () =>
            handler({
              hostPort: request.hostPort,
              guestPort: request.guestPort,
              accept: (events) => request.accept(held(events)),
              refuse: () => request.refuse(),
            }),
          ),
        ),
    };
  }
}
