/**
 * The I/O side of a machine: waits on the bell in shared memory, serves the devices whose doorbells rang, carries the
 * console's bytes, keeps the RTC's alarm. Runs on the machine's main thread, in its event loop.
 */
import type { Device, VirtioDevice } from '../../devices/index.ts';
import { RUN } from '../../hypervisor/index.ts';
import { type Board, DOORBELL } from '../../machine/index.ts';

export class IoThread {
  readonly #board: Board;
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #input: Uint8Array[] = [];
  #alarm: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(board: Board) {
    this.#board = board;
  }

  /** Serves until the machine has ended. */
  async run(): Promise<void> {
    const { world } = this.#board;
    const { words, index } = world.ioWord;
    while (!this.#isClosed) {
      const bell = world.ioBell;
      this.serve();
      if (world.run !== RUN.running) break;
      const wait = Atomics.waitAsync(words, index, bell);
      if (wait.async) await wait.value;
    }
    this.serve();
    clearTimeout(this.#alarm);
  }

  /** Serves what has rung so far. */
  serve(): void {
    const board = this.#board;
    const rung = board.world.takeDoorbells();
    if (rung === 0) return;
    if ((rung & (1 << DOORBELL.uart)) !== 0) this.#serveUart();
    if ((rung & (1 << DOORBELL.rtc)) !== 0) this.#armAlarm();
    board.slots.forEach((device, i) => {
      if ((rung & (1 << i)) !== 0) board.locked(device, () => (device as Device as VirtioDevice<never>).service());
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

  #armAlarm(): void {
    clearTimeout(this.#alarm);
    const due = Number(this.#board.world.block.rtcWakeMs);
    if (due === 0) return;
    const { rtc } = this.#board;
    this.#alarm = setTimeout(
      () => this.#board.locked(rtc, () => rtc.serviceAlarm()),
      Math.min(Math.max(due - Date.now(), 0), 2 ** 31 - 1),
    );
    this.#alarm.unref();
  }
}
