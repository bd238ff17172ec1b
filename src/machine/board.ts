/**
 * A machine's board: memory, vCPUs, interrupt controllers, devices and the bus, wired as QEMU's `virt`. Every thread
 * of a machine builds the same board over the same memory, in the same order, so that all blocks fall at the same
 * addresses; the first one resets it. Only the I/O thread's board is given guest memory and backends, and serves
 * queues.
 *
 * Long: one thing is wired in one place, and what its blocks take is counted beside.
 */
import { must } from '../base/assert.ts';
import { OperatorError } from '../base/errors.ts';
import { SharedLock } from '../base/lock.ts';
import { type AnyLayout, roundUp } from '../base/struct.ts';
import {
  Aclint,
  type BusBytes,
  type Device,
  type Finish,
  GenerationId,
  type GuestMemory,
  INTX_PINS,
  type InterruptLine,
  MmioTransport,
  type Model,
  type PageRange,
  PciFabric,
  Rtc,
  readDevice,
  requesterId,
  requesterOf,
  TestFinisher,
  Uart,
  writeDevice,
} from '../devices/index.ts';
import {
  FRAME_BYTES,
  GuestPhysicalMap,
  MachineMemory,
  type ProtectionPlan,
  ProtectionTables,
  placeShadows,
  REACH,
  REQUEST,
  shadowBytes,
  vcpuState,
} from '../engine/index.ts';
import {
  BY_DEVICE,
  BY_SBI,
  DOMAIN,
  type EmulationOptions,
  type Exclusion,
  HART,
  hartBlock,
  IRQ,
  type MmioPort,
  Protection,
  protectionBlock,
  RUN,
  type Scheduled,
  type Scheduler,
  Vcpu,
  World,
  worldBlock,
} from '../hypervisor/index.ts';
import { FEATURE, parseCpuModel } from '../isa/index.ts';
import type { BoardConfig, BoardPorts, SlotConfig, SlotDevice } from './board-shape.ts';
import type { BootPlan } from './boot/index.ts';
import { Commons, machineFrames, type Seat } from './commons.ts';
import { EmptySlot } from './empty-slot.ts';
import { FrameMemory } from './frame-memory.ts';
import { HYPERVISOR_START, SUPERVISOR_START } from './hart-start.ts';
import { controllerBytes, type InterruptController, makeController } from './interrupt-controller.ts';
import {
  type BoardFunction,
  type FunctionConfig,
  functionLayouts,
  makeFunction,
  type PciConfig,
  pciAddresses,
  pciBytes,
} from './pci-functions.ts';
import { VIRT, VIRTIO_SLOTS, virtioSlot } from './virt-map.ts';

interface Mapped {
  readonly base: number;
  readonly end: number;
  readonly device: Device;
  readonly lock: SharedLock;
}

/** Doorbell numbers of devices that are not in a slot. */
export const DOORBELL = { interrupts: 31, uart: 30, rtc: 29 } as const;
const LOCK_BYTES = 64;
/** At most, of a configuration in memory. */
const CONFIG_BYTES = 64 * 1024;
/** Looking at a vCPU's fresh pages may drop its write translations: not for a page or two. */
const FRESH_LEAST = 63;

