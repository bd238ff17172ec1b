/**
 * Enumerates a fabric as Linux does (drivers/pci/probe.c and setup-bus.c, as read): depth first, bus numbers as they come,
 * BARs sized and placed from the leaves up, each port's windows around what is behind it. The test's own reading of the
 * specification, apart from the model's.
 */
import assert from 'node:assert/strict';
import type { AccessBytes } from '../device.ts';

/** Configuration accesses by bus, device and function. */
export interface ConfigAccess {
  read(bus: number, device: number, func: number, at: number, bytes: AccessBytes): number;
  write(bus: number, device: number, func: number, at: number, bytes: AccessBytes, value: number): void;
}

/** By ECAM at a guest-physical address. */
export function ecamAccess(
  ecam: number,
  machine: {
    read(gpa: number, bytes: AccessBytes): number | undefined;
    write(gpa: number, bytes: AccessBytes, value: number): void;
  },
): ConfigAccess {
  const at = (bus: number, device: number, func: number) => ecam + bus * 2 ** 20 + device * 2 ** 15 + func * 2 ** 12;
  return {
    read: (bus, device, func, offset, bytes) => machine.read(at(bus, device, func) + offset, bytes) ?? 0,
    write: (bus, device, func, offset, bytes, value) =>
      machine.write(at(bus, device, func) + offset, bytes, value >>> 0),
  };
}

export interface FoundBar {
  readonly index: number;
  readonly kind: 'io' | 'memory' | 'prefetchable';
  readonly is64: boolean;
  readonly sizeBytes: number;
  base: number;
}

export interface FoundFunction {
  readonly bus: number;
  readonly device: number;
  readonly func: number;
  readonly vendor: number;
  readonly deviceId: number;
  readonly capabilities: number[];
  readonly bars: FoundBar[];
  /** Of a bridge: what is behind it. */
  readonly behind?: FoundFunction[];
  readonly secondary?: number;
}

/** Where the next BAR of a kind goes. */
export interface Room {
  io: number;
  memory: number;
  prefetchable: number;
}

const MOST_CAPABILITIES = 48;
const WINDOW = { io: 0x1000, memory: 0x10_0000, prefetchable: 0x10_0000 } as const;

export class BusScan {
  readonly functions: FoundFunction[];
  readonly #access: ConfigAccess;
  #lastBus = 0;

  constructor(access: ConfigAccess) {
    this.#access = access;
    this.functions = this.#scan(0);
  }

  /** All functions, those behind bridges behind their bridge. */
  get all(): FoundFunction[] {
    const flat = (list: FoundFunction[]): FoundFunction[] => list.flatMap((one) => [one, ...flat(one.behind ?? [])]);
    return flat(this.functions);
  }

  /** Places everything from `room` on, and enables it. */
  assign(room: Room): void {
    this.#assign(this.functions, room);
  }

  #scan(bus: number): FoundFunction[] {
    const found: FoundFunction[] = [];
    for (let device = 0; device < 32; device++) {
      const first = this.#access.read(bus, device, 0, 0, 4);
      if (first === 0xffff_ffff) continue;
      const isMulti = (this.#access.read(bus, device, 0, 0x0e, 1) & 0x80) !== 0;
      for (let func = 0; func < (isMulti ? 8 : 1); func++) {
        if (this.#access.read(bus, device, func, 0, 2) !== 0xffff) found.push(this.#probe(bus, device, func));
      }
    }
    return found;
  }

  #probe(bus: number, device: number, func: number): FoundFunction {
    const read = (at: number, bytes: AccessBytes) => this.#access.read(bus, device, func, at, bytes);
    const write = (at: number, bytes: AccessBytes, value: number) =>
      this.#access.write(bus, device, func, at, bytes, value);
    const isBridge = (read(0x0e, 1) & 0x7f) === 1;
    // Decoding is off while BARs are sized.
    const command = read(4, 2);
    write(4, 2, command & ~3);
    const bars = this.#size(read, write, isBridge ? 2 : 6);
    write(4, 2, command);
    const one = {
      ...{ bus, device, func, vendor: read(0, 2), deviceId: read(2, 2), bars },
      capabilities: this.#capabilities(read),
    };
    if (!isBridge) return one;
    const secondary = ++this.#lastBus;
    write(0x18, 1, bus);
    write(0x19, 1, secondary);
    write(0x1a, 1, 0xff);
    const behind = this.#scan(secondary);
    write(0x1a, 1, this.#lastBus);
    return { ...one, behind, secondary };
  }

  #capabilities(read: (at: number, bytes: AccessBytes) => number): number[] {
    if ((read(6, 2) & 0x10) === 0) return [];
    const ids: number[] = [];
    for (let at = read(0x34, 1); at !== 0; at = read(at + 1, 1)) {
      assert.ok(ids.length < MOST_CAPABILITIES && at >= 0x40, 'the list of capabilities is broken');
      ids.push(read(at, 1));
    }
    return ids;
  }

