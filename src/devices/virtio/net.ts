/**
 * The network device (virtio 1.2, section 5.1): one pair of queues, with mergeable receive buffers and, where the
 * host's side can, checksum and segmentation offload.
 *
 *     guest -> transmit queue -> port.send(frame)              at the service, in the queue's order
 *     receive(frame) -> FIFO -> receive queue -> guest         copied at once, delivered at the next service
 *
 * Frames that wait in the FIFO are not part of the saved state: a restore is a link that lost some frames.
 * Left out: the control queue (promiscuity, filters, VLANs, announcements), several pairs, UDP segmentation.
 */
import { struct, type View } from '../../base/struct.ts';
import { Chain } from './chain.ts';
import { FrameFifo } from './frame-fifo.ts';
import { completeChecksum, NET_HEADER_BYTES, NetHeader } from './net-header.ts';
import type { FrameOffload, FramePort, NetEvents } from './net-port.ts';
import type { Queue } from './queue.ts';
import { virtioFields } from './state.ts';
import { type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';

const VIRTIO_ID_NET = 1;
export const VIRTIO_NET_F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  MRG_RXBUF: 15,
  STATUS: 16,
} as const;
const CONFIG = { mac: 0, status: 6, maxPairs: 8, mtu: 10, end: 12 } as const;
const VIRTIO_NET_S_LINK_UP = 1;

const RECEIVE = 0;
const TRANSMIT = 1;
const QUEUE_SIZE = 256;
const ETHERNET_HEADER_BYTES = 14;
/** With room for a VLAN tag. */
const LINK_HEADER_BYTES_MAX = 18;
/** The largest frame with segmentation offload: an IP packet of 65535 bytes. */
const FRAME_BYTES_MAX = 65535 + LINK_HEADER_BYTES_MAX;
const FIFO_BYTES = 1 << 20;
const SERVICE_BYTES = 1 << 20;
/** What a frame counts for besides its bytes. */
const FRAME_COST_BYTES = 512;

const fields = virtioFields(2, CONFIG.end);
const layout = struct('virtio-net', fields);

export interface NetIo extends IoPorts {
  readonly port: FramePort;
  readonly events?: NetEvents;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** Default 1500. */
  readonly mtuBytes?: number;
  /** Offer what `port` must then understand: frames with a FrameOffload from the guest, and from it. Default false. */
  readonly offloads?: boolean;
}

/** Plain numbers of the I/O thread's instance, since its construction. */
export interface NetCounters {
  sentFrames: number;
  sentBytes: number;
  receivedFrames: number;
  receivedBytes: number;
  /** Frames of the guest's that no link carries: too short, too long, with an offload that was not agreed on. */
  sentDropped: number;
  /** Frames for the guest that found the FIFO full, the link down, no driver, or no buffer that is large enough. */
  receivedDropped: number;
}

export class VirtioNet extends VirtioDevice<View<typeof fields>> {
  static readonly layout = layout;
  readonly counters: NetCounters = {
    sentFrames: 0,
    sentBytes: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    sentDropped: 0,
    receivedDropped: 0,
  };
  readonly #io: NetIo | undefined;
  readonly #chain: Chain | undefined;
  readonly #further: Chain | undefined;
  readonly #fifo: FrameFifo;
  readonly #header = new NetHeader();
  readonly #frame: Uint8Array;
  #linkUp = true;
  #linkNews = false;
  #refused = false;
  /** Whether the host's side was told of a running driver. */
  #announced = false;
  #resetsSeen = 0;

  /** `io` on the I/O thread only. */
  constructor(wiring: Wiring, io?: NetIo) {
    super(VIRTIO_ID_NET, layout, layout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory);
    this.#io = io;
    this.#fifo = new FrameFifo(io === undefined ? 0 : FIFO_BYTES);
    this.#frame = new Uint8Array(io === undefined ? 0 : FRAME_BYTES_MAX);
    if (io === undefined) return;
    this.#chain = new Chain(io.memory);
    this.#further = new Chain(io.memory);
    this.strap();
  }

  /**
   * A frame for the guest; may be called at any time on the I/O thread, without the lock, also from `port.send`.
   * False when it was refused, for want of room, of carrier or of a driver: once that is over, `events.room` follows.
   * What is no Ethernet frame is swallowed.
   */
  receive(frame: Uint8Array, offload?: FrameOffload): boolean {
    if (frame.length < ETHERNET_HEADER_BYTES || frame.length > FRAME_BYTES_MAX) {
      this.counters.receivedDropped++;
      return true;
    }
    if (!this.#linkUp || !this.live || !this.#fifo.push(frame, offload)) {
      this.counters.receivedDropped++;
      this.#refused = true;
      return false;
    }
    this.ring();
    return true;
  }

