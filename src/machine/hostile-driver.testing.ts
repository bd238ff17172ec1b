/**
 * A hostile driver of the devices of a board: their registers on the bus, rings and buffers in the guest's memory, among
 * frames that the devices may not read, or not write. Those hold a canary, and buffers point into them, lie across their
 * borders, and rings and indirect tables lie in them. What a device reads for its host is collected: no byte of a canary
 * may be in it. What devices have written may be in no canary. Beside each frame lies one of another partition, full of a
 * canary of its own.
 */
import assert from 'node:assert/strict';
import { must } from '../base/assert.ts';
import { MemoryBackend, VirtioBlock } from '../devices/index.ts';
import { RIGHT } from '../engine/index.ts';
import { DOMAIN } from '../hypervisor/index.ts';
import { Board } from './board.ts';
import { boardConfig, partitionConfig } from './board-config.ts';
import { IoSlots } from './io-slots.ts';
import { IoThread } from './io-thread.ts';
import { Random } from './machine.testing.ts';
import { quickSlot } from './quick-slots.ts';
import { bareSlot, slotLayout } from './slots.ts';
import { virtioSlot } from './virt-map.ts';

const PAGE = 4096;
const BASE = 0x8000_0000;
const PAGES = 48;
const DISK_BYTES = 1 << 20;
/** Canaries of frames that may not be read, and of those that may not be written. What the driver itself writes is zero or small. */
const UNREADABLE = 0xc7;
const UNWRITABLE = 0xb9;
const OTHERS = 0xe3;
const QUEUE_SIZE = 16;
/** Registers of the transport (virtio 1.2, section 4.2.2). */
const REGISTER = {
  deviceFeatures: 0x10,
  deviceFeaturesSelect: 0x14,
  driverFeatures: 0x20,
  driverFeaturesSelect: 0x24,
  queueSelect: 0x30,
  queueNum: 0x38,
  queueReady: 0x44,
  notify: 0x50,
  status: 0x70,
  desc: 0x80,
  driver: 0x90,
  device: 0xa0,
} as const;
const DEFERRED_MOST = 1000;

export class HostileDriver {
  readonly board: Board;
  /** Refused accesses so far. */
  refused = 0;
  /** Buffers that came back. */
  used = 0;
  readonly #other: Board;
  readonly #io: IoThread;
  /** As the driver's processor has it: the same, or one that does the disk's requests at once. */
  readonly #bus: Board;
  readonly #disk = new MemoryBackend(DISK_BYTES);
  readonly #deferred: (() => void)[] = [];
  readonly #console: number[] = [];