  #size(
    read: (at: number, bytes: AccessBytes) => number,
    write: (at: number, bytes: AccessBytes, value: number) => void,
    count: number,
  ): FoundBar[] {
    const bars: FoundBar[] = [];
    const probe = (at: number): number => {
      const before = read(at, 4);
      write(at, 4, 0xffff_ffff);
      const mask = read(at, 4);
      write(at, 4, before);
      return mask;
    };
    for (let index = 0; index < count; index++) {
      const at = 0x10 + 4 * index;
      const low = probe(at);
      if (low === 0) continue;
      const isIo = (low & 1) !== 0;
      const is64 = !isIo && (low & 4) !== 0;
      const mask = BigInt(low & (isIo ? ~3 : ~15)) & 0xffff_ffffn;
      const whole = is64 ? (BigInt(probe(at + 4)) << 32n) | mask : 0xffff_ffff_0000_0000n | mask;
      const kind = isIo ? 'io' : (low & 8) !== 0 && is64 ? 'prefetchable' : 'memory';
      bars.push({ index, kind, is64, sizeBytes: Number((1n << 64n) - whole), base: 0 });
      if (is64) index++;
    }
    return bars;
  }

  #assign(functions: FoundFunction[], room: Room): void {
    for (const one of functions) {
      const { bus, device, func, behind } = one;
      const write = (at: number, bytes: AccessBytes, value: number) =>
        this.#access.write(bus, device, func, at, bytes, value);
      if (behind !== undefined) this.#assignWindows(one, behind, room, write);
      for (const bar of one.bars) {
        bar.base = Math.ceil(room[bar.kind] / bar.sizeBytes) * bar.sizeBytes;
        room[bar.kind] = bar.base + bar.sizeBytes;
        write(0x10 + 4 * bar.index, 4, bar.base % 2 ** 32);
        if (bar.is64) write(0x14 + 4 * bar.index, 4, Math.floor(bar.base / 2 ** 32));
      }
      write(4, 2, 7);
    }
  }

  #assignWindows(
    one: FoundFunction,
    behind: FoundFunction[],
    room: Room,
    write: (at: number, bytes: AccessBytes, value: number) => void,
  ): void {
    for (const kind of ['io', 'memory', 'prefetchable'] as const)
      room[kind] = Math.ceil(room[kind] / WINDOW[kind]) * WINDOW[kind];
    const start = { ...room };
    this.#assign(behind, room);
    for (const kind of ['io', 'memory', 'prefetchable'] as const)
      room[kind] = Math.ceil(room[kind] / WINDOW[kind]) * WINDOW[kind];
    const last = (kind: keyof Room) => room[kind] - 1;
    assert.ok(one.secondary !== undefined);
    if (room.io > start.io) write(0x1c, 2, ((start.io >> 8) & 0xf0) | (last('io') & 0xf000));
    if (room.memory > start.memory)
      write(0x20, 4, ((start.memory / 65536) & 0xfff0) | ((Math.floor(last('memory') / 65536) & 0xfff0) * 65536));
    if (room.prefetchable > start.prefetchable) {
      const field = (address: number) => (Math.floor(address / 65536) % 65536) & 0xfff0;
      write(0x24, 4, field(start.prefetchable) + field(last('prefetchable')) * 65536);
      write(0x28, 4, Math.floor(start.prefetchable / 2 ** 32));
      write(0x2c, 4, Math.floor(last('prefetchable') / 2 ** 32));
    }
  }
}
