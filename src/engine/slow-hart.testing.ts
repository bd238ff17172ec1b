/**
 * Harts of the reference machine over one RAM that watches what they do with page tables and code, so that whoever
 * compares them with an engine knows where the architecture leaves more than one outcome. The reference machine caches
 * nothing; an engine may, until a fence:
 *
 *   dirty    a page table was written since this hart fenced; if it translates now, it is stale
 *   unnoticed    bytes that a hart wrote before it was told that somebody executes them; if anybody does now, it is stale
 */
import { type Decoder, Ram, ReferenceHart, resetState, STATE_SCALARS, type StateField } from '../isa/index.ts';
import { RAM_BASE, TABLES } from './random-world.testing.ts';

export const FIELDS = Object.keys(STATE_SCALARS) as StateField[];
const SD = 1n << 63n;
const MPRV = 1n << 17n;
const MPV = 1n << 39n;
const EXCEPTION_STORE_ACCESS = 7;
const TABLES_FROM = BigInt(RAM_BASE + TABLES.first * 4096);

/** What the harts of a program share. */
export class WatchedMemory {
  readonly bytes: Uint8Array;
  readonly views: WatchedRam[] = [];
  /** Pages written since the last comparison, by number. */
  readonly written = new Set<number>();

  /** Contents at the start. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes.slice();
  }

  /** Whether one of these bytes was written unnoticed. */
  isUnnoticed(address: bigint, sizeBytes: number): boolean {
    return this.views.some(({ unnoticed }) => {
      if (unnoticed.size === 0) return false;
      for (let half = address >> 1n; half < (address + BigInt(sizeBytes) + 1n) >> 1n; half++)
        if (unnoticed.has(half)) return true;
      return false;
    });
  }
}

/** The RAM as one hart sees it. */
export class WatchedRam extends Ram {
  readonly memory: WatchedMemory;
  isDirty = false;
  isStale = false;
  /** Of guests whose translations are not: those that were fenced since, by VMID, of each stage. */
  readonly cleanGuests = new Set<bigint>();
  readonly cleanGuestStages = new Set<bigint>();
  areGuestsClean = false;
  areGuestStagesClean = false;
  /** Stores of this hart are unnoticed until `acknowledge`. */
  isUnaware = false;
  readonly unnoticed = new Set<bigint>();
  translates = (): boolean => false;
  /** VMID of the guest that executes. */
  guest = (): bigint | undefined => undefined;
  pc = (): bigint => 0n;

  constructor(memory: WatchedMemory) {
    super(BigInt(RAM_BASE), memory.bytes);
    this.memory = memory;
    memory.views.push(this);
  }

  override read(address: bigint, sizeBytes: number): bigint {
    if (address >= TABLES_FROM && this.#mayBeOld()) this.isStale = true;
    // Only fetches lie where the pc does; loads that happen to are given up with them.
    const distance = (address - this.pc()) & 0xfffn;
    if ((distance === 0n || distance === 2n) && this.memory.isUnnoticed(address, sizeBytes)) this.isStale = true;
    return super.read(address, sizeBytes);
  }

  override write(address: bigint, sizeBytes: number, value: bigint): void {
    if (address + BigInt(sizeBytes) > TABLES_FROM) {
      const old = super.read(address, sizeBytes);
      if (((old ^ value) & ~0xc0n) !== 0n || (old & ~value) !== 0n) for (const view of this.memory.views) view.#dirty();
    }
    if (this.isUnaware)
      for (let half = address >> 1n; half < (address + BigInt(sizeBytes) + 1n) >> 1n; half++) this.unnoticed.add(half);
    this.memory.written.add(Number((address - this.base) >> 12n));
    super.write(address, sizeBytes, value);
  }

  #mayBeOld(): boolean {
    const guest = this.guest();
    if (guest === undefined) return this.isDirty && this.translates();
    const isFenced = this.areGuestsClean || this.cleanGuests.has(guest);
    return !isFenced || !(this.areGuestStagesClean || this.cleanGuestStages.has(guest));
  }

  #dirty(): void {
    this.isDirty = true;
    this.cleanGuests.clear();
    this.cleanGuestStages.clear();
    this.areGuestsClean = false;
    this.areGuestStagesClean = false;
  }

  /** A fence of everything. */
  clean(): void {
    this.isDirty = false;
    this.areGuestsClean = true;
    this.areGuestStagesClean = true;
  }

  /** The hart knows of all code that is executed: from now on its stores are noticed, and so are those before. */
  acknowledge(): void {
    this.isUnaware = false;
    this.unnoticed.clear();
  }
}

export class SlowHart extends ReferenceHart {
  readonly ram: WatchedRam;

  constructor(
    ram: WatchedRam,
    clock: { steps: number },
    { decoder, features }: { readonly decoder: Decoder; readonly features: bigint },
  ) {
    super({
      state: resetState(0n, features),
      decoder,
      memory: ram,
      time: () => BigInt(Math.floor((clock.steps + 1) / 10)),
    });
    this.ram = ram;
    ram.translates = () => this.registers.mode !== 3n || (this.registers.mstatus & MPRV) !== 0n;
    ram.pc = () => this.registers.pc;
    ram.guest = () => (this.registers.virtual === 0n ? undefined : this.#vmid);
    ram.clean();
  }

  override touchBlock(address: bigint): void {
    const { mode, mstatus, satp, virtual } = this.registers;
    // Two stages have more ways to fault than are told here.
    if (address >> 56n !== 0n && (virtual !== 0n || (mstatus & MPV) !== 0n)) this.ram.isStale = true;
    const effective = mode === 3n && (mstatus & MPRV) !== 0n ? (mstatus >> 11n) & 3n : mode;
    if (address >> 56n !== 0n && (effective === 3n || satp >> 60n === 0n)) this.raise(EXCEPTION_STORE_ACCESS, address);
    super.touchBlock(address);
  }

  get #vmid(): bigint {
    return (this.registers.hgatp >> 44n) & 0x3fffn;
  }

  override protectionChanged(): void {
    this.ram.clean();
  }

  /** What a fence of one page or address space orders is less than what was written, perhaps. */
  override fenceTranslation(va?: bigint, asid?: bigint): void {
    if (va === undefined && asid === undefined) this.ram.isDirty = false;
  }

  override fenceGuest(va?: bigint, asid?: bigint): void {
    if (va === undefined && asid === undefined) this.ram.cleanGuests.add(this.#vmid);
  }

  override fenceGuestPhysical(gpa?: bigint, vmid?: bigint): void {
    if (gpa !== undefined) return;
    if (vmid === undefined) this.ram.areGuestStagesClean = true;
    else this.ram.cleanGuestStages.add(vmid & 0x3fffn);
  }

  /** Whoever executes fence.i waits until all harts know what code there is. */
  override fenceInstruction(): void {
    for (const view of this.ram.memory.views) view.acknowledge();
  }
}

/** A field as two machines must agree on it: SD is made when mstatus is read; a reservation's place is nobody's. */
export function comparable(field: StateField, value: bigint): bigint {
  return field === 'mstatus'
    ? value & ~SD
    : field === 'reservationAddress' || field === 'reservationValue'
      ? 0n
      : value;
}

/** Of equal length, a multiple of eight, and aligned to eight. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  const words = (bytes: Uint8Array) => new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
  const [left, right] = [words(a), words(b)];
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
}
