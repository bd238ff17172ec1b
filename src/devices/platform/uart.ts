/**
 * ns16550a UART: the console of the `virt` machine, as the 8250 drivers of Linux, U-Boot and OpenSBI use it.
 * Register model after the PC16550D data sheet, section 8.
 *
 *     guest -> THR -> output ring (shared block) -> drainOutput() on the I/O thread
 *     guest <- RBR <- 16-byte FIFO <- receive(bytes) from the I/O thread
 *
 * Deviation: there is no baud rate. A byte written is on the wire at once, so LSR.TEMT equals LSR.THRE, and the
 * character timeout interrupt comes at once when the FIFO holds less than its trigger level.
 * Deviation: THRE falls while the output ring has not room for a whole FIFO. That is the back-pressure: a driver
 * that obeys THRE never loses a byte, however slow the reader is.
 * Left out: DMA mode, parity and framing errors (no line to have them), the modem's real lines (CTS, DSR and DCD
 * are always on outside loopback).
 */
import { array, struct, type View } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, Doorbell, InterruptLine } from '../device.ts';
import { accessCounters, RegisterTable } from '../registers.ts';

const FIFO_BYTES = 16;
/** A power of two. Holds a screenful, so that a burst does not wait for the I/O thread. */
const RING_BYTES = 4096;

const IER = { RDI: 1, THRI: 2, RLSI: 4, MSI: 8, ALL: 0x0f } as const;
const IIR = { MSI: 0x00, NONE: 0x01, THRI: 0x02, RDI: 0x04, RLSI: 0x06, CTI: 0x0c, FIFO: 0xc0 } as const;
const FCR = { ENABLE: 0x01, CLEAR_RECEIVER: 0x02, TRIGGER: 0xc0 } as const;
const LCR_DLAB = 0x80;
const MCR = { DTR: 0x01, RTS: 0x02, OUT1: 0x04, OUT2: 0x08, LOOP: 0x10, ALL: 0x1f } as const;
const LSR = { DR: 0x01, OE: 0x02, BI: 0x10, ERRORS: 0x1e, THRE: 0x20, TEMT: 0x40 } as const;
const MSR = { DELTAS: 0x0f, CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80 } as const;
/** FCR bits 7:6 to bytes in the FIFO. */
const TRIGGER_BYTES = [1, 4, 8, 14] as const;

const layout = struct('uart', {
  ...accessCounters,
  ier: 'u8',
  fcr: 'u8',
  lcr: 'u8',
  mcr: 'u8',
  /** LSR's error bits; the others are computed. */
  lineErrors: 'u8',
  /** MSR's delta bits; the others are computed. */
  modemDeltas: 'u8',
  scr: 'u8',
  dll: 'u8',
  dlm: 'u8',
  /** The transmitter's interrupt is pending: set when THR empties or is enabled while empty, cleared by seeing it. */
  thrPending: 'u8',
  lineLevel: 'u8',
  /** receive() refused bytes: ring the doorbell when there is room again. */
  inputWaits: 'u8',
  inputHead: 'u8',
  inputCount: 'u8',
  input: array('u8', FIFO_BYTES),
  outputHead: 'u32',
  outputCount: 'u32',
  /** Bytes written against THRE while the ring was full. */
  outputDropped: 'u32',
  output: array('u8', RING_BYTES),
});

const divisorLatch = { says: 'LCR.DLAB = 1', holds: (uart: Uart) => (uart.state.lcr & LCR_DLAB) !== 0 };
/** Byte registers; a wider access carries them in its low bits (drivers with reg-io-width 4). */
const byte = { bytes: 1, alsoAs: [2, 4] } as const satisfies { bytes: AccessBytes; alsoAs: readonly AccessBytes[] };

