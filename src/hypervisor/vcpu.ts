/**
 * One vCPU as a thread sees it: its blocks, its interrupt lines, what wakes it. Everything it knows is in shared memory;
 * all threads hold a Vcpu object for the same vCPU, and one at a time runs it.
 */
import { SharedLock } from '../base/lock.ts';
import {
  confirmMarks,
  dropTranslations,
  dropWriteTranslations,
  EVERY_GUEST,
  emptyFetchBuffer,
  forgetProfile,
  HOST_SCOPE,
  headerLayout,
  MARKS,
  type MachineMemory,
  PLAN,
  type Processor,
  REMOTE_FENCE_WORDS,
  REMOTE_FENCES,
  REQUEST,
  seeMarks,
  type VcpuState,
  vcpuState,
} from '../engine/index.ts';
import { FILE, GUEST_FILES, HVICTL } from '../isa/index.ts';
import { HART, type HartBlock, hartBlock } from './hart-block.ts';
import { InterruptFile } from './interrupt-files.ts';
import type { Scheduler } from './scheduler.ts';

/** Interrupt numbers, which are also the bits of `lines`, mip and mie. */
export const IRQ = { ssi: 1, msi: 3, sti: 5, mti: 7, sei: 9, mei: 11 } as const;

const SGEIP = 1n << 12n;

/** What a scheduler knows a vCPU by. */
export interface Scheduled {
  readonly scheduler: Scheduler;
  readonly number: number;
}

/** A fence that another hart asks for: see Vcpu.requestFence. */
export interface RemoteFence {
  readonly va: bigint;
  readonly bytes: bigint;
  readonly asid: bigint;
  /** Whose translations: HOST_SCOPE, guestScope(vmid) or EVERY_GUEST. */
  readonly scope: bigint;
}
const WHOLE = { va: 0n, bytes: (1n << 64n) - 1n, asid: -1n } as const;
/** Of all that the vCPU has. */
export const EVERYTHING: readonly RemoteFence[] = [
  { ...WHOLE, scope: HOST_SCOPE },
  { ...WHOLE, scope: EVERY_GUEST },
];

const MARKS_MADE = (PLAN.header + headerLayout.offset.marks) / 4;

export class Vcpu {
  readonly id: number;
  /** Linear address of the engine's block. */
  readonly at: number;
  readonly state: VcpuState;
  readonly hart: HartBlock;
  /** Absent where one thread runs all vCPUs in turns. */
  readonly scheduled: Scheduled | undefined;
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #hartAt: number;
  readonly #remote: SharedLock;
  /** By number. */
  readonly #files: readonly InterruptFile[];