  /** Carrier; at any time on the I/O thread, without the lock. While it is down, frames are dropped both ways. */
  setLinkUp(up: boolean): void {
    if (this.#linkUp === up) return;
    this.#linkUp = up;
    this.#linkNews = true;
    if (!up) this.#fifo.clear();
    this.ring();
  }

  get linkUp(): boolean {
    return this.#linkUp;
  }

  override resume(): void {
    this.#fifo.clear();
    this.#announced = false;
    this.#resetsSeen = this.state.resets;
    super.resume();
  }

  protected override strap(): void {
    const io = this.#io;
    if (io === undefined) return;
    const { MAC, MTU, STATUS, MRG_RXBUF, CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, HOST_TSO6 } = VIRTIO_NET_F;
    const offloads = io.offloads === true ? [CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, HOST_TSO6] : [];
    this.offer([MAC, MTU, STATUS, MRG_RXBUF, ...offloads], [QUEUE_SIZE, QUEUE_SIZE]);
    io.mac.forEach((byte, i) => this.setConfig(CONFIG.mac + i, 1, byte));
    this.setConfig(CONFIG.status, 2, this.#linkUp ? VIRTIO_NET_S_LINK_UP : 0);
    this.setConfig(CONFIG.maxPairs, 2, 1);
    this.setConfig(CONFIG.mtu, 2, io.mtuBytes ?? 1500);
  }

  /** Section 5.1.3.1. */
  protected override featuresFit(): boolean {
    const { CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, HOST_TSO6 } = VIRTIO_NET_F;
    if (this.accepted(GUEST_TSO4) && !this.accepted(GUEST_CSUM)) return false;
    return this.accepted(CSUM) || !(this.accepted(HOST_TSO4) || this.accepted(HOST_TSO6));
  }

  protected override hostEvents(): void {
    if (this.#linkNews) {
      this.#linkNews = false;
      this.setConfig(CONFIG.status, 2, this.#linkUp ? VIRTIO_NET_S_LINK_UP : 0);
      this.configChanged();
    }
    if (this.#resetsSeen !== this.state.resets) {
      this.#resetsSeen = this.state.resets;
      this.#fifo.clear();
      if (this.#announced) this.#io?.events?.offload?.({ checksum: false, largePacketBytes: 0 });
      this.#announced = false;
      this.#io?.events?.restarted?.();
    }
    if (this.live && !this.#announced) {
      this.#announced = true;
      this.#io?.events?.offload?.({
        checksum: this.accepted(VIRTIO_NET_F.GUEST_CSUM),
        largePacketBytes: this.accepted(VIRTIO_NET_F.GUEST_TSO4) ? 65535 : 0,
      });
    }
  }

  protected override serve(notified: number): void {
    if ((notified >>> TRANSMIT) & 1) this.#transmit();
    if (this.#fifo.frames > 0) this.#deliver();
    if (this.#refused && this.#linkUp && this.#fifo.frames === 0) {
      this.#refused = false;
      this.#io?.events?.room?.();
    }
  }

  #transmit(): void {
    const queue = this.openQueue(TRANSMIT);
    const chain = this.#chain;
    if (queue === undefined || chain === undefined) return;
    queue.disarm();
    let budget = SERVICE_BYTES;
    do {
      while (budget > 0 && queue.pop(chain)) {
        budget -= FRAME_COST_BYTES + chain.readableBytes;
        if (chain.readableBytes < NET_HEADER_BYTES) {
          this.violated('chain-format');
          return;
        }
        if (!this.#send(chain)) {
          this.violated('dma');
          return;
        }
        queue.push(chain.head, 0);
      }
      this.publish(queue);
      if (budget <= 0) {
        this.serveAgain(1 << TRANSMIT);
        return;
      }
    } while (queue.arm());
  }

  /** False when the frame is out of the device's reach. */
  #send(chain: Chain): boolean {
    const { counters } = this;
    const header = this.#header;
    const frameBytes = chain.readableBytes - NET_HEADER_BYTES;
    if (!chain.read(0, header.bytes)) return false;
    if (!this.#linkUp || !this.#carries(header, frameBytes)) {
      counters.sentDropped++;
      return true;
    }
    const frame = this.#frame.subarray(0, frameBytes);
    if (!chain.read(NET_HEADER_BYTES, frame)) return false;
    counters.sentFrames++;
    counters.sentBytes += frameBytes;
    const offload = header.offload;
    if (offload === undefined) this.#io?.port.send(frame);
    else this.#io?.port.send(frame, offload);
    return true;
  }

  /** Whether a frame of this size with this header was agreed on. */
  #carries(header: NetHeader, frameBytes: number): boolean {
    if (frameBytes < ETHERNET_HEADER_BYTES || frameBytes > FRAME_BYTES_MAX) return false;
    if (header.needsChecksum && !(this.accepted(VIRTIO_NET_F.CSUM) && header.checksumWithin(frameBytes))) return false;
    switch (header.segmentation) {
      case 'none':
        return frameBytes <= (this.#io?.mtuBytes ?? 1500) + LINK_HEADER_BYTES_MAX;
      case 'tcp4':
        return this.accepted(VIRTIO_NET_F.HOST_TSO4) && header.needsChecksum && header.segmentBytes > 0;
      case 'tcp6':
        return this.accepted(VIRTIO_NET_F.HOST_TSO6) && header.needsChecksum && header.segmentBytes > 0;
      case 'other':
        return false;
    }
  }

  #deliver(): void {
    const queue = this.openQueue(RECEIVE);
    if (queue === undefined) return;
    const fifo = this.#fifo;
    queue.disarm();
    let budget = SERVICE_BYTES;
    do {
      while (fifo.frames > 0 && budget > 0) {
        const frameBytes = fifo.first.length;
        const outcome = this.#place(queue, fifo.first);
        if (outcome === 'broken') return;
        if (outcome === 'wait') break;
        fifo.shift();
        budget -= FRAME_COST_BYTES + frameBytes;
        if (outcome === 'placed') {
          this.counters.receivedFrames++;
          this.counters.receivedBytes += frameBytes;
        } else this.counters.receivedDropped++;
      }
      this.publish(queue);
      if (fifo.frames === 0) return;
      if (budget <= 0) {
        this.serveAgain(1 << RECEIVE);
        return;
      }
    } while (queue.arm());
  }