  /** `quick`: the processor's thread does requests of the disk itself where it can. */
  constructor({ quick = false }: { readonly quick?: boolean } = {}) {
    const room = { partitions: 2, memoryBytes: 16 << 20 };
    const config = boardConfig({ memoryBytes: 4 << 20, network: false, vsock: {}, shares: [1], drives: [1], room });
    const host = {
      ...{ wallMs: () => 0, after: () => () => undefined },
      defer: (callback: () => void) => void this.#deferred.push(callback),
      fillRandom: (into: Uint8Array) => void into.fill(0x11),
    };
    const clock = { ticks: () => 0n, wallMs: () => 0 };
    const shares = [
      {
        ...{ tag: Uint8Array.of(0x73), reset: () => undefined, refuse: () => 11 },
        // What it reads is looked at, and what it writes is no canary, nor is its length, which stands in the used ring.
        answer: (request: Uint8Array, reply: Uint8Array) => {
          this.#console.push(...request);
          return Math.max(7, reply.fill(0x11).length & 0x7f7f);
        },
      },
    ];
    const slots = new IoSlots({
      ...{ board: () => this.board, backends: [this.#disk], shares, network: undefined, host },
    });
    this.board = Board.create(config, {
      ...{ clock, slotLayout },
      slot: (slot, wiring) => slots.make(slot, wiring, clock),
    });
    this.#bus = quick ? this.#quickBoard(clock) : this.board;
    const neighbour = partitionConfig({ memoryBytes: 4 << 20, network: false }, config);
    this.#other = Board.join(this.board.commons, neighbour, {
      ...{ clock, slotLayout },
      slot: bareSlot,
    });
    // One of each in turn: no two frames of one partition are neighbours.
    for (let page = 0; page < PAGES; page++) {
      this.board.guestMemory.setUp(BASE + page * PAGE, Uint8Array.of(1));
      this.#other.guestMemory.setUp(BASE + page * PAGE, new Uint8Array(PAGE).fill(OTHERS));
    }
    const frames = (board: Board): number[] =>
      Array.from({ length: PAGES }, (_, i) => board.map.frame(BASE / PAGE + i));
    const [own, others] = [frames(this.board), frames(this.#other)];
    assert.ok(own.every((frame, i) => others[i] === frame + 1));
    this.#io = new IoThread(this.board, host);
    this.#io.onConsole((bytes) => this.#console.push(...bytes));
  }

  /** The board on another thread. */
  #quickBoard(clock: { ticks(): bigint; wallMs(): number }): Board {
    const disk = {
      read: (offset: number, into: readonly Uint8Array[]) => this.#disk.read(offset, into) === undefined,
      write: (offset: number, from: readonly Uint8Array[]) => this.#disk.write(offset, from) === undefined,
      flush: () => this.#disk.flush() === undefined,
    };
    const slot = quickSlot({ board: () => board, processor: 0, disk: () => disk });
    const board: Board = Board.attach(this.board.commons, this.board.partition, { clock, slotLayout, slot });
    return board;
  }

  /** Requests of the disk that were done at once. */
  get atOnce(): number {
    const disk = this.board.virtioDevices.find((device) => device instanceof VirtioBlock);
    return must(disk).counters.atOnce;
  }

  /** One life of every device; throws where a canary was read or written. */
  run(seed: number): void {
    const random = new Random(seed);
    const { board } = this;
    const protection = must(board.protection);
    const devices = board.config.slots.map((_, i) => DOMAIN.firstDevice + i);
    const canaries = new Map<number, number>();
    const all = { domains: devices, rights: 7, isAllowed: true, first: BASE / PAGE, end: BASE / PAGE + PAGES };
    assert.ok(protection.tryChange(board, all) !== undefined);
    for (let page = 0; page < PAGES; page++) {
      const canary = random.below(4) === 0 ? random.pick([UNREADABLE, UNWRITABLE, 0xff]) : 0;
      const gpa = BASE + page * PAGE;
      // 0xff stands for both: nothing of it may be read, and nothing written.
      const denied = { 0: 0, [UNREADABLE]: RIGHT.read, [UNWRITABLE]: RIGHT.write, 255: 3 }[canary] ?? 0;
      board.guestMemory.setUp(gpa, new Uint8Array(PAGE).fill(canary));
      if (canary === 0) continue;
      canaries.set(page, canary);
      const change = { domains: devices, rights: denied, isAllowed: false };
      protection.tryChange(board, { ...change, first: gpa / PAGE, end: gpa / PAGE + 1 });
    }
    const before = this.#violations();
    board.config.slots.forEach((_, slot) => this.#drive(slot, random));
    this.refused += this.#violations() - before;
    this.#check(canaries, seed);
  }

  #violations(): number {
    const protection = must(this.board.protection);
    return this.board.config.slots.reduce(
      (sum, _, i) => sum + protection.violations(DOMAIN.firstDevice + i).reduce((all, count) => all + count),
      0,
    );
  }

  #drive(slot: number, random: Random): void {
    const { base } = virtioSlot(slot);
    const { mmio } = this.#bus;
    const write = (at: number, value: number): void => void mmio.write(base + at, 4, BigInt(value >>> 0));
    const read = (at: number): number => Number(mmio.read(base + at, 4) ?? 0n);
    write(REGISTER.status, 0);
    write(REGISTER.status, 3);
    // Indirect descriptors, and a disk's flush.
    write(REGISTER.deviceFeaturesSelect, 0);
    for (const [word, features] of [
      [0, read(REGISTER.deviceFeatures) & ((1 << 28) | (1 << 9))],
      [1, 1],
    ] as const) {
      write(REGISTER.driverFeaturesSelect, word);
      write(REGISTER.driverFeatures, features);
    }
    write(REGISTER.status, read(REGISTER.status) | 8);
    // Two queues, whose parts lie anywhere; mostly where the device may reach them.
    const rings = [0, 1].map((queue) => {
      const ring = { table: this.#aim(random, 16), driver: this.#aim(random, 2), device: this.#aim(random, 4) };
      write(REGISTER.queueSelect, queue);
      write(REGISTER.queueNum, QUEUE_SIZE);
      for (const [at, gpa] of [
        [REGISTER.desc, ring.table],
        [REGISTER.driver, ring.driver],
        [REGISTER.device, ring.device],
      ] as const) {
        write(at, gpa);
        write(at + 4, 0);
      }
      this.#put(ring.driver, new Uint8Array(4 + 2 * QUEUE_SIZE));
      this.#put(ring.device, new Uint8Array(4 + 8 * QUEUE_SIZE));
      write(REGISTER.queueReady, 1);
      return ring;
    });
    write(REGISTER.status, read(REGISTER.status) | 4);
    for (let turn = 0; turn < 12; turn++) {
      const queue = random.below(2);
      const { table, driver, device } = must(rings[queue]);
      this.#chain(random, table);
      this.#u16(driver + 4 + 2 * (turn % QUEUE_SIZE), 0);
      this.#u16(driver + 2, turn + 1);
      write(REGISTER.notify, queue);
      this.#serve();
      if (this.#u16at(device + 2) > 0 && this.#isOurs(device)) this.used++;
    }
  }

  /** A chain from the first descriptor on: what a request looks like, with buffers anywhere. */
  #chain(random: Random, table: number): void {
    const isBlock = random.below(2) === 0;
    // Header, sectors, status.
    const isWhole = isBlock && random.below(2) === 0;
    const count = isWhole ? 3 : 1 + random.below(4);
    const readable = isWhole ? 1 + random.below(2) : random.below(count + 1);
    const descriptors = new DataView(new ArrayBuffer(16 * count));
    for (let i = 0; i < count; i++) {
      const isHead = i === 0 && isBlock;
      const data = isWhole ? [512, 1024, 4096] : [1, 16, 512, 1024, 4096, 6000, 20_000];
      const bytes = isHead ? 16 : isWhole && i === 2 ? 1 : random.pick(data);
      const gpa = random.below(3) === 0 ? this.#border(random) : this.#aim(random, 1);
      if (isHead)
        this.#put(gpa, new Uint8Array(Uint32Array.of(random.pick([0, 1, 8]), 0, random.below(100), 0).buffer));
      descriptors.setUint32(16 * i, gpa, true);
      descriptors.setUint32(16 * i + 8, bytes, true);
      const isWrite = isHead ? false : i >= Math.max(readable, isBlock ? 1 : 0);
      descriptors.setUint16(16 * i + 12, (i + 1 < count ? 1 : 0) | (isWrite ? 2 : 0), true);
      descriptors.setUint16(16 * i + 14, i + 1, true);
    }
    const bytes = new Uint8Array(descriptors.buffer);
    if (random.below(3) > 0) {
      this.#put(table, bytes);
      return;
    }
    const other = this.#aim(random, 16);
    this.#put(other, bytes);
    this.#put(table, new Uint8Array(Uint32Array.of(other, 0, bytes.length, 4).buffer));
  }

  /** An address with some room behind it. */
  #aim(random: Random, align: number): number {
    return withoutCanary(() => {
      const at = BASE + random.below(PAGES - 6) * PAGE + random.below(PAGE);
      return at - (at % align);
    });
  }

