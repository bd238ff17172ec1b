/**
 * The host's door to one port of the console device: a byte stream each way, with flow control and with the news of
 * the guest's side opening and closing it. It lives on the I/O thread. Its methods may be called at any time there,
 * also from its own events, and without the device's lock: they leave a note and ring the doorbell, and the device
 * takes the notes up at its next service. Events are called from within a service and must not wait.
 *
 *     host --send--> input ring (state block) --> guest        guest --> onData --> host
 *             <--onDrain when there is room again               pause/resume: the guest's buffers wait in its queue
 */
import { array, struct, type View } from '../../base/struct.ts';

/** A power of two. */
const INPUT_BYTES = 4096;

export const consolePortLayout = struct('virtio-console-port', {
  /** The driver has said PORT_READY. */
  ready: 'u32',
  guestOpen: 'u32',
  /** Bit per control message (console.ts) that the guest is still to be sent. */
  pending: 'u32',
  inputHead: 'u32',
  inputCount: 'u32',
  input: array('u8', INPUT_BYTES),
});
export type ConsolePortState = View<typeof consolePortLayout.fields>;

export interface ConsolePortOptions {
  /** What the guest sees in /sys/class/virtio-ports; empty for none. */
  readonly name: string;
  /** A console (hvc) rather than a plain port. */
  readonly isConsole: boolean;
}

export class ConsolePort {
  readonly name: string;
  readonly isConsole: boolean;
  /** Bytes from the guest, lent for the call. Without it, they are discarded and counted. */
  onData: ((bytes: Uint8Array) => void) | undefined;
  /** There is room again after a `send` that could not take all. */
  onDrain: (() => void) | undefined;
  /** The guest opened or closed its side. What it had sent before closing has been given to `onData`. */
  onOpen: (() => void) | undefined;
  onClose: (() => void) | undefined;
  discardedBytes = 0;
  readonly #state: ConsolePortState;
  readonly #ring: () => void;
  #open = false;
  #connected = true;
  #connectionNews = false;
  #paused = false;
  #resumed = false;
  #wantsDrain = false;

  /** By the device. `ring` asks for a service. */
  constructor(options: ConsolePortOptions, state: ConsolePortState, ring: () => void) {
    this.name = options.name;
    this.isConsole = options.isConsole;
    this.#state = state;
    this.#ring = ring;
  }

  /** Whether the guest has this port open, as far as the last event said. */
  get guestOpen(): boolean {
    return this.#open;
  }

  get connected(): boolean {
    return this.#connected;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /**
   * Sends a copy of as much of `bytes` as there is room for; how many were taken. When that is not all, `onDrain`
   * follows. A plain port takes nothing while the guest has it closed (it would throw the bytes away); a console
   * keeps what is typed before the guest listens.
   */
  send(bytes: Uint8Array): number {
    if (!this.isConsole && !this.#open) return 0;
    const state = this.#state;
    const taken = Math.min(bytes.length, INPUT_BYTES - state.inputCount);
    for (let i = 0; i < taken; i++) {
      state.input[(state.inputHead + state.inputCount + i) % INPUT_BYTES] = bytes[i] as number;
    }
    state.inputCount += taken;
    if (taken < bytes.length) this.#wantsDrain = true;
    if (taken > 0) this.#ring();
    return taken;
  }

  /**
   * No more `onData` until `resume`; at most one service's chain still comes. Mind that Linux's hvc console waits
   * for its bytes to be taken with interrupts off: pause a console port for moments only.
   */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#resumed = true;
    this.#ring();
  }

  /** Tells the guest whether anybody is at the host's end (a plain port starts connected). */
  setConnected(connected: boolean): void {
    if (this.#connected === connected) return;
    this.#connected = connected;
    this.#connectionNews = true;
    this.#ring();
  }

  // For the device.

  /** Takes the notes: whether the guest is to be told of the connection, and whether its queue waits for us. */
  takeNotes(): { connectionChanged: boolean; resumed: boolean } {
    const notes = { connectionChanged: this.#connectionNews, resumed: this.#resumed };
    this.#connectionNews = false;
    this.#resumed = false;
    return notes;
  }

  /** The guest's side is now open or closed; tells the host once. */
  setGuestOpen(open: boolean): void {
    if (this.#open === open) return;
    this.#open = open;
    if (!open && !this.isConsole) {
      this.#state.inputHead = 0;
      this.#state.inputCount = 0;
    }
    if (open) this.onOpen?.();
    else this.onClose?.();
  }

  get inputBytes(): number {
    return this.#state.inputCount;
  }

  /** Moves input into `into`, at most its length; how many. */
  takeInput(into: Uint8Array): number {
    const state = this.#state;
    const taken = Math.min(into.length, state.inputCount);
    for (let i = 0; i < taken; i++) into[i] = state.input[(state.inputHead + i) % INPUT_BYTES] as number;
    state.inputHead = (state.inputHead + taken) % INPUT_BYTES;
    state.inputCount -= taken;
    return taken;
  }

  /** After input was moved: lets a sender that had been refused go on. */
  drained(): void {
    if (!this.#wantsDrain || this.#state.inputCount === INPUT_BYTES) return;
    this.#wantsDrain = false;
    this.onDrain?.();
  }

  receive(bytes: Uint8Array): void {
    if (this.onData !== undefined && this.#connected) this.onData(bytes);
    else this.discardedBytes += bytes.length;
  }
}