  /**
   * Writes a frame into as many receive buffers as it takes. The header comes last, when their number is known;
   * buffers of a frame that does not fit yet go back unreturned.
   */
  #place(queue: Queue, frame: Uint8Array): 'placed' | 'dropped' | 'wait' | 'broken' {
    const first = this.#chain;
    const further = this.#further;
    const header = this.#header;
    if (first === undefined || further === undefined) return 'broken';
    if (!this.#setHeader(header, frame)) return 'dropped';
    const merge = this.accepted(VIRTIO_NET_F.MRG_RXBUF);
    let done = 0;
    let buffers = 0;
    let chain = first;
    for (const want = frame.length; done < want || buffers === 0; chain = further) {
      if (!queue.pop(chain)) {
        if (!this.live) return 'broken';
        queue.rewind(buffers, buffers);
        return 'wait';
      }
      const skip = buffers === 0 ? NET_HEADER_BYTES : 0;
      const room = chain.writableBytes - skip;
      if (room < (merge ? 1 : want)) {
        if (merge || room < 0) {
          this.violated('chain-format');
          return 'broken';
        }
        queue.rewind(1, 0);
        return 'dropped';
      }
      const take = Math.min(room, want - done);
      if (!chain.write(skip, take === want ? frame : frame.subarray(done, done + take))) {
        this.violated('dma');
        return 'broken';
      }
      queue.push(chain.head, skip + take);
      done += take;
      buffers++;
    }
    header.setBuffers(buffers);
    if (first.write(0, header.bytes)) return 'placed';
    this.violated('dma');
    return 'broken';
  }

  /** The header of a frame for the guest; false when it needs an offload that the guest does not have. */
  #setHeader(header: NetHeader, frame: Uint8Array): boolean {
    const { firstChecksumValid, firstSegmentBytes } = this.#fifo;
    if (firstSegmentBytes > 0 && !this.accepted(VIRTIO_NET_F.GUEST_TSO4)) return false;
    if (firstChecksumValid && !this.accepted(VIRTIO_NET_F.GUEST_CSUM)) {
      completeChecksum(frame);
      header.set(false, 0);
    } else header.set(firstChecksumValid, firstSegmentBytes);
    return true;
  }
}