export class Uart implements Device {
  static readonly layout = layout;
  static readonly registers = new RegisterTable<Uart>([
    {
      at: 0,
      ...byte,
      name: 'DLL',
      when: divisorLatch,
      read: (uart) => uart.state.dll,
      write: (uart, value) => {
        uart.state.dll = value;
      },
      does: 'baud divisor, low: kept, without effect',
    },
    {
      at: 1,
      ...byte,
      name: 'DLM',
      when: divisorLatch,
      read: (uart) => uart.state.dlm,
      write: (uart, value) => {
        uart.state.dlm = value;
      },
      does: 'baud divisor, high: kept, without effect',
    },
    { at: 0, ...byte, name: 'RBR', read: (uart) => uart.#takeInput(), reset: 0, does: 'takes a received byte' },
    { at: 0, ...byte, name: 'THR', write: (uart, value) => uart.#transmit(value), does: 'sends a byte' },
    {
      at: 1,
      ...byte,
      name: 'IER',
      read: (uart) => uart.state.ier,
      write: (uart, value) => uart.#enableInterrupts(value & IER.ALL),
      reset: 0,
      does: 'enables the four interrupt causes',
    },
    {
      at: 2,
      ...byte,
      name: 'IIR',
      read: (uart) => uart.#identifyInterrupt(),
      reset: IIR.NONE,
      does: 'names the most urgent cause; seeing the transmitter clears it',
    },
    {
      at: 2,
      ...byte,
      name: 'FCR',
      write: (uart, value) => uart.#controlFifo(value),
      does: 'FIFO enable, clear, trigger',
    },
    {
      at: 3,
      ...byte,
      name: 'LCR',
      read: (uart) => uart.state.lcr,
      write: (uart, value) => {
        uart.state.lcr = value;
      },
      reset: 0,
      does: 'line format (kept, without effect) and DLAB',
    },
    {
      at: 4,
      ...byte,
      name: 'MCR',
      read: (uart) => uart.state.mcr,
      write: (uart, value) => uart.#controlModem(value & MCR.ALL),
      reset: 0,
      does: 'modem outputs and loopback',
    },
    {
      at: 5,
      ...byte,
      name: 'LSR',
      read: (uart) => uart.#readLineStatus(),
      reset: LSR.THRE | LSR.TEMT,
      does: 'data ready, transmitter empty, errors; reading clears the errors',
    },
    {
      at: 6,
      ...byte,
      name: 'MSR',
      read: (uart) => uart.#readModemStatus(),
      reset: MSR.CTS | MSR.DSR | MSR.DCD,
      does: 'modem inputs and their changes; reading clears the changes',
    },
    {
      at: 7,
      ...byte,
      name: 'SCR',
      read: (uart) => uart.state.scr,
      write: (uart, value) => {
        uart.state.scr = value;
      },
      reset: 0,
      does: 'scratch',
    },
  ]);

  readonly name: string;
  readonly sizeBytes = 0x100;
  readonly layout = layout;
  readonly state: View<typeof layout.fields>;
  readonly #line: InterruptLine;
  readonly #doorbell: Doorbell;

  /** `doorbell` is rung when there is output to drain, and when refused input would be taken now. */
  constructor(name: string, block: Block, ports: { readonly line: InterruptLine; readonly doorbell: Doorbell }) {
    this.name = name;
    this.state = layout.view(block.buffer, block.at);
    this.#line = ports.line;
    this.#doorbell = ports.doorbell;
  }

  /** Output not drained yet is kept: it is on the wire already. */
  reset(): void {
    const { state } = this;
    state.ier = state.fcr = state.lcr = state.mcr = state.scr = state.dlm = 0;
    state.dll = 0x0c; // 9600 baud at the usual 1.8432 MHz
    state.lineErrors = state.modemDeltas = 0;
    state.thrPending = 0;
    state.inputHead = state.inputCount = state.inputWaits = 0;
    state.input.fill(0);
    state.unassignedReads = state.unassignedWrites = state.outputDropped = 0;
    this.drive();
  }

  read(offset: number, bytes: AccessBytes): number {
    return Uart.registers.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    Uart.registers.write(this, offset, bytes, value);
  }

  /** Puts the interrupt line where the state says, whatever it was: after restore and reset. */
  drive(): void {
    this.state.lineLevel = this.#cause() === IIR.NONE ? 0 : 1;
    this.#line.set(this.state.lineLevel === 1);
  }

  /** Takes all output that waits; the caller owns the copy. Called by the I/O thread under the device's lock. */
  drainOutput(): Uint8Array {
    const { state } = this;
    const wasEmpty = this.#transmitterEmpty();
    const count = Math.min(state.outputCount, RING_BYTES);
    const head = state.outputHead % RING_BYTES;
    const bytes = new Uint8Array(count);
    const first = Math.min(count, RING_BYTES - head);
    bytes.set(state.output.subarray(head, head + first));
    bytes.set(state.output.subarray(0, count - first), first);
    state.outputHead = (head + count) % RING_BYTES;
    state.outputCount = 0;
    if (!wasEmpty) {
      state.thrPending = 1;
      this.#update();
    }
    return bytes;
  }

  /** Puts bytes into the receive FIFO; returns how many fitted. The doorbell says when the rest may be tried again. */
  receive(bytes: Uint8Array): number {
    const { state } = this;
    let accepted = 0;
    if ((state.mcr & MCR.LOOP) === 0) {
      while (accepted < bytes.length && this.#inputRoom() > 0) this.#putInput(bytes[accepted++] ?? 0);
    }
    if (accepted < bytes.length) state.inputWaits = 1;
    this.#update();
    return accepted;
  }

  /** Puts bytes on the line behind the guest's own, for a built-in SBI's console; returns how many fitted. */
  emit(bytes: Uint8Array): number {
    const { state } = this;
    const count = Math.min(bytes.length, RING_BYTES - state.outputCount);
    for (let i = 0; i < count; i++)
      state.output[(state.outputHead + state.outputCount + i) % RING_BYTES] = bytes[i] ?? 0;
    state.outputCount += count;
    if (count > 0) this.#doorbell.ring();
    return count;
  }

  /** Takes received bytes past the registers, for a built-in SBI's console. */
  take(limit: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(limit, this.state.inputCount));
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#takeInput();
    return bytes;
  }

  /** A break condition on the line (Linux: the SysRq key). */
  receiveBreak(): void {
    if ((this.state.mcr & MCR.LOOP) !== 0 || this.#inputRoom() === 0) return;
    this.#putInput(0);
    this.state.lineErrors |= LSR.BI;
    this.#update();
  }

  #transmit(value: number): void {
    const { state } = this;
    state.thrPending = 0;
    if ((state.mcr & MCR.LOOP) !== 0) {
      if (this.#inputRoom() > 0) this.#putInput(value);
      else state.lineErrors |= LSR.OE;
    } else if (state.outputCount < RING_BYTES) {
      state.output[(state.outputHead + state.outputCount) % RING_BYTES] = value;
      state.outputCount++;
      this.#doorbell.ring();
    } else {
      state.outputDropped++;
    }
    if (this.#transmitterEmpty()) state.thrPending = 1;
    this.#update();
  }

  #takeInput(): number {
    const { state } = this;
    if (state.inputCount === 0) return 0;
    const value = state.input[state.inputHead % FIFO_BYTES] ?? 0;
    state.inputHead = (state.inputHead + 1) % FIFO_BYTES;
    state.inputCount--;
    if (state.inputCount === 0) this.#inviteInput();
    this.#update();
    return value;
  }

  #enableInterrupts(value: number): void {
    const { state } = this;
    const changed = state.ier ^ value;
    state.ier = value;
    // Enabling the transmitter's interrupt while THR is empty raises it, seen before or not: the 8250 drivers
    // probe for exactly this and fall back to polling where it does not happen.
    if ((changed & IER.THRI) !== 0) state.thrPending = (value & IER.THRI) !== 0 && this.#transmitterEmpty() ? 1 : 0;
    this.#update();
  }

  #identifyInterrupt(): number {
    const { state } = this;
    const cause = this.#cause();
    if (cause === IIR.THRI) {
      state.thrPending = 0;
      this.#update();
    }
    return cause | ((state.fcr & FCR.ENABLE) === 0 ? 0 : IIR.FIFO);
  }

  #controlFifo(value: number): void {
    const { state } = this;
    const toggled = ((state.fcr ^ value) & FCR.ENABLE) !== 0;
    if (toggled || (value & FCR.CLEAR_RECEIVER) !== 0) {
      state.inputHead = state.inputCount = 0;
      state.lineErrors &= ~LSR.BI;
      this.#inviteInput();
    }
    state.fcr = (value & FCR.ENABLE) === 0 ? 0 : value & (FCR.ENABLE | FCR.TRIGGER);
    if (toggled && this.#transmitterEmpty()) state.thrPending = 1;
    this.#update();
  }

  #controlModem(value: number): void {
    const before = this.#modemLines();
    this.state.mcr = value;
    const after = this.#modemLines();
    const changed = before ^ after;
    // RI reports only its trailing edge (PC16550D, TERI); the other three any change.
    const edges = (changed & (MSR.CTS | MSR.DSR | MSR.DCD)) | (changed & before & MSR.RI);
    this.state.modemDeltas |= edges >> 4;
    if ((value & MCR.LOOP) === 0) this.#inviteInput();
    this.#update();
  }