  constructor(memory: MachineMemory, id: number, at: number, hartAt: number, scheduled?: Scheduled) {
    this.id = id;
    this.at = at;
    this.scheduled = scheduled;
    this.state = vcpuState.view(memory.buffer, at);
    this.hart = hartBlock.view(memory.buffer, hartAt);
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    this.#hartAt = hartAt;
    this.#remote = new SharedLock(this.#words, (at + vcpuState.offset.remoteLock) / 4);
    const file = (number: number, irq: number): InterruptFile =>
      new InterruptFile(this.#words, at + vcpuState.offset.interruptFiles, number, {
        set: (level) => this.setLine(irq, level),
      });
    const guest = (number: number): InterruptFile =>
      new InterruptFile(this.#words, at + vcpuState.offset.interruptFiles, FILE.guest + number - 1, {
        set: (level) => this.#setGuestExternal(number, level),
      });
    this.#files = [
      ...[file(FILE.machine, IRQ.mei), file(FILE.supervisor, IRQ.sei)],
      ...Array.from({ length: GUEST_FILES }, (_, i) => guest(i + 1)),
    ];
  }

  /** Raises or lowers an interrupt line (all but STIP are below bit 32). Wakes the vCPU. Any thread. */
  setLine(irq: number, level: boolean): void {
    const index = (this.at + vcpuState.offset.lines) / 4;
    const before = level ? Atomics.or(this.#words, index, 1 << irq) : Atomics.and(this.#words, index, ~(1 << irq));
    if (level && (before & (1 << irq)) === 0) this.wake();
  }

  /** A guest interrupt file's line, a bit of hgeip. */
  #setGuestExternal(file: number, level: boolean): void {
    const index = (this.at + vcpuState.offset.hgeip) / 4;
    const before = level ? Atomics.or(this.#words, index, 1 << file) : Atomics.and(this.#words, index, ~(1 << file));
    if (level && (before & (1 << file)) === 0) this.wake();
  }

  /** A message: sets the pending bit of an identity in one of the IMSIC's files. Any thread. */
  post(file: number, identity: number): void {
    this.hart.messages++;
    this.#files[file]?.post(identity);
  }

  /** Drives the lines of the IMSIC's files: after a restore. */
  driveFiles(): void {
    for (const file of this.#files) file.drive();
  }

  /** Software-writable pending bits, by the vCPU's own thread. */
  setPending(irq: number, level: boolean): void {
    const bit = 1n << BigInt(irq);
    this.state.mip = level ? this.state.mip | bit : this.state.mip & ~bit;
  }

  /** First the word, then the scheduler: who blocks the vCPU does it the other way round (Scheduler.block). */
  wake(): void {
    Atomics.store(this.#words, (this.at + vcpuState.offset.attention) / 4, 1);
    this.scheduled?.scheduler.wake(this.scheduled.number);
  }

  /** Looks away: from now on only wake() counts. Call before the last look at lines. */
  armSleep(): void {
    Atomics.store(this.#words, (this.at + vcpuState.offset.attention) / 4, 0);
  }

  /** Whether wake() was called since armSleep(). */
  get isAwake(): boolean {
    return Atomics.load(this.#words, (this.at + vcpuState.offset.attention) / 4) !== 0;
  }

  request(bits: number): void {
    Atomics.or(this.#words, (this.at + vcpuState.offset.requests) / 4, bits);
    this.wake();
  }

  /** Whoever held its lock is not here any more. */
  freeLock(): void {
    this.#remote.release();
  }

  /**
   * Asks for a fence of `bytes` from `va` on (0 and all ones: of everything), of one ASID or (-1) of all, in a scope. Any
   * thread; the vCPU does it before its next instruction. More than there is room for become one of everything.
   */
  requestFence({ va, bytes, asid, scope }: RemoteFence): void {
    this.#remote.with(() => {
      const { state } = this;
      const { remoteCount, remoteFences } = state;
      if (remoteCount < REMOTE_FENCES) remoteFences.set([va, bytes, asid, scope], remoteCount * REMOTE_FENCE_WORDS);
      state.remoteCount = Math.min(remoteCount, REMOTE_FENCES) + 1;
    });
    this.request(REQUEST.fence);
  }

  /** The fences that others asked for, which are the caller's to do. */
  takeFences(): readonly RemoteFence[] {
    return this.#remote.with(() => {
      const { remoteCount, remoteFences } = this.state;
      this.state.remoteCount = 0;
      if (remoteCount > REMOTE_FENCES) return EVERYTHING;
      return Array.from({ length: remoteCount }, (_, i) => {
        const word = (number: number): bigint => remoteFences[i * REMOTE_FENCE_WORDS + number] ?? 0n;
        return { va: word(0), bytes: word(1), asid: BigInt.asIntN(64, word(2)), scope: BigInt.asIntN(64, word(3)) };
      });
    });
  }

  get requests(): number {
    return Atomics.load(this.#words, (this.at + vcpuState.offset.requests) / 4);
  }

  takeRequests(): number {
    return Atomics.exchange(this.#words, (this.at + vcpuState.offset.requests) / 4, 0);
  }

  get running(): boolean {
    return Atomics.load(this.#words, (this.#hartAt + hartBlock.offset.running) / 4) === 1;
  }

  set running(value: boolean) {
    const index = (this.#hartAt + hartBlock.offset.running) / 4;
    Atomics.store(this.#words, index, value ? 1 : 0);
    if (!value) Atomics.notify(this.#words, index);
  }

  get busy(): boolean {
    return Atomics.load(this.#words, (this.#hartAt + hartBlock.offset.busy) / 4) === 1;
  }

  set busy(value: boolean) {
    Atomics.store(this.#words, (this.#hartAt + hartBlock.offset.busy) / 4, value ? 1 : 0);
  }

  get status(): number {
    return Atomics.load(this.#words, (this.#hartAt + hartBlock.offset.status) / 4);
  }

  /** Changes the HSM state if it is `from`; false if it is not. */
  changeStatus(from: number, to: number): boolean {
    return Atomics.compareExchange(this.#words, (this.#hartAt + hartBlock.offset.status) / 4, from, to) === from;
  }

  set status(value: number) {
    Atomics.store(this.#words, (this.#hartAt + hartBlock.offset.status) / 4, value);
  }

  /** An enabled interrupt is pending (what ends wfi): as interruptWaiting of isa/privileged/trap.ts has it, or more. */
  get interruptWaiting(): boolean {
    const { state } = this;
    const virtual = state.mvien & ~state.mideleg & state.sieVirtual & ((state.mvip & 2n) | (state.mip & 0x200n));
    const { hgeip, hgeie, hstatus } = state;
    const guests = ((hgeip & hgeie) === 0n ? 0n : SGEIP) | (((hgeip >> ((hstatus >> 12n) & 63n)) & 1n) << 10n);
    const waiting = (state.lines | state.mip | guests) & state.mie;
    return (waiting | virtual | (state.hvictl & HVICTL.VTI)) !== 0n;
  }

  /** Drops every cached translation: of data, and of fetches. Not while it is running. */
  forgetTranslations(): void {
    dropTranslations(this.state);
    emptyFetchBuffer(this.#memory, this.state);
  }

  /** The same of what writes go through alone. */
  forgetWriteTranslations(): void {
    dropWriteTranslations(this.state);
  }

  /**
   * If decoded code was dropped, some or all, what is known of it is forgotten. Where all was, marks that this vCPU has not
   * seen yet name pages of it, whose places other code takes: what they ask for is done herewith.
   */
  forgetDroppedCode(): void {
    const { decodedEpoch, codeFlushes, marks } = this.#memory.header;
    if (this.hart.seenDecoded === decodedEpoch) return;
    this.forgetTranslations();
    forgetProfile(this.state);
    if (this.hart.seenFlushes !== codeFlushes) this.state.seenMarks = marks;
    this.hart.seenDecoded = decodedEpoch;
    this.hart.seenFlushes = codeFlushes;
  }

  /**
   * Takes note of frames that other vCPUs began to execute: writes of this one to them went unnoticed until now, so
   * its write translations are dropped and the frames decoded anew. To be called between runs.
   */
  acknowledgeCodeMarks(processor: Processor): void {
    this.acknowledgeOverlays();
    if (this.state.seenMarks === Atomics.load(this.#words, MARKS_MADE)) return;
    // The vCPU may be outside the engine, waiting for others: nobody waits for it then who is about to drop all code.
    this.withCode(() => this.#forgetMarked(processor));
  }

  /**
   * As MachineMemory.withCode, for what is done for a vCPU that may be outside the engine: all code may have been dropped
   * since it left, and frames may have changed hands, so what it knows of both is forgotten first. Whoever takes a frame from
   * one of its pages asks it to (REQUEST.forget) before it gives the lock back.
   */
  withCode<T>(act: () => T): T {
    return this.#memory.withCode(() => {
      this.forgetDroppedCode();
      // The request stays: what it was made for is due again when it enters.
      if ((this.requests & REQUEST.forget) !== 0) this.forgetTranslations();
      return act();
    });
  }

  #forgetMarked(processor: Processor): void {
    const marks = Atomics.load(this.#words, MARKS_MADE);
    const { state } = this;
    const missed = (marks - state.seenMarks) >>> 0;
    dropWriteTranslations(this.state);
    for (const page of this.#markedPages(marks, missed) ?? this.#memory.decodedPages()) {
      processor.dropRegions(this.at, page);
      this.#memory.forgetCode(page);
    }
    state.seenMarks = marks;
  }

  /**
   * The decoded pages of the last `missed` of so many marks. Undefined where they are not all known: there were more
   * than are remembered, or somebody who has made a mark is about to write down for which page.
   */
  #markedPages(marks: number, missed: number): readonly number[] | undefined {
    if (missed > MARKS) return undefined;
    const pages: number[] = [];
    for (let i = 1; i <= missed; i++) {
      const mark = (marks - i) >>> 0;
      const record = Atomics.load(this.#memory.header.recentMarks, mark & (MARKS - 1));
      if (Number(record >> 32n) !== mark) return undefined;
      pages.push(Number(record & 0xffff_ffffn));
    }
    return pages;
  }

  /** Whether the vCPU stands in no overlay that ended at this epoch, now or when it runs next. */
  hasForgottenOverlay(epoch: number): boolean {
    return !this.running || ((this.state.seenOverlays - epoch) | 0) >= 0;
  }

  /**
   * Takes note of page tables that other vCPUs track (engine/tracked-frames.ts): its own writes to them went unnoticed
   * until now. Before it enters the engine, and counted as in it.
   */
  acknowledgeTracks(all: readonly Vcpu[]): void {
    seeMarks(this.#memory, this, () => dropWriteTranslations(this.state));
    confirmMarks(this.#memory, all);
  }

  /** Protection tables changed: what was allowed before may not be any more. Before the vCPU enters the engine. */
  acknowledgeProtection(): void {
    const epoch = this.#memory.header.protectionEpoch;
    if (this.state.seenProtection === epoch) return;
    this.forgetTranslations();
    this.state.seenProtection = epoch;
  }

  /** Some overlays have ended: their places can be used again once no fetch translation leads there. */
  acknowledgeOverlays(): void {
    const epoch = this.#memory.header.overlayEpoch;
    if (this.state.seenOverlays === epoch) return;
    this.forgetTranslations();
    this.state.seenOverlays = epoch;
  }
}

export { HART, REQUEST };
