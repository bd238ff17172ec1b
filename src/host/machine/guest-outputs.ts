/**
 * All ways by which a guest tells the world something: frames, the console, sockets, writes to its disks. (Its agent's words
 * pass the same gate.) They leave at once, unless the guest is replicated (docs/replication.md).
 */
import type { VsockEvents } from '../../devices/index.ts';
import { JournalDisk, OutputGate } from '../../replication/index.ts';
import type { GuestNetwork } from '../network/guest-network.ts';
import type { VsockDoor } from '../vsock/index.ts';
import { ConsoleHistory } from './console-history.ts';
import type { OpenedDrive } from './drives.ts';

/** What a piece of output counts for besides its bytes. */
const PIECE_BYTES = 128;

export class GuestOutputs {
  readonly gate = new OutputGate();
  readonly disks: readonly JournalDisk[];
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  /** Of the console, for a standby that has not been given it yet: the end of it. */
  #said = new ConsoleHistory();

  constructor(drives: readonly OpenedDrive[]) {
    this.disks = drives.map(({ backend }) => new JournalDisk(backend));
  }

  /** The console's bytes, from the guest. */
  console(bytes: Uint8Array): void {
    this.#said.push(bytes);
    this.gate.send(bytes.length + PIECE_BYTES, () => {
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
      connected: () => this.gate.send(PIECE_BYTES, () => events.connected?.()),
      data: (bytes) => {
        if (!this.gate.isClosed) {
          events.data(bytes);
          return;
        }
        const copy = bytes.slice();
        this.gate.send(copy.length + PIECE_BYTES, () => events.data(copy));
      },
      drained: (byteCount) => events.drained?.(byteCount),
      ended: () => this.gate.send(PIECE_BYTES, () => events.ended()),
      failed: (reason) => this.gate.send(PIECE_BYTES, () => events.failed(reason)),
    });
    return {
      connect: (port, events) => door.connect(port, held(events)),
      listen: (port, handler) =>
        door.listen(port, (request) =>
          this.gate.send(PIECE_BYTES, () =>
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
