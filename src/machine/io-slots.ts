/** The devices of the slots as the I/O thread has them: with guest memory, backends, network and entropy. */
import { must } from '../base/assert.ts';
import {
  type BlockBackend,
  CID_FIRST_GUEST,
  type ConsolePortOptions,
  type DeviceClock,
  type GuestMemory,
  type NetEvents,
  type P9Server,
  VirtioBalloon,
  VirtioBlock,
  VirtioConsole,
  VirtioNet,
  VirtioP9,
  VirtioRng,
  VirtioVsock,
  type Wiring,
} from '../devices/index.ts';
import type { FrameOffload, GuestOffload } from '../network/index.ts';
import type { Board } from './board.ts';
import type { SlotConfig, SlotDevice } from './board-shape.ts';
import type { FrameMemory } from './frame-memory.ts';
import type { HostPorts } from './host-ports.ts';
import { TICKS_PER_MS, TIMEBASE_HZ } from './virt-map.ts';

/** The guest's hardware address, if it is not given another: locally administered, in QEMU's range. */
export const DEFAULT_MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

/** The link's other end, as a guest's NIC has it. */
export interface SlotNetwork {
  receive(frame: Uint8Array, offload?: FrameOffload): void;
  setGuestOffload(offload: GuestOffload): void;
  setGuestReady(ready: boolean): void;
  readonly mtuBytes: number;
}

export interface SlotParts {
  /** The board, once it exists: devices are made while it is being built. */
  board(): Board;
  readonly backends: readonly BlockBackend[];
  /** Of the shared folders, in their order. */
  readonly shares?: readonly P9Server[];
  readonly network: SlotNetwork | undefined;
  /** Its hardware address, six bytes. */
  readonly mac?: Uint8Array;
  /** The network's driver has started anew, and read that address. */
  readonly onNetRestart?: () => void;
  /** The guest's context ID among sockets; CID_FIRST_GUEST by default. */
  readonly cid?: number;
  /** Of the console device; its own default where there are none. */
  readonly consolePorts?: readonly ConsolePortOptions[];
  readonly host: HostPorts;
}

export class IoSlots {
  readonly #parts: SlotParts;
  #underWay = 0;

  constructor(parts: SlotParts) {
    this.#parts = parts;
  }

  /** Requests that backends have not answered yet. */
  get underWay(): number {
    return this.#underWay;
  }

  make(slot: SlotConfig, wiring: Wiring, clock: DeviceClock): SlotDevice {
    let own: FrameMemory | undefined;
    const memory = () => (own ??= this.#parts.board().deviceMemory(slot));
    let door: GuestMemory | undefined;
    const dma = () => (door ??= this.#parts.board().dmaMemory(slot, memory()));
    const io = {
      memory: {
        read: (gpa: number, into: Uint8Array) => dma().read(gpa, into),
        write: (gpa: number, from: Uint8Array) => dma().write(gpa, from),
        spans: (gpa: number, sizeBytes: number, access: 'read' | 'write') => dma().spans(gpa, sizeBytes, access),
      },
      schedule: (complete: () => void) =>
        this.#parts.host.defer(() => {
          // What the backend wrote to guest memory is seen before the guest hears that it is there.
          memory().settle();
          this.#parts.board().locked(device, complete);
        }),
    };
    const device = this.#construct(slot, wiring, clock, io);
    return device;
  }

  #construct(
    slot: SlotConfig,
    wiring: Wiring,
    clock: DeviceClock,
    io: ConstructorParameters<typeof VirtioConsole>[1] & object,
  ): SlotDevice {
    switch (slot.kind) {
      case 'console':
        return new VirtioConsole(wiring, {
          ...io,
          ...(this.#parts.consolePorts === undefined ? {} : { ports: this.#parts.consolePorts }),
        });
      case 'rng':
        return new VirtioRng(wiring, {
          ...io,
          source: { fill: (into) => this.#parts.host.fillRandom(into) },
          clock,
          ticksPerSecond: TIMEBASE_HZ,
          ringAfter: (ticks) => void this.#parts.host.after(ticks / TICKS_PER_MS, () => wiring.doorbell.ring()),
        });
      case 'net':
        return new VirtioNet(wiring, {
          ...io,
          mac: this.#parts.mac ?? DEFAULT_MAC,
          offloads: true,
          ...pairsOf(slot),
          ...(this.#parts.network === undefined ? {} : { mtuBytes: this.#parts.network.mtuBytes }),
          ...this.#network(),
        });
      case 'vsock':
        return new VirtioVsock(wiring, { ...io, cid: this.#parts.cid ?? CID_FIRST_GUEST });
      case 'p9': {
        const server = must(this.#parts.shares?.[Number(slot.id.replace('share', ''))]);
        return new VirtioP9(wiring, { ...io, server: this.#countedServer(server) });
      }
      case 'balloon':
        return new VirtioBalloon(wiring, {
          ...io,
          giveBack: (ranges) => this.#parts.board().giveBack(slot, ranges),
        });
      case 'block': {
        const backend = must(this.#parts.backends[Number(slot.id.replace('disk', ''))]);
        return new VirtioBlock(wiring, {
          ...io,
          backend: this.#counted(backend),
          serial: slot.id,
          ...queuesOf(slot),
          report: (operation, cause) => this.#parts.host.diskFailed?.(slot.id, operation, cause),
        });
      }
    }
  }

  /** The link's other end. Its frames come in by VirtioNet.receive, which the machine's owner calls. */
  #network(): { port: { send(frame: Uint8Array, offload?: FrameOffload): void }; events: NetEvents } {
    const { network } = this.#parts;
    return {
      port: { send: (frame, offload) => network?.receive(frame, offload) },
      events: {
        offload: (offload) => {
          network?.setGuestOffload(offload);
          network?.setGuestReady(true);
        },
        room: () => network?.setGuestReady(true),
        restarted: () => this.#parts.onNetRestart?.(),
      },
    };
  }

  /** The server, with what it has not answered yet counted. */
  #countedServer(server: P9Server): P9Server {
    return {
      tag: server.tag,
      reset: () => server.reset(),
      refuse: (request, reply) => server.refuse(request, reply),
      answer: (request, reply) => {
        const answer = server.answer(request, reply);
        return typeof answer === 'number' ? answer : this.#whileUnderWay(answer);
      },
    };
  }

  async #whileUnderWay<T>(work: Promise<T>): Promise<T> {
    this.#underWay++;
    try {
      return await work;
    } finally {
      this.#underWay--;
    }
  }

  /** The backend, with its work under way counted: the instruction clock waits for it. */
  #counted(backend: BlockBackend): BlockBackend {
    const count = <A extends unknown[]>(method: (...args: A) => Promise<void> | void) => {
      return (...args: A): Promise<void> | void => {
        const result = method.apply(backend, args);
        if (!result) return;
        this.#underWay++;
        return result.finally(() => {
          this.#underWay--;
        });
      };
    };
    return {
      sizeBytes: backend.sizeBytes,
      readOnly: backend.readOnly,
      read: count(backend.read),
      write: count(backend.write),
      flush: count(backend.flush),
      ...(backend.discard ? { discard: count(backend.discard) } : {}),
      ...(backend.writeZeroes ? { writeZeroes: count(backend.writeZeroes) } : {}),
    };
  }
}

function queuesOf({ queues }: SlotConfig): { queues?: number } {
  return queues === undefined ? {} : { queues };
}

function pairsOf({ queues }: SlotConfig): { pairs?: number } {
  return queues === undefined ? {} : { pairs: queues };
}