export class Board {
  readonly config: BoardConfig;
  /** Its number in the machine. */
  readonly partition: number;
  readonly commons: Commons;
  readonly memory: MachineMemory;
  readonly map: GuestPhysicalMap;
  readonly vcpus: readonly Vcpu[];
  readonly world: World;
  readonly uart: Uart;
  readonly rtc: Rtc;
  readonly generation: GenerationId;
  readonly interrupts: InterruptController;
  readonly aclint: Aclint;
  readonly slots: readonly SlotDevice[];
  /** Absent where the configuration has none. */
  readonly pci: PciFabric<FunctionConfig, BoardFunction> | undefined;
  /** Guest-physical memory as the operator has it: for boot and debuggers. */
  readonly guestMemory: FrameMemory;
  /** As the kernel has it, which the SBI reads and writes for. */
  readonly kernelMemory: FrameMemory;
  /** None where protection is off. */
  readonly protection: Protection | undefined;
  readonly mmio: MmioPort;
  /** Its claim on the processors, as it stands (cap.ts). */
  share: BoardConfig['share'];
  readonly #devices: Mapped[] = [];
  readonly #models: { readonly model: Model; readonly lock: SharedLock }[] = [];
  /** What was looked up there. */
  readonly #lockOf = new Map<Model, SharedLock>();
  readonly #locks: Int32Array;
  readonly #seat: Seat;
  /** Linear addresses of the harts' shadows. */
  readonly #shadowBlocks: readonly number[];
  #lastHit: Mapped | undefined;
  /** Accesses to addresses where nothing is. */
  unmapped = 0;

  /** Makes the memory and the first board. */
  static create(config: BoardConfig, ports: BoardPorts): Board {
    const { room } = config;
    const memory = MachineMemory.create({
      width: config.width,
      shared: config.shared,
      blockBytes:
        Commons.sizeBytes(config) +
        CONFIG_BYTES +
        Board.#blockBytes(config, ports, machineFrames(config)) +
        (room?.blockBytes ?? 0),
      codeBytes: config.codeBytes,
      frames: machineFrames(config),
      overlays: config.overlays,
      totalStoreOrder: ports.hasTotalStoreOrder ?? false,
    });
    const commons = new Commons(config, memory);
    commons.scheduler?.start();
    return Board.join(commons, config, ports);
  }

