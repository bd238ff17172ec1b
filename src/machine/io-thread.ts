/**
 * The I/O side of a machine: waits on the bell in shared memory, serves the devices whose doorbells rang, carries the
 * console's bytes, keeps the RTC's alarm. Runs on the thread that made the machine, in its event loop.
 *
 * What that thread leaves at a device's door itself (a frame that came, a byte that was typed) is served as soon as it has
 * nothing else in hand: to be woken by its own bell would take another turn of the event loop. A service that rings for
 * another one waits for that turn, so that timers and sockets have theirs.
 */
import { RUN } from '../hypervisor/index.ts';
import { type Board, DOORBELL, pciDoorbell } from './board.ts';
import type { HostPorts } from './host-ports.ts';
import { TICKS_PER_MS } from './virt-map.ts';

export class IoThread {
  readonly #board: Board;
  readonly #host: HostPorts;
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #input: Uint8Array[] = [];
  readonly #mayServe: () => boolean;
  #dropAlarm: () => void = () => {};
  #isClosed = false;
  #isHeld = false;
  #isServing = false;
  #isDue = false;
  #failure: { readonly error: unknown } | undefined;

  /** `mayServe` is asked before each service: while it says no, what the guest wants done stays at the devices' doors. */
  constructor(board: Board, host: HostPorts, mayServe: () => boolean = () => true) {
    this.#board = board;
    this.#host = host;
    this.#mayServe = mayServe;
  }

  /** Serves until the machine has ended. */
  async run(): Promise<void> {
    const { world } = this.#board;
    const { words, index } = world.ioWord;
    world.onOwnRing = () => this.#serveSoon();
    try {
      while (!this.#isClosed) {
        const bell = world.ioBell;
        this.serve();
        if (world.run !== RUN.running) break;
        const wait = Atomics.waitAsync(words, index, bell);
        if (wait.async) await wait.value;
        if (this.#failure !== undefined) throw this.#failure.error;
      }
    } finally {
      world.onOwnRing = undefined;
    }
    this.serve();
    this.#dropAlarm();
  }

  /** From now on nothing is served, so that no device changes guest memory; until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#board.world.ringIo();
  }

  /** What was typed and has not reached the UART. */
  get waitingInput(): readonly Uint8Array[] {
    return this.#input;
  }

  /** Serves what has rung so far. */
  serve(): void {
    if (this.#isHeld || !this.#mayServe()) return;
    this.#isServing = true;
    try {
      this.#serve();
    } finally {
      this.#isServing = false;
    }
  }

  #serveSoon(): void {
    if (this.#isServing) this.#board.world.ringIo();
    else if (!this.#isDue) {
      this.#isDue = true;
      this.#host.defer(() => this.#serveDue());
    }
  }

  #serveDue(): void {
    this.#isDue = false;
    try {
      this.serve();
    } catch (error) {
      // It is the loop's, as any other.
      this.#failure = { error };
      this.#board.world.ringIo();
    }
  }

  #serve(): void {
    const board = this.#board;
    const rung = board.world.takeDoorbells();
    if (rung === 0) return;
    if ((rung & (1 << DOORBELL.uart)) !== 0) this.#serveUart();
    if ((rung & (1 << DOORBELL.rtc)) !== 0) this.#armAlarm();
    if ((rung & (1 << DOORBELL.interrupts)) !== 0) this.#attendInterrupts();
    board.slots.forEach((device, i) => {
      if ((rung & (1 << i)) !== 0) board.locked(device, () => device.service());
    });
    board.pci?.functions.forEach(({ func, device }, i) => {
      if ((rung & (1 << pciDoorbell(i))) === 0) return;
      board.locked(device, () => {
        func.settle();
        device.service();
      });
    });
  }

  onConsole(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  writeConsole(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#input.push(bytes.slice());
    this.#feedUart();
  }

  close(): void {
    this.#isClosed = true;
    this.#board.world.ringIo();
  }

  #serveUart(): void {
    const { uart } = this.#board;
    const bytes = this.#board.locked(uart, () => uart.drainOutput());
    if (bytes.length > 0) for (const listener of this.#listeners) listener(bytes);
    this.#feedUart();
  }

  #feedUart(): void {
    const { uart } = this.#board;
    for (;;) {
      const [first] = this.#input;
      if (!first) return;
      const taken = this.#board.locked(uart, () => uart.receive(first));
      if (taken < first.length) {
        this.#input[0] = first.subarray(taken);
        return;
      }
      this.#input.shift();
    }
  }

  /** Functions that interrupted too often wait for the end of a window. */
  #attendInterrupts(): void {
    const { interrupts } = this.#board.commons;
    const left = interrupts?.attend();
    if (left !== undefined) this.#host.after(left / TICKS_PER_MS, () => interrupts?.fabric.service.look());
  }

  #armAlarm(): void {
    this.#dropAlarm();
    const due = Number(this.#board.world.block.rtcWakeMs);
    if (due === 0) return;
    const { rtc } = this.#board;
    this.#dropAlarm = this.#host.after(Math.max(due - this.#host.wallMs(), 0), () =>
      this.#board.locked(rtc, () => rtc.serviceAlarm()),
    );
  }
}