  /** Just before a page ends. */
  #border(random: Random): number {
    return withoutCanary(() => BASE + (1 + random.below(PAGES - 7)) * PAGE - 1 - random.below(20));
  }

  /** The guest writes where it may, which its devices may not: but it leaves canaries alone. */
  #put(gpa: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++)
      if (this.#isOurs(gpa + i)) this.board.guestMemory.setUp(gpa + i, bytes.subarray(i, i + 1));
  }

  #isOurs(gpa: number): boolean {
    const protection = must(this.board.protection);
    const rights = protection.rights(DOMAIN.firstDevice, Math.floor(gpa / PAGE)) ?? 0;
    return (rights & 3) === 3;
  }

  #u16(gpa: number, value: number): void {
    this.#put(gpa, new Uint8Array(Uint16Array.of(value).buffer));
  }

  #u16at(gpa: number): number {
    const bytes = new Uint8Array(2);
    this.board.guestMemory.read(gpa, bytes);
    return must(new Uint16Array(bytes.buffer)[0]);
  }

  #serve(): void {
    this.#io.serve();
    for (let left = DEFERRED_MOST; left > 0; left--) {
      const next = this.#deferred.shift();
      if (next === undefined) break;
      next();
      this.#io.serve();
    }
  }

  #check(canaries: ReadonlyMap<number, number>, seed: number): void {
    for (const [page, canary] of canaries) {
      if (canary === UNREADABLE) continue;
      const bytes = new Uint8Array(PAGE);
      this.board.guestMemory.read(BASE + page * PAGE, bytes);
      assert.ok(
        bytes.every((byte) => byte === canary),
        `seed ${seed}: a canary was written`,
      );
    }
    for (let page = 0; page < PAGES; page++) {
      const bytes = new Uint8Array(PAGE);
      this.#other.guestMemory.read(BASE + page * PAGE, bytes);
      assert.ok(
        bytes.every((byte) => byte === OTHERS),
        `seed ${seed}: another partition's page ${page} was written`,
      );
    }
    const disk = new Uint8Array(DISK_BYTES);
    this.#disk.read(0, [disk]);
    assert.ok(!disk.some(isSecret), `seed ${seed}: the disk got a canary`);
    assert.ok(!this.#console.some(isSecret), `seed ${seed}: the console got a canary`);
  }
}

function isSecret(byte: number): boolean {
  return byte === UNREADABLE || byte === 0xff || byte === OTHERS;
}

/** Addresses stand in descriptors, which devices may read as data, too. */
function withoutCanary(draw: () => number): number {
  for (;;) {
    const address = draw();
    if (!isSecret(address & 0xff) && !isSecret((address >>> 8) & 0xff)) return address;
  }
}
