/**
 * The network device (virtio 1.2, section 5.1): pairs of queues, with mergeable receive buffers, control commands
 * (net-control.ts) and, where the host's side can, checksum and segmentation offload.
 *
 *     guest -> transmit queue n -> port.send(frame)                          at the service, in each queue's order
 *     receive(frame) -> filter -> steering -> lane n -> receive queue n -> guest   copied at once, delivered at the next service
 *
 * Frames that wait in the lanes are not part of the saved state: a restore is a link that lost some frames, and so is what
 * steering has learned.
 * Left out: RSS and hash reports, UDP segmentation.
 */

import { layersOf } from '../../base/frame-layers.ts';
import { Chain } from './chain.ts';
import type { FrameFifo } from './frame-fifo.ts';
import { type Controlled, control } from './net-control.ts';
import { netFeatures, netFeaturesFit } from './net-features.ts';
import { openFilter, wantsFrame } from './net-filter.ts';
import { completeChecksum, NET_HEADER_BYTES, NetHeader } from './net-header.ts';
import { ReceiveLanes } from './net-lanes.ts';
import type { FrameOffload, FramePort, NetEvents } from './net-port.ts';
import { CONFIG, NET_PAIRS_MAX, type NetState, netLayout, VIRTIO_NET_F, VIRTIO_NET_S } from './net-state.ts';
import { Steering } from './net-steering.ts';
import type { Queue } from './queue.ts';
import { type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';

const VIRTIO_ID_NET = 1;
const QUEUE_SIZE = 256;
const CONTROL_QUEUE_SIZE = 64;
const ETHERNET_HEADER_BYTES = 14;
/** With room for a VLAN tag. */
const LINK_HEADER_BYTES_MAX = 18;
/** The largest frame with segmentation offload: an IP packet of 65535 bytes. */
const FRAME_BYTES_MAX = 65535 + LINK_HEADER_BYTES_MAX;
const LARGE_PACKET_BYTES = 65535;
const SERVICE_BYTES = 1 << 20;
/** What a frame counts for besides its bytes. */
const FRAME_COST_BYTES = 512;
/** Control commands of one service. */
const SERVICE_COMMANDS = 32;

/** Queues of a pair (section 5.1.2). */
const receiveQueue = (pair: number): number => 2 * pair;
const transmitQueue = (pair: number): number => 2 * pair + 1;

export interface NetIo extends IoPorts {
  readonly port: FramePort;
  readonly events?: NetEvents;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** Default 1500. */
  readonly mtuBytes?: number;
  /** Offer what `port` must then understand: frames with a FrameOffload from the guest, and from it. Default false. */
  readonly offloads?: boolean;
  /** Pairs of queues, 1 to NET_PAIRS_MAX. Default 1. */
  readonly pairs?: number;
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
  /** Frames for the guest that its driver does not want: other addresses, other VLANs. */
  receivedFiltered: number;
  /** Control commands, and those of them that were answered with an error. */
  commands: number;
  commandErrors: number;
}

export class VirtioNet extends VirtioDevice<NetState> implements Controlled {
  static readonly layout = netLayout;
  readonly counters: NetCounters = {
    sentFrames: 0,
    sentBytes: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    sentDropped: 0,
    receivedDropped: 0,
    receivedFiltered: 0,
    commands: 0,
    commandErrors: 0,
  };
  readonly #io: NetIo | undefined;
  readonly #chain: Chain | undefined;
  readonly #further: Chain | undefined;
  readonly #lanes = new ReceiveLanes();
  readonly #steering = new Steering();
  readonly #header = new NetHeader();
  readonly #frame: Uint8Array;
  #linkUp = true;
  #linkNews = false;
  #announceWanted = false;
  #offloadNews = false;
  /** Whether the host's side was told of a running driver. */
  #announced = false;
  #resetsSeen = 0;

  /** `io` on the I/O thread only. */
  constructor(wiring: Wiring, io?: NetIo) {
    super(VIRTIO_ID_NET, netLayout, netLayout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory);
    this.#io = io;
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
    const { state } = this;
    const pairs = this.#pairs;
    const pair = pairs > 1 ? this.#steering.pairOf(frame, pairs) : 0;
    if (!this.#linkUp || !this.live) return this.#refuse(pair);
    if (!wantsFrame(state, frame, this.accepted(VIRTIO_NET_F.CTRL_VLAN))) {
      this.counters.receivedFiltered++;
      return true;
    }
    if (!this.#lanes.push(pair, frame, offload)) return this.#refuse(pair);
    this.ring();
    return true;
  }

  /** Carrier; at any time on the I/O thread, without the lock. While it is down, frames are dropped both ways. */
  setLinkUp(up: boolean): void {
    if (this.#linkUp === up) return;
    this.#linkUp = up;
    this.#linkNews = true;
    if (!up) this.#clearLanes();
    this.ring();
  }

  /**
   * The guest is to say where it is (gratuitous ARP, unsolicited neighbour advertisements), if its driver can: its frames
   * take another way from now on. If there is no driver or no carrier now, then once there is. At any time on the I/O thread,
   * without the lock.
   */
  announce(): void {
    this.#announceWanted = true;
    this.ring();
  }

  get linkUp(): boolean {
    return this.#linkUp;
  }

  override resume(): void {
    this.#clearLanes();
    this.#steering.forget();
    this.#announced = false;
    // As after a migration: the network around the guest is another.
    this.#announceWanted = true;
    this.#resetsSeen = this.state.resets;
    super.resume();
  }

  // For control commands.

  get pairsMax(): number {
    return Math.min(Math.max(this.#io?.pairs ?? 1, 1), NET_PAIRS_MAX);
  }

  pairsChanged(): void {
    this.#clearLanes(this.#pairs);
  }

  offloadsChanged(): void {
    this.#offloadNews = true;
  }

  protected override strap(): void {
    const io = this.#io;
    if (io === undefined) return;
    const { state, pairsMax } = this;
    const pairs = Array.from({ length: 2 * pairsMax }, () => QUEUE_SIZE);
    this.offer(netFeatures({ offloads: io.offloads === true, pairs: pairsMax }), [...pairs, CONTROL_QUEUE_SIZE]);
    // An address that the driver has set stays, when a guest is restored.
    const isOwn = state.hardwareAddress.every((byte, i) => byte === state.config[CONFIG.mac + i]);
    state.hardwareAddress.set(io.mac);
    if (isOwn) state.config.set(io.mac, CONFIG.mac);
    this.#showStatus();
    this.setConfig(CONFIG.maxPairs, 2, pairsMax);
    this.setConfig(CONFIG.mtu, 2, io.mtuBytes ?? 1500);
  }

  protected override featuresFit(): boolean {
    return netFeaturesFit((feature) => this.accepted(feature));
  }

  protected override resetState(): void {
    const { state } = this;
    state.pairs = 1;
    state.offloadsSet = state.offloads = 0;
    state.config.set(state.hardwareAddress, CONFIG.mac);
    state.config[CONFIG.status] = (state.config[CONFIG.status] ?? 0) & ~VIRTIO_NET_S.ANNOUNCE;
    openFilter(state);
  }

  protected override hostEvents(): void {
    if (this.#linkNews) {
      this.#linkNews = false;
      this.#showStatus();
      this.configChanged();
    }
    if (this.#resetsSeen !== this.state.resets) {
      this.#resetsSeen = this.state.resets;
      this.#clearLanes();
      this.#steering.forget();
      if (this.#announced) this.#tellOffloads(false);
      this.#announced = false;
      this.#io?.events?.restarted?.();
    }
    if (this.live && !this.#announced) {
      this.#announced = true;
      this.#tellOffloads(true);
    }
    if (this.live && this.#announceWanted && this.#linkUp) {
      this.#announceWanted = false;
      if (!this.accepted(VIRTIO_NET_F.GUEST_ANNOUNCE)) return;
      this.state.config[CONFIG.status] = (this.state.config[CONFIG.status] ?? 0) | VIRTIO_NET_S.ANNOUNCE;
      this.configChanged();
    }
  }

  protected override serve(notified: number): void {
    if ((notified >>> this.#controlQueue) & 1) this.#control();
    // What was offered before the driver gave a pair up is still to be sent.
    const all = this.accepted(VIRTIO_NET_F.MQ) ? this.pairsMax : 1;
    for (let pair = 0; pair < all; pair++) if ((notified >>> transmitQueue(pair)) & 1) this.#transmit(pair);
    const pairs = this.#pairs;
    for (let pair = 0; pair < pairs; pair++) if (this.#lanes.waiting(pair) > 0) this.#deliver(pair);
    if (this.#linkUp && this.#lanes.takeRoom()) this.#io?.events?.room?.();
  }

  /** Pairs in use. What a restored block says may be anything. */
  get #pairs(): number {
    return Math.min(Math.max(this.state.pairs, 1), this.pairsMax);
  }

  /** Section 5.1.2: behind all pairs that there are, for a driver that knows of several. */
  get #controlQueue(): number {
    return this.accepted(VIRTIO_NET_F.MQ) ? 2 * this.pairsMax : 2;
  }

  /** Whether the driver takes this off the network's hands now. */
  #takes(feature: number): boolean {
    const { offloads, offloadsSet } = this.state;
    return this.accepted(feature) && (offloadsSet === 0 || ((offloads >>> feature) & 1) !== 0);
  }

  #tellOffloads(isUp: boolean): void {
    const large = (feature: number): number => (isUp && this.#takes(feature) ? LARGE_PACKET_BYTES : 0);
    this.#io?.events?.offload?.({
      checksum: isUp && this.#takes(VIRTIO_NET_F.GUEST_CSUM),
      largePacketBytes: large(VIRTIO_NET_F.GUEST_TSO4),
      largePacketBytes6: large(VIRTIO_NET_F.GUEST_TSO6),
    });
  }

  /** Link state; what the guest has not acknowledged yet stays. */
  #showStatus(): void {
    const { config } = this.state;
    const link = this.#linkUp ? VIRTIO_NET_S.LINK_UP : 0;
    config[CONFIG.status] = ((config[CONFIG.status] ?? 0) & ~VIRTIO_NET_S.LINK_UP) | link;
  }

  #clearLanes(first = 0): void {
    this.counters.receivedDropped += this.#lanes.clear(first);
  }

  #refuse(pair: number): false {
    this.counters.receivedDropped++;
    this.#lanes.refused(pair);
    return false;
  }

  #control(): void {
    const queue = this.openQueue(this.#controlQueue);
    const chain = this.#chain;
    if (queue === undefined || chain === undefined) return;
    queue.disarm();
    let left = SERVICE_COMMANDS;
    do {
      for (; left > 0 && queue.pop(chain); left--) {
        if (!this.#answer(chain)) return;
        queue.push(chain.head, 1);
      }
      this.publish(queue);
      if (left === 0) {
        this.serveAgain(1 << this.#controlQueue);
        return;
      }
    } while (queue.arm());
    if (!this.#offloadNews) return;
    this.#offloadNews = false;
    this.#tellOffloads(true);
  }

  /** False after a violation. */
  #answer(chain: Chain): boolean {
    if (chain.writableBytes < 1) {
      this.violated('chain-format');
      return false;
    }
    const answer = control(this, chain);
    if (answer === undefined || !chain.write(0, Uint8Array.of(answer === 'ok' ? 0 : 1))) {
      this.violated('dma');
      return false;
    }
    this.counters.commands++;
    if (answer === 'error') this.counters.commandErrors++;
    return true;
  }

  #transmit(pair: number): void {
    const queue = this.openQueue(transmitQueue(pair));
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
        if (!this.#send(chain, pair)) {
          this.violated('dma');
          return;
        }
        queue.push(chain.head, 0);
      }
      this.publish(queue);
      if (budget <= 0) {
        this.serveAgain(1 << transmitQueue(pair));
        return;
      }
    } while (queue.arm());
  }

  /** False when the frame is out of the device's reach. */
  #send(chain: Chain, pair: number): boolean {
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
    if (this.#pairs > 1) this.#steering.sent(frame, pair);
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

  #deliver(pair: number): void {
    const queue = this.openQueue(receiveQueue(pair));
    if (queue === undefined) return;
    const fifo = this.#lanes.of(pair);
    queue.disarm();
    let budget = SERVICE_BYTES;
    do {
      while (fifo.frames > 0 && budget > 0) {
        const frameBytes = fifo.first.length;
        const outcome = this.#place(queue, fifo);
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
        this.serveAgain(1 << receiveQueue(pair));
        return;
      }
    } while (queue.arm());
  }

  /**
   * Writes a frame into as many receive buffers as it takes. The header comes last, when their number is known;
   * buffers of a frame that does not fit yet go back unreturned.
   */
  #place(queue: Queue, fifo: FrameFifo): 'placed' | 'dropped' | 'wait' | 'broken' {
    const first = this.#chain;
    const further = this.#further;
    const header = this.#header;
    if (first === undefined || further === undefined) return 'broken';
    const frame = fifo.first;
    if (!this.#setHeader(header, frame, fifo)) return 'dropped';
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
  #setHeader(header: NetHeader, frame: Uint8Array, fifo: FrameFifo): boolean {
    const { firstChecksumValid, firstSegmentBytes } = fifo;
    header.clear();
    if (!firstChecksumValid) return firstSegmentBytes === 0;
    const layers = layersOf(frame);
    if (layers === undefined) return false;
    const { GUEST_CSUM, GUEST_TSO4, GUEST_TSO6 } = VIRTIO_NET_F;
    if (firstSegmentBytes > 0 && !this.#takes(layers.version === 4 ? GUEST_TSO4 : GUEST_TSO6)) return false;
    if (this.#takes(GUEST_CSUM)) return header.setOffload(frame, layers, firstSegmentBytes);
    completeChecksum(frame, layers);
    return true;
  }
}