  /** Makes another board in a machine that there is: on the thread that made the machine. */
  static join(commons: Commons, config: BoardConfig, ports: BoardPorts, options: { isTwin?: boolean } = {}): Board {
    const seat = commons.seat(config, Board.#blockBytes(config, ports, commons.frames), options);
    const board = new Board(config, commons, seat, ports);
    board.#powerOn();
    return board;
  }

  /** Wraps the board of a partition that another thread has made. */
  static attach(commons: Commons, partition: number, ports: BoardPorts): Board {
    return new Board(commons.configOf(partition), commons, commons.seatOf(partition), ports);
  }

  private constructor(config: BoardConfig, commons: Commons, seat: Seat, ports: BoardPorts) {
    const { memory } = commons;
    this.config = config;
    this.share = config.share;
    this.partition = seat.partition;
    this.commons = commons;
    this.memory = memory;
    this.#seat = seat;
    this.#locks = new Int32Array(memory.buffer);
    memory.beginBlocks(seat);
    const pages = (VIRT.ram.base + config.memoryBytes) / FRAME_BYTES;
    this.map = new GuestPhysicalMap(memory, memory.block(pages * 4), pages);
    this.vcpus = Array.from({ length: config.harts }, (_, id) => {
      const { scheduler } = commons;
      const scheduled: Scheduled | undefined = scheduler && { scheduler, number: seat.firstVcpu + id };
      return new Vcpu(memory, id, memory.block(vcpuState.sizeBytes), memory.block(hartBlock.sizeBytes), scheduled);
    });
    this.#shadowBlocks = this.vcpus.map(() => memory.block(shadowBytes(config.shadows)));
    this.world = new World(memory, memory.block(worldBlock.sizeBytes), this.vcpus);
    this.protection = this.#protect();
    this.guestMemory = new FrameMemory(memory, this.map);
    this.kernelMemory = this.#memoryOf(DOMAIN.kernel, BY_SBI);
    const block = (layout: AnyLayout) => ({ buffer: memory.buffer, at: memory.block(layout.sizeBytes) });
    const doorbell = (number: number) => ({ ring: () => this.world.ring(number) });

    this.interrupts = makeController({
      ...{ aia: config.aia, aiaGuests: config.aiaGuests, vcpus: this.vcpus, hasMachineMode: !this.hasSbi },
      block,
      map: (base, device, lock) => this.#mapDevice(base, device, lock),
    });
    const line = (source: number): InterruptLine => this.interrupts.line(source);

    const aclintAt = { buffer: memory.buffer, at: memory.block(aclintBytes(config.harts)) };
    this.aclint = new Aclint('clint@2000000', aclintAt, config.harts, {
      clock: ports.clock,
      out: {
        setSoftware: (hart, level) => must(this.vcpus[hart]).setLine(IRQ.msi, level),
        setTimerDeadline: (hart, ticks) => {
          const vcpu = must(this.vcpus[hart]);
          vcpu.hart.machineDeadline = ticks;
          vcpu.setLine(IRQ.mti, BigInt(ports.clock.ticks()) >= ticks);
          vcpu.wake();
        },
        setTimeOffset: (ticks) => {
          for (const vcpu of this.vcpus) vcpu.state.timeOffset = ticks;
        },
      },
    });
    this.#mapDevice(VIRT.clint.base, this.aclint);
    this.uart = new Uart('serial@10000000', block(Uart.layout), {
      line: line(VIRT.uart.irq),
      doorbell: doorbell(DOORBELL.uart),
    });
    this.#mapDevice(VIRT.uart.base, this.uart);
    this.rtc = new Rtc('rtc@101000', block(Rtc.layout), {
      clock: ports.clock,
      line: line(VIRT.rtc.irq),
      wakeAt: (wallMs) => {
        this.world.block.rtcWakeMs = BigInt(Math.ceil(wallMs ?? 0));
        this.world.ring(DOORBELL.rtc);
      },
    });
    this.#mapDevice(VIRT.rtc.base, this.rtc);
    const { base, irq } = VIRT.generation;
    this.generation = new GenerationId('vmgenid@102000', block(GenerationId.layout), line(irq));
    this.#mapDevice(base, this.generation);
    this.#mapDevice(
      VIRT.test.base,
      new TestFinisher('test@100000', block(TestFinisher.layout), { finish: (wish) => this.finish(wish) }),
    );
    this.slots = config.slots.map((slot, i) => {
      const { base, irq } = virtioSlot(i);
      const device = ports.slot(slot, {
        name: slot.id,
        block: block(ports.slotLayout(slot)),
        doorbell: doorbell(i),
      });
      const place = { name: `virtio_mmio@${base.toString(16)}`, block: block(MmioTransport.layout), irq: line(irq) };
      const lock = this.#mapDevice(base, new MmioTransport(device, place));
      this.#models.push({ model: device, lock });
      return device;
    });
    for (let i = config.slots.length; i < VIRTIO_SLOTS; i++) {
      const { base } = virtioSlot(i);
      this.#mapDevice(base, new EmptySlot(`virtio_mmio@${base.toString(16)}`, block(EmptySlot.layout)));
    }
    commons.interrupts?.join(this.partition, {
      controller: this.interrupts,
      isRunning: () => this.world.run === RUN.running,
      ticks: () => ports.clock.ticks(),
      ring: () => this.world.ring(DOORBELL.interrupts),
    });
    this.pci = config.pci && this.#makePci(config.pci, ports);
    this.mmio = {
      read: (gpa, bytes, isOff) => this.#read(gpa, bytes, isOff),
      write: (gpa, bytes, value, isOff) => this.#write(gpa, bytes, value, isOff),
    };
    this.map.copySeen = (copy) => this.#whileOutside(copy);
  }

  /** A page whose frame others have too gets one of its own, for a vCPU that is outside the engine. False: there is none. */
  ownPage(vcpu: Vcpu, page: number): boolean {
    if (this.vcpus.length > 1) return this.map.own(page) !== 0;
    const isDone = this.map.own(page, (copy) => {
      copy();
      return true;
    });
    vcpu.forgetTranslations();
    return isDone !== 0;
  }