  #readLineStatus(): number {
    const { state } = this;
    const value =
      (state.inputCount > 0 ? LSR.DR : 0) |
      (state.lineErrors & LSR.ERRORS) |
      (this.#transmitterEmpty() ? LSR.THRE | LSR.TEMT : 0);
    if (state.lineErrors !== 0) {
      state.lineErrors = 0;
      this.#update();
    }
    return value;
  }

  #readModemStatus(): number {
    const { state } = this;
    const value = this.#modemLines() | (state.modemDeltas & MSR.DELTAS);
    if (state.modemDeltas !== 0) {
      state.modemDeltas = 0;
      this.#update();
    }
    return value;
  }

  #modemLines(): number {
    const { mcr } = this.state;
    if ((mcr & MCR.LOOP) === 0) return MSR.CTS | MSR.DSR | MSR.DCD;
    return (
      ((mcr & MCR.RTS) === 0 ? 0 : MSR.CTS) |
      ((mcr & MCR.DTR) === 0 ? 0 : MSR.DSR) |
      ((mcr & MCR.OUT1) === 0 ? 0 : MSR.RI) |
      ((mcr & MCR.OUT2) === 0 ? 0 : MSR.DCD)
    );
  }

  /** Room for a whole FIFO, which is what a driver writes after seeing THRE once. */
  #transmitterEmpty(): boolean {
    return this.state.outputCount + FIFO_BYTES <= RING_BYTES;
  }

  #inputRoom(): number {
    return ((this.state.fcr & FCR.ENABLE) === 0 ? 1 : FIFO_BYTES) - this.state.inputCount;
  }

  #putInput(value: number): void {
    const { state } = this;
    state.input[(state.inputHead + state.inputCount) % FIFO_BYTES] = value;
    state.inputCount++;
  }

  #inviteInput(): void {
    if (this.state.inputWaits === 0) return;
    this.state.inputWaits = 0;
    this.#doorbell.ring();
  }

  /** The most urgent enabled cause (PC16550D, table IV). */
  #cause(): number {
    const { ier, fcr, inputCount, lineErrors, thrPending, modemDeltas } = this.state;
    if ((ier & IER.RLSI) !== 0 && lineErrors !== 0) return IIR.RLSI;
    if ((ier & IER.RDI) !== 0 && inputCount > 0) {
      const trigger = (fcr & FCR.ENABLE) === 0 ? 1 : (TRIGGER_BYTES[fcr >> 6] ?? 1);
      return inputCount >= trigger ? IIR.RDI : IIR.CTI;
    }
    if ((ier & IER.THRI) !== 0 && thrPending !== 0) return IIR.THRI;
    if ((ier & IER.MSI) !== 0 && modemDeltas !== 0) return IIR.MSI;
    return IIR.NONE;
  }

  #update(): void {
    const level = this.#cause() === IIR.NONE ? 0 : 1;
    if (level === this.state.lineLevel) return;
    this.state.lineLevel = level;
    this.#line.set(level === 1);
  }
}
