/**
 * The 9P transport (virtio 1.2, section 5.15, which names the device type alone; the rest is what Linux's 9pnet_virtio and
 * QEMU do): one queue, in each of whose chains stands a message to read and room for its answer. The messages are a
 * server's (p9-port.ts).
 *
 *     service: pop, copy the message -> server -> a number, or a promise -> schedule -> copy the answer, push
 *
 * Any number of messages is under way at once, bounded by the bytes that they hold; they are answered in the server's order.
 * What a server does cannot be done twice, so a machine is saved while none is under way. If one was all the same, it is
 * refused when the device goes on.
 */
import { array, struct, type View } from '../../base/struct.ts';
import { BufferPool } from './buffer-pool.ts';
import { Chain } from './chain.ts';
import { P9_MESSAGE_BYTES_MAX, P9_REPLY_BYTES_MIN, type P9Server } from './p9-port.ts';
import type { Queue } from './queue.ts';
import type { Violation } from './spec.ts';
import { virtioFields } from './state.ts';
import { type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';

const VIRTIO_ID_9P = 9;
const VIRTIO_9P_MOUNT_TAG = 0;
/** size[4] type[1] tag[2] */
const HEADER_BYTES = 7;
const QUEUE_SIZE = 128;
/** Configuration has to fit behind the registers of virtio-mmio. */
export const P9_TAG_BYTES_MAX = 1024;
const CONFIG = { tagBytes: 0, tag: 2, end: 2 + P9_TAG_BYTES_MAX } as const;
/** While messages hold more than this, further ones wait in the queue. */
const UNDER_WAY_BYTES_MAX = 32 << 20;
/** One service takes about this much; a message counts for what the host does for it, too. */
const SERVICE_BYTES = 1 << 20;
const MESSAGE_COST_BYTES = 1 << 16;
const HEAD_WORDS = QUEUE_SIZE / 32;

const fields = {
  ...virtioFields(1, CONFIG.end),
  /** Bit per head: taken from the available ring and not yet returned. */
  underWay: array('u32', HEAD_WORDS),
} as const;
const layout = struct('virtio-9p', fields);

export interface P9Io extends IoPorts {
  readonly server: P9Server;
}

/** Plain numbers of the I/O thread's instance, since its construction. */
export interface P9Counters {
  messages: number;
  receivedBytes: number;
  sentBytes: number;
}

/** A message on its way. */
class Message {
  readonly chain: Chain;
  request = new Uint8Array(0);
  reply = new Uint8Array(0);
  /** The life of the queue, and of this process's view of it, in which it was taken. */
  epoch = 0;
  session = 0;

  constructor(memory: IoPorts['memory']) {
    this.chain = new Chain(memory);
  }
}

export class VirtioP9 extends VirtioDevice<View<typeof fields>> {
  static readonly layout = layout;
  readonly counters: P9Counters = { messages: 0, receivedBytes: 0, sentBytes: 0 };
  readonly #io: P9Io | undefined;
  readonly #pool = new BufferPool();
  readonly #idle: Message[] = [];
  #underWay = 0;
  #underWayBytes = 0;
  /** The queue waits until fewer bytes are under way. */
  #isStalled = false;
  #session = 0;
  #resetsSeen = 0;

  /** `io` on the I/O thread only. */
  constructor(wiring: Wiring, io?: P9Io) {
    super(VIRTIO_ID_9P, layout, layout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory);
    this.#io = io;
    this.strap();
  }

  /** Messages that the server has not answered yet. */
  get underWay(): number {
    return this.#underWay;
  }

  override resume(): void {
    this.#session++;
    this.#isStalled = false;
    this.#resetsSeen = this.state.resets;
    super.resume();
    this.#refuseTaken();
  }

  protected override strap(): void {
    if (this.#io === undefined) return;
    const { tag } = this.#io.server;
    this.offer([VIRTIO_9P_MOUNT_TAG], [QUEUE_SIZE]);
    this.setConfig(CONFIG.tagBytes, 2, tag.length);
    this.state.config.fill(0, CONFIG.tag);
    this.state.config.set(tag, CONFIG.tag);
  }

  protected override hostEvents(): void {
    if (this.#resetsSeen === this.state.resets) return;
    this.#resetsSeen = this.state.resets;
    this.#io?.server.reset();
  }

  protected override queueEnded(): void {
    this.state.underWay.fill(0);
  }

  protected override serve(): void {
    const queue = this.openQueue(0);
    if (queue === undefined) return;
    queue.disarm();
    let budget = SERVICE_BYTES;
    do {
      while (budget > 0 && this.#underWayBytes < UNDER_WAY_BYTES_MAX) {
        const message = this.#idleMessage();
        if (!queue.pop(message.chain)) {
          this.#idle.push(message);
          break;
        }
        budget -= MESSAGE_COST_BYTES + message.chain.readableBytes;
        const wrong = this.#isUnderWay(message.chain.head) ? 'head-in-flight' : this.#start(message, queue);
        if (wrong !== undefined) {
          this.violated(wrong);
          return;
        }
      }
      this.publish(queue);
      if (this.#underWayBytes >= UNDER_WAY_BYTES_MAX) {
        this.#isStalled = true;
        return;
      }
      if (budget <= 0) {
        this.serveAgain(1);
        return;
      }
    } while (queue.arm());
  }

  /** Answers the message or gives it to the server; or says what is wrong with it. */
  #start(message: Message, queue: Queue): Violation | undefined {
    const wrong = this.#copyIn(message, queue);
    if (wrong !== undefined) return wrong;
    this.counters.messages++;
    this.counters.receivedBytes += message.request.length;
    const answer = this.#mustIo().server.answer(message.request, message.reply);
    if (typeof answer === 'number') return this.#answer(message, answer, queue);
    this.#await(message, answer);
    return undefined;
  }

  #copyIn(message: Message, queue: Queue): Violation | undefined {
    const { chain } = message;
    message.epoch = queue.epoch;
    message.session = this.#session;
    if (chain.readableBytes < HEADER_BYTES || chain.writableBytes < P9_REPLY_BYTES_MIN) return 'chain-format';
    if (chain.readableBytes > P9_MESSAGE_BYTES_MAX) return 'chain-bytes';
    message.request = this.#pool.take(chain.readableBytes) as typeof message.request;
    message.reply = this.#pool.take(Math.min(chain.writableBytes, P9_MESSAGE_BYTES_MAX)) as typeof message.reply;
    return chain.read(0, message.request) ? undefined : 'dma';
  }

  #await(message: Message, answer: Promise<number>): void {
    const io = this.#mustIo();
    const bytes = message.request.length + message.reply.length;
    this.#markUnderWay(message.chain.head, true);
    this.#underWay++;
    this.#underWayBytes += bytes;
    void answer.then((sizeBytes) =>
      io.schedule(() => {
        this.#underWay--;
        this.#underWayBytes -= bytes;
        this.#finish(message, sizeBytes);
        if (!this.#isStalled) return;
        this.#isStalled = false;
        this.serveAgain(1);
      }),
    );
  }

  /** An answer has come, perhaps too late: after a reset or a restore nothing may be touched. */
  #finish(message: Message, sizeBytes: number): void {
    const inTime = message.session === this.#session && message.epoch === this.queue(0).epoch;
    const queue = inTime ? this.openQueue(0) : undefined;
    if (queue === undefined) {
      this.#retire(message);
      return;
    }
    this.#markUnderWay(message.chain.head, false);
    const wrong = this.#answer(message, sizeBytes, queue);
    if (wrong === undefined) this.publish(queue);
    else this.violated(wrong);
  }

  /** Writes the answer and returns the chain. */
  #answer(message: Message, sizeBytes: number, queue: Queue): Violation | undefined {
    const { chain, reply } = message;
    const isWritten = chain.write(0, reply.subarray(0, sizeBytes));
    this.#retire(message);
    if (!isWritten) return 'dma';
    this.counters.sentBytes += sizeBytes;
    queue.push(chain.head, sizeBytes);
    return undefined;
  }

  /** What the restored block names was taken in another process, and may have been done or not. */
  #refuseTaken(): void {
    const queue = this.openQueue(0);
    if (queue === undefined) return;
    for (let head = 0; head < queue.size; head++) {
      if (!this.#isUnderWay(head)) continue;
      this.#markUnderWay(head, false);
      const message = this.#idleMessage();
      if (!queue.load(head, message.chain)) return;
      const wrong = this.#copyIn(message, queue) ?? this.#answer(message, this.#refusal(message), queue);
      if (wrong === undefined) continue;
      this.violated(wrong);
      return;
    }
    this.publish(queue);
  }

  #refusal({ request, reply }: Message): number {
    return this.#mustIo().server.refuse(request, reply);
  }

  #idleMessage(): Message {
    return this.#idle.pop() ?? new Message(this.#mustIo().memory);
  }

  #retire(message: Message): void {
    this.#pool.give(message.request);
    this.#pool.give(message.reply);
    this.#idle.push(message);
  }

  #isUnderWay(head: number): boolean {
    return (((this.state.underWay[head >> 5] ?? 0) >>> (head & 31)) & 1) !== 0;
  }

  #markUnderWay(head: number, on: boolean): void {
    const bit = 1 << (head & 31);
    const { underWay } = this.state;
    underWay[head >> 5] = on ? (underWay[head >> 5] ?? 0) | bit : (underWay[head >> 5] ?? 0) & ~bit;
  }

  #mustIo(): P9Io {
    if (this.#io === undefined) throw new Error(`${this.name}: not the I/O thread's instance`);
    return this.#io;
  }
}