  /**
   * Changes which frames pages have, while no processor is in the engine and nobody emulates; all vCPUs forget their
   * translations. False, and nothing is done: somebody else keeps the processors outside.
   */
  #whileOutside(change: () => void): boolean {
    return this.commons.exclusion.exclude(() =>
      this.memory.withCode(() => {
        change();
        for (const vcpu of this.vcpus) vcpu.request(REQUEST.forget);
      }),
    );
  }

  /** The built-in SBI serves the guest: there is no firmware, and nothing executes in machine mode. */
  get hasSbi(): boolean {
    return (this.config.features & FEATURE.sbi) !== 0n;
  }

  /** For runners: what to emulate and to trap. */
  get emulation(): EmulationOptions {
    const { cpu, overlays, policies } = this.config;
    const numbers = new Map(policies.flatMap(({ row }, i) => (row === undefined ? [] : [[row, i + 1] as const])));
    return {
      ...parseCpuModel(cpu),
      overlay: overlays > 0,
      policyOf: (row) => numbers.get(row),
    };
  }

  /** Guest-physical memory as the device in that slot, or behind that function, may reach it. */
  deviceMemory(slot: SlotConfig): FrameMemory {
    return this.#memoryOf(this.#domainOf(slot), BY_DEVICE);
  }

  /** The same as the device has it: behind its function's Bus Master Enable, if it is one. */
  dmaMemory(slot: SlotConfig, memory: GuestMemory): GuestMemory {
    const made = this.pci?.functions.find(({ config }) => config.id === slot.id);
    return made === undefined ? memory : made.func.memory(memory);
  }

  #domainOf({ id }: SlotConfig): number {
    return DOMAIN.firstDevice + dmaDevices(this.config).indexOf(id);
  }

  #makePci(config: PciConfig, ports: BoardPorts): PciFabric<FunctionConfig, BoardFunction> {
    const block = (layout: AnyLayout) => ({ buffer: this.memory.buffer, at: this.memory.block(layout.sizeBytes) });
    const port = must(this.commons.interrupts).fabric.portOf(this.partition);
    const place = {
      ...{ block, lock: () => this.#newLock(), transactionPort: () => port },
      map: (base: number, window: Device) => void this.#mapDevice(base, window),
      keep: (model: Model, lock: SharedLock) => void this.#models.push({ model, lock }),
      doorbell: (index: number) => ({ ring: () => this.world.ring(pciDoorbell(index)) }),
    };
    return new PciFabric(...([config, pciAddresses(this.config.memoryBytes), place] as const), {
      layouts: (one) => functionLayouts(one, ports),
      make: (one, seat) => makeFunction(one, seat, ports),
    });
  }

  /** Who interrupts by PCI Express, as the partition's fabric numbers them. */
  get requesters(): number[] {
    const { pci } = this.config;
    return pci === undefined
      ? []
      : [...pci.ports.map(rootRequester), ...pci.functions.map((one) => requesterOf(one, pci))];
  }

  /** To be called when all other threads were ended, in the middle of whatever they did: what they held is free. */
  freeLocks(): void {
    for (const { lock } of this.#models) lock.release();
    for (const { func } of this.pci?.functions ?? []) func.interrupts.freeLock();
    for (const vcpu of this.vcpus) vcpu.freeLock();
  }

  /** Its functions interrupt nobody any more: it ends, and others do not know it soon. */
  leaveInterrupts(): void {
    this.commons.interrupts?.leave(this.partition, this.requesters);
  }

  /** Every virtio device, whatever its transport. */
  get virtioDevices(): readonly SlotDevice[] {
    return [...this.slots, ...(this.pci?.functions ?? []).map(({ device }) => device)];
  }

  /** Every device and every transport, for reset, save and restore. */
  get devices(): readonly Model[] {
    return this.#models.map(({ model }) => model);
  }

  /** Runs `body` with the device's lock held. */
  locked<T>(device: Model, body: () => T): T {
    return this.lockOf(device).with(body);
  }

  /** Shared by a device and its transport, by an APLIC and its child. */
  lockOf(device: Model): SharedLock {
    let lock = this.#lockOf.get(device);
    if (lock === undefined) {
      ({ lock } = must(this.#models.find(({ model }) => model === device)));
      this.#lockOf.set(device, lock);
    }
    return lock;
  }

  /** The SBI's console is the UART. */
  consoleWrite(bytes: Uint8Array): number {
    return this.locked(this.uart, () => this.uart.emit(bytes));
  }

  consoleRead(limit: number): Uint8Array {
    return this.locked(this.uart, () => this.uart.take(limit));
  }

  /** Loads a boot plan and puts the harts where it says. Before any vCPU runs. */
  load(plan: BootPlan): void {
    for (const { gpa, bytes } of plan.segments) {
      if (!this.guestMemory.setUp(gpa, bytes))
        throw new OperatorError(
          'memory-too-small',
          'the guest has too little memory for its kernel',
          'Give it more with -m.',
        );
    }
    for (const vcpu of this.vcpus) {
      const { state } = vcpu;
      if (plan.mode === 'M') {
        state.pc = BigInt(plan.entry);
        state.x[10] = BigInt(vcpu.id);
        state.x[11] = BigInt(plan.fdtAddress);
        continue;
      }
      // What firmware would have set up: all memory open, traps and interrupts delegated, counters readable.
      Object.assign(state, SUPERVISOR_START);
      if ((state.features & FEATURE.h) !== 0n) Object.assign(state, HYPERVISOR_START);
      vcpu.status = vcpu.id === 0 ? HART.started : HART.stopped;
      state.mode = 1n;
      state.pc = BigInt(plan.entry);
      state.x[10] = BigInt(vcpu.id);
      state.x[11] = BigInt(plan.fdtAddress);
    }
  }

  /** Absent where one thread runs all harts in turns. */
  get scheduler(): Scheduler | undefined {
    return this.commons.scheduler;
  }

  /** The harts run from now on, as soon as there are processors. */
  schedule(): void {
    const { scheduler, partition } = this;
    this.commons.announce(partition);
    if (scheduler === undefined) return;
    scheduler.addShare(partition, this.share);
    for (const { id } of this.vcpus) scheduler.add(this.#seat.firstVcpu + id, partition, id % scheduler.processors);
  }

  /** The machine's barrier, for changes under vCPUs that run. */
  get exclusion(): Exclusion {
    return this.commons.exclusion;
  }

  /** Whether processors may still run one of the harts. */
  get isScheduled(): boolean {
    return this.vcpus.some(({ scheduled }) => scheduled?.scheduler.has(scheduled.number) === true);
  }

  /**
   * The frames go back to the machine's pool, but for those that others have too. No hart is scheduled, no device reaches its
   * memory any more.
   */
  giveFrames(): void {
    const had: number[] = [];
    for (const { host } of this.map.present()) had.push(host / FRAME_BYTES);
    const spares = this.vcpus.flatMap(({ state }) => [...state.spares.subarray(0, state.spareFrames)]);
    this.#giveToPool(had, spares);
  }

  /**
   * Pages that the guest gives back: their frames go to the machine's pool, as when it ends. How many those were. On the
   * I/O thread: its devices have no addresses of guest memory then. `slot`: the device that is told so. A page that it or the
   * kernel may not write stays: what comes next would be zeros.
   */
  giveBack(slot: SlotConfig, ranges: readonly PageRange[]): number {
    const pages = ranges.flatMap(({ first, count }) => {
      const length = Math.max(0, Math.min(first + count, this.map.pages) - first);
      return Array.from({ length }, (_, i) => first + i).filter((page) => this.#mayGiveBack(slot, page));
    });
    if (pages.length === 0) return 0;
    const had: number[] = [];
    const release = (): void => {
      for (const page of pages) {
        const frame = this.map.release(page);
        if (frame !== 0) had.push(frame);
      }
    };
    while (!this.#whileOutside(release));
    this.#giveToPool(had);
    return had.length;
  }

  #mayGiveBack(slot: SlotConfig, page: number): boolean {
    const frame = this.map.frame(page);
    const { protection } = this;
    if (frame === 0 || protection === undefined) return frame !== 0;
    const domains = [this.#domainOf(slot), DOMAIN.kernel];
    return domains.every((domain) =>
      protection.permits(domain, frame * FRAME_BYTES, page * FRAME_BYTES, REACH.store, BY_DEVICE),
    );
  }

  /** Frames that no page of the partition has any more; those that others have too stay theirs. */
  #giveToPool(had: readonly number[], spares: readonly number[] = []): void {
    const { protection } = this;
    protection?.exclusive(() => {
      for (const frame of [...had, ...spares]) protection.take(frame);
    });
    const frames = [...this.memory.leaveFrames(had), ...spares];
    while (!this.commons.exclusion.exclude(() => this.memory.forgetFrames(frames)));
    this.memory.giveFrames(frames);
  }

  finish(wish: Finish): void {
    if (wish.kind === 'poweroff') this.world.finish(RUN.poweroff, 0);
    else if (wish.kind === 'reset') this.world.finish(RUN.reboot, 0);
    else this.world.finish(RUN.failure, wish.code);
  }

  #powerOn(): void {
    const { config, map } = this;
    map.declare(VIRT.ram.base, config.memoryBytes, { readOnly: false });
    map.declare(VIRT.resetRom.base, VIRT.resetRom.sizeBytes, { readOnly: true });
    this.protection?.powerOn();
    const functions = this.requesters.map((requester) => {
      const lines = Array.from({ length: INTX_PINS }, (_, pin) => must(this.pci).lineOf(requester, pin + 1));
      return { requester, sources: lines.map((line) => VIRT.pcieEcam.irq + line) };
    });
    this.commons.interrupts?.add(this.partition, functions);
    for (const { model } of this.#models) model.reset();
    this.interrupts.start();
    for (const vcpu of this.vcpus) {
      const { state, hart } = vcpu;
      state.gpaMap = BigInt(map.at);
      state.gpaPages = BigInt(map.pages);
      state.features = config.features;
      state.misa = config.misa;
      state.guestFiles = (config.features & FEATURE.h) === 0n ? 0n : BigInt(config.aiaGuests);
      state.mhartid = BigInt(vcpu.id);
      state.partition = this.partition;
      state.mode = 3n;
      state.mstatus = 0xa_0000_0000n;
      state.stimecmp = (1n << 64n) - 1n;
      state.clockMode = config.clock === 'instructions' ? 1 : 0;
      state.hasPeers = config.harts > 1 ? 1 : 0;
      state.freshLeast = FRESH_LEAST;
      state.seenMarks = this.memory.header.marks;
      hart.seenFlushes = this.memory.header.codeFlushes;
      hart.seenDecoded = this.memory.header.decodedEpoch;
      state.seenOverlays = this.memory.header.overlayEpoch;
      hart.sbiDeadline = (1n << 64n) - 1n;
      hart.machineDeadline = (1n << 64n) - 1n;
      placeShadows(this.memory, state, must(this.#shadowBlocks[vcpu.id]), config.shadows);
    }
  }

  #protect(): Protection | undefined {
    const { config, memory, map, vcpus } = this;
    if (!config.protection) return undefined;
    const plan = protectionPlan(config, this.commons.frames);
    const tables = new ProtectionTables(memory, memory.block(ProtectionTables.sizeBytes(plan)), plan);
    const devices = dmaDevices(config);
    return new Protection(memory, memory.block(protectionBlock.sizeBytes), { tables, map, vcpus, devices });
  }

  #memoryOf(domain: number, by: number): FrameMemory {
    const { protection } = this;
    if (protection === undefined) return this.guestMemory;
    return new FrameMemory(this.memory, this.map, (host, gpa, access) =>
      protection.permits(domain, host, gpa, access === 'read' ? REACH.load : REACH.store, by),
    );
  }

  /** Without a base nobody reaches it. */
  #mapDevice(base: number | undefined, device: Device, shared?: SharedLock): SharedLock {
    const lock = shared ?? this.#newLock();
    const window = base === undefined ? { base: 0, end: 0 } : { base, end: base + device.sizeBytes };
    this.#devices.push({ ...window, device, lock });
    this.#models.push({ model: device, lock });
    return lock;
  }

  #newLock(): SharedLock {
    return new SharedLock(this.#locks, this.memory.block(LOCK_BYTES) / 4);
  }

  #find(gpa: number, bytes: number): Mapped | undefined {
    const last = this.#lastHit;
    if (last && gpa >= last.base && gpa + bytes <= last.end) return last;
    const found = this.#devices.find(({ base, end }) => gpa >= base && gpa + bytes <= end);
    if (found) this.#lastHit = found;
    else this.unmapped++;
    return found;
  }

  #read(gpa: number, bytes: number, isOff?: () => boolean): bigint | undefined | 'busy' {
    const found = this.#find(gpa, bytes);
    return found && readDevice(found, gpa - found.base, bytes as BusBytes, isOff);
  }

  #write(gpa: number, bytes: number, value: bigint, isOff?: () => boolean): boolean | 'busy' {
    const found = this.#find(gpa, bytes);
    if (!found) return false;
    return writeDevice(found, gpa - found.base, bytes as BusBytes, value, isOff) === 'busy' ? 'busy' : true;
  }

  /** Bytes that the blocks of such a board take, alignment included. */
  static #blockBytes(config: BoardConfig, ports: BoardPorts, frames: number): number {
    const pages = (VIRT.ram.base + config.memoryBytes) / FRAME_BYTES;
    const controller = controllerBytes(config.harts, config);
    const sizes = [
      pages * 4,
      ...new Array<number>(config.harts).fill(
        vcpuState.sizeBytes + hartBlock.sizeBytes + shadowBytes(config.shadows) + 192,
      ),
      worldBlock.sizeBytes,
      ...(config.protection
        ? [ProtectionTables.sizeBytes(protectionPlan(config, frames)), protectionBlock.sizeBytes]
        : []),
      controller.bytes,
      aclintBytes(config.harts),
      Uart.layout.sizeBytes,
      Rtc.layout.sizeBytes,
      GenerationId.layout.sizeBytes,
      TestFinisher.layout.sizeBytes,
      ...config.slots.flatMap((slot) => [ports.slotLayout(slot).sizeBytes, MmioTransport.layout.sizeBytes]),
      ...new Array<number>(VIRTIO_SLOTS).fill(EmptySlot.layout.sizeBytes),
    ];
    const pci = pciBytes(config.pci, ports);
    const locks = (5 + controller.devices + VIRTIO_SLOTS + pci.locks) * (LOCK_BYTES + 64);
    return sizes.reduce((sum, size) => sum + roundUp(size, 64) + 64, locks + pci.bytes);
  }
}

/** Tables of the programs, and of the devices: a guest may come to own any of the machine's frames. */
function protectionPlan(config: BoardConfig, frames: number): ProtectionPlan {
  return { frames, tables: 3 + dmaDevices(config).length };
}

/** Who reaches guest memory by itself, by id: slots, then functions. */
function dmaDevices({ slots, pci }: BoardConfig): string[] {
  return [...slots, ...(pci?.functions ?? [])].map(({ id }) => id);
}

/** Of a root port. */
function rootRequester({ device, func }: { device: number; func: number }): number {
  return requesterId(0, device, func);
}

/** Functions share the doorbells that slots and the platform leave. */
export function pciDoorbell(index: number): number {
  return VIRTIO_SLOTS + (index % (DOORBELL.rtc - VIRTIO_SLOTS));
}

function aclintBytes(harts: number): number {
  return Aclint.layout(harts).sizeBytes;
}
