/**
 * The console device (virtio 1.2, section 5.3) with several ports: byte streams between the guest and doors on the
 * host's side (console-port.ts), and the control queues that tell each side what the other's ports are doing.
 *
 *     queues   0 receive, 1 transmit of port 0 | 2, 3 control | 4, 5 port 1 | 6, 7 port 2 ...
 *     control  guest: DEVICE_READY -> ours: PORT_ADD -> PORT_READY -> CONSOLE_PORT, PORT_NAME, RESIZE, PORT_OPEN
 *
 * What the guest is to be told is a bit per port and kind of message, not a list: a guest that never reads its
 * control queue costs nothing. A driver without MULTIPORT gets port 0 alone.
 * The order within RESIZE is the specification's, columns first. Linux took it for rows first until the correction
 * (2025, and its stable series in 2026); `resizeRowsFirst` serves such kernels.
 * Left out: emergency write.
 */
import { struct, structs, type View } from '../../base/struct.ts';
import { Chain } from './chain.ts';
import { ConsolePort, type ConsolePortOptions, consolePortLayout } from './console-port.ts';
import type { Queue } from './queue.ts';
import { virtioFields } from './state.ts';
import { type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';

const VIRTIO_ID_CONSOLE = 3;
const VIRTIO_CONSOLE_F = { SIZE: 0, MULTIPORT: 1 } as const;
const CONFIG = { cols: 0, rows: 2, maxNrPorts: 4, end: 12 } as const;

const EVENT = {
  DEVICE_READY: 0,
  PORT_ADD: 1,
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  PORT_OPEN: 6,
  PORT_NAME: 7,
} as const;
/** Messages to the guest, in the order in which they are sent; their place here is their bit in `pending`. */
const MESSAGES = [EVENT.PORT_ADD, EVENT.CONSOLE_PORT, EVENT.PORT_NAME, EVENT.RESIZE, EVENT.PORT_OPEN] as const;
type Message = (typeof MESSAGES)[number];
const CONTROL_BYTES = 8;
const CONTROL_RECEIVE = 2;
const CONTROL_TRANSMIT = 3;

export const CONSOLE_PORTS_MAX = 4;
const QUEUE_SIZE = 64;
/** A guest that sends more at once is not a console; Linux sends at most 32 KiB. */
const CHAIN_BYTES_MAX = 1 << 20;
const SCRATCH_BYTES = 1 << 16;
const SERVICE_BYTES = 1 << 20;
/** What a chain counts for besides its bytes. */
const CHAIN_COST_BYTES = 256;

const fields = {
  ...virtioFields(2 * (CONSOLE_PORTS_MAX + 1), CONFIG.end),
  /** Which of `resets` the doors have been told of. */
  resetsSeen: 'u32',
  /** Control messages that made no sense: unknown ports and events. */
  strangeMessages: 'u32',
  ports: structs(consolePortLayout, CONSOLE_PORTS_MAX),
} as const;
const layout = struct('virtio-console', fields);

/** Port 0 is the console hvc0, port 1 the guest agent's. */
export const DEFAULT_CONSOLE_PORTS: readonly ConsolePortOptions[] = [
  { name: '', isConsole: true },
  { name: 'org.kagemusha.agent.0', isConsole: false },
];

export interface ConsoleIo extends IoPorts {
  /** At most CONSOLE_PORTS_MAX; default DEFAULT_CONSOLE_PORTS. */
  readonly ports?: readonly ConsolePortOptions[];
  readonly resizeRowsFirst?: boolean;
}

export class VirtioConsole extends VirtioDevice<View<typeof fields>> {
  static readonly layout = layout;
  /** The host's doors; empty but on the I/O thread. */
  readonly ports: readonly ConsolePort[];
  readonly #io: ConsoleIo | undefined;
  readonly #chain: Chain | undefined;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  #cols = 0;
  #rows = 0;
  #resized = false;
  /** Transmit queues that have buffers but whose port is paused. */
  #heldQueues = 0;

  /** `io` on the I/O thread only. */
  constructor(wiring: Wiring, io?: ConsoleIo) {
    super(VIRTIO_ID_CONSOLE, layout, layout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory);
    this.#io = io;
    this.#chain = io === undefined ? undefined : new Chain(io.memory);
    const options = (io?.ports ?? DEFAULT_CONSOLE_PORTS).slice(0, CONSOLE_PORTS_MAX);
    this.ports = this.state.ports.flatMap((state, i) => {
      const option = options[i];
      return io === undefined || option === undefined ? [] : [new ConsolePort(option, state, () => this.ring())];
    });
    this.strap();
  }

  /** The size of the console ports, in characters; like the doors' methods, at any time. */
  resize(cols: number, rows: number): void {
    if (this.#cols === cols && this.#rows === rows) return;
    this.#cols = cols;
    this.#rows = rows;
    this.#resized = true;
    this.ring();
  }

  override reset(): void {
    super.reset();
    for (const port of this.state.ports) {
      port.inputHead = 0;
      port.inputCount = 0;
    }
  }

  override resume(): void {
    super.resume();
    for (const [i, port] of this.ports.entries()) {
      port.takeNotes();
      this.#tell(i, EVENT.PORT_OPEN);
      if (port.isConsole) this.#tell(i, EVENT.RESIZE);
    }
    this.#heldQueues = 0;
  }

  protected override strap(): void {
    if (this.#io === undefined) return;
    const { state } = this;
    const count = this.ports.length;
    const pairs = count === 0 ? 0 : count + 1;
    this.offer(
      [VIRTIO_CONSOLE_F.SIZE, VIRTIO_CONSOLE_F.MULTIPORT],
      Array.from({ length: state.queues.length }, (_, i) => (i < pairs * 2 ? QUEUE_SIZE : 0)),
    );
    this.setConfig(CONFIG.maxNrPorts, 4, count);
    this.setConfig(CONFIG.cols, 2, this.#cols);
    this.setConfig(CONFIG.rows, 2, this.#rows);
  }

  protected override resetState(): void {
    for (const port of this.state.ports) {
      port.ready = 0;
      port.guestOpen = 0;
      port.pending = 0;
    }
  }

  protected override hostEvents(): void {
    const { state } = this;
    if (state.resetsSeen !== state.resets) {
      state.resetsSeen = state.resets;
      this.#heldQueues = 0;
      for (const port of this.ports) port.setGuestOpen(false);
    }
    if (this.#resized) {
      this.#resized = false;
      this.setConfig(CONFIG.cols, 2, this.#cols);
      this.setConfig(CONFIG.rows, 2, this.#rows);
      this.configChanged();
      for (const [i, port] of this.ports.entries()) if (port.isConsole) this.#tell(i, EVENT.RESIZE);
    }
    for (const [i, port] of this.ports.entries()) {
      const { connectionChanged, resumed } = port.takeNotes();
      if (connectionChanged) this.#tell(i, EVENT.PORT_OPEN);
      const transmit = 1 << (receiveQueue(i) + 1);
      if (resumed && (this.#heldQueues & transmit) !== 0) {
        this.#heldQueues &= ~transmit;
        this.keepNotified(transmit);
      }
    }
  }

  protected override serve(notified: number): void {
    let budget = SERVICE_BYTES;
    if (this.#multiport) {
      if ((notified >>> CONTROL_TRANSMIT) & 1) budget = this.#takeMessages(budget);
      this.#sendMessages();
    }
    for (const [i, port] of this.ports.entries()) {
      const state = this.state.ports[i];
      if (state === undefined || (i > 0 && !this.#multiport)) continue;
      port.setGuestOpen(this.#multiport ? state.guestOpen !== 0 : true);
      if ((notified >>> (receiveQueue(i) + 1)) & 1) budget = this.#transmit(i, port, budget);
      // The guest reads only what is open; Linux throws away what comes sooner.
      if (port.guestOpen && port.inputBytes > 0) budget = this.#receive(i, port, budget);
    }
  }

  get #multiport(): boolean {
    return this.accepted(VIRTIO_CONSOLE_F.MULTIPORT);
  }

  /** Guest to host. What is left of the budget. */
  #transmit(index: number, port: ConsolePort, budget: number): number {
    return this.#drain(receiveQueue(index) + 1, budget, (chain) => this.#deliver(chain, port));
  }

  /** Gives a chain's bytes to the port; false when some are out of the device's reach. */
  #deliver(chain: Chain, port: ConsolePort): boolean {
    for (let at = 0; at < chain.readableBytes; at += SCRATCH_BYTES) {
      const bytes = this.#scratch.subarray(0, Math.min(SCRATCH_BYTES, chain.readableBytes - at));
      if (!chain.read(at, bytes)) return false;
      port.receive(bytes);
    }
    return true;
  }

  /** Takes device-readable chains of a queue, unless its port is paused. */
  #drain(number: number, budget: number, take: (chain: Chain) => boolean): number {
    const queue = this.openQueue(number);
    const chain = this.#chain;
    if (queue === undefined || chain === undefined) return budget;
    const port = number === CONTROL_TRANSMIT ? undefined : this.ports[portOf(number)];
    queue.disarm();
    do {
      while (budget > 0 && port?.paused !== true && queue.pop(chain)) {
        budget -= CHAIN_COST_BYTES + chain.readableBytes;
        if (chain.readableBytes > CHAIN_BYTES_MAX) {
          this.violated('chain-bytes');
          return budget;
        }
        if (!take(chain)) {
          this.violated('dma');
          return budget;
        }
        queue.push(chain.head, 0);
      }
      this.publish(queue);
      if (port?.paused === true) {
        this.#heldQueues |= 1 << number;
        return budget;
      }
      if (budget <= 0) {
        this.serveAgain(1 << number);
        return budget;
      }
    } while (queue.arm());
    return budget;
  }

  /** Host to guest. */
  #receive(index: number, port: ConsolePort, budget: number): number {
    const queue = this.openQueue(receiveQueue(index));
    const chain = this.#chain;
    if (queue === undefined || chain === undefined) return budget;
    queue.disarm();
    do {
      while (port.inputBytes > 0 && budget > 0 && queue.pop(chain)) {
        const count = Math.min(chain.writableBytes, SCRATCH_BYTES);
        if (count === 0) {
          this.violated('chain-format');
          return budget;
        }
        const bytes = this.#scratch.subarray(0, port.takeInput(this.#scratch.subarray(0, count)));
        if (!chain.write(0, bytes)) {
          this.violated('dma');
          return budget;
        }
        queue.push(chain.head, bytes.length);
        budget -= CHAIN_COST_BYTES + bytes.length;
        port.drained();
      }
      this.publish(queue);
      if (port.inputBytes === 0) return budget;
      if (budget <= 0) {
        this.serveAgain(1 << queue.index);
        return budget;
      }
    } while (queue.arm());
    return budget;
  }

  #takeMessages(budget: number): number {
    const bytes = new Uint8Array(CONTROL_BYTES);
    const data = new DataView(bytes.buffer);
    return this.#drain(CONTROL_TRANSMIT, budget, (chain) => {
      if (chain.readableBytes < CONTROL_BYTES) this.state.strangeMessages++;
      else if (chain.read(0, bytes)) {
        this.#handle(data.getUint32(0, true), data.getUint16(4, true), data.getUint16(6, true));
      } else return false;
      return true;
    });
  }

  #handle(id: number, event: number, value: number): void {
    const { state } = this;
    if (event === EVENT.DEVICE_READY) {
      if (value === 1) for (let i = 0; i < this.ports.length; i++) this.#tell(i, EVENT.PORT_ADD);
      return;
    }
    const port = this.ports[id];
    const portState = state.ports[id];
    if (port === undefined || portState === undefined) {
      state.strangeMessages++;
      return;
    }
    switch (event) {
      case EVENT.PORT_READY:
        if (value !== 1) return;
        portState.ready = 1;
        if (port.isConsole) this.#tell(id, EVENT.CONSOLE_PORT);
        if (port.name !== '') this.#tell(id, EVENT.PORT_NAME);
        if (port.isConsole) this.#tell(id, EVENT.RESIZE);
        this.#tell(id, EVENT.PORT_OPEN);
        return;
      case EVENT.PORT_OPEN:
        // What was sent before the close is still in the port's own queue.
        if (value === 0 && port.guestOpen) this.#transmitBeforeClose(id, port);
        portState.guestOpen = value === 0 ? 0 : 1;
        port.setGuestOpen(value !== 0);
        return;
      default:
        state.strangeMessages++;
    }
  }

  #transmitBeforeClose(id: number, port: ConsolePort): void {
    const chain = new Chain(this.#mustIo().memory);
    const queue = this.openQueue(receiveQueue(id) + 1);
    for (let left = QUEUE_SIZE; left > 0 && queue?.pop(chain) === true; left--) {
      if (chain.readableBytes > CHAIN_BYTES_MAX) this.violated('chain-bytes');
      else if (!this.#deliver(chain, port)) this.violated('dma');
      if (!this.live) return;
      queue.push(chain.head, 0);
    }
    if (queue !== undefined) this.publish(queue);
  }

  /** Notes that the guest is to be sent this message about a port, once. */
  #tell(index: number, message: Message): void {
    const port = this.state.ports[index];
    if (port === undefined || (message !== EVENT.PORT_ADD && port.ready === 0)) return;
    if (message === EVENT.RESIZE && this.#cols === 0 && this.#rows === 0) return;
    port.pending |= 1 << MESSAGES.indexOf(message);
  }

  #sendMessages(): void {
    const { ports } = this.state;
    if (!ports.some((port) => port.pending !== 0)) return;
    const queue = this.openQueue(CONTROL_RECEIVE);
    if (queue === undefined) return;
    do {
      for (const [i, port] of ports.entries()) {
        for (const [bit, message] of MESSAGES.entries()) {
          if (((port.pending >>> bit) & 1) === 0) continue;
          if (!this.#sendMessage(queue, i, message)) break;
          port.pending &= ~(1 << bit);
        }
      }
      this.publish(queue);
    } while (this.live && ports.some((port) => port.pending !== 0) && queue.arm());
  }

  /** False when there is no buffer for it. */
  #sendMessage(queue: Queue, index: number, message: Message): boolean {
    const chain = this.#chain;
    const port = this.ports[index];
    if (chain === undefined || port === undefined || !queue.pop(chain)) return false;
    const bytes = this.#message(index, port, message);
    if (chain.writableBytes < bytes.length) this.violated('chain-format');
    else if (!chain.write(0, bytes)) this.violated('dma');
    else queue.push(chain.head, bytes.length);
    return this.live;
  }

  #message(index: number, port: ConsolePort, message: Message): Uint8Array {
    const extra = new Uint8Array(64);
    const view = new DataView(extra.buffer);
    let size = CONTROL_BYTES;
    let value = 1;
    if (message === EVENT.PORT_OPEN) value = port.connected ? 1 : 0;
    if (message === EVENT.RESIZE) {
      const rowsFirst = this.#io?.resizeRowsFirst === true;
      view.setUint16(size, rowsFirst ? this.#rows : this.#cols, true);
      view.setUint16(size + 2, rowsFirst ? this.#cols : this.#rows, true);
      size += 4;
    }
    if (message === EVENT.PORT_NAME) {
      for (let i = 0; i < port.name.length && size < extra.length; i++) extra[size++] = port.name.charCodeAt(i);
    }
    view.setUint32(0, index, true);
    view.setUint16(4, message, true);
    view.setUint16(6, value, true);
    return extra.subarray(0, size);
  }

  #mustIo(): ConsoleIo {
    if (this.#io === undefined) throw new Error(`${this.name}: not the I/O thread's instance`);
    return this.#io;
  }
}

/** The queue in which port `index` receives; it transmits in the next. */
function receiveQueue(index: number): number {
  return index === 0 ? 0 : 2 * index + 2;
}

function portOf(queue: number): number {
  return queue < 2 ? 0 : (queue >> 1) - 1;
}
