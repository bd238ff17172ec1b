/**
 * APLIC: the advanced platform-level interrupt controller (AIA specification 1.0, chapter "Advanced Platform-Level
 * Interrupt Controller"), in the shape of QEMU's `virt`: sources 1 to 96, priorities of 3 bits, a machine-level domain that
 * has all wires, and a supervisor-level child to which it can delegate sources. An object is one domain; how interrupts
 * are delivered is fixed.
 *
 *     wire -> rectified (sourcecfg) -> pending -> and enabled -> direct:   IDC of the target hart -> external interrupt
 *                                                             \-> messages: an identity to the target's interrupt file
 *
 * Wires are told to children, too, so that a delegated source finds its level there.
 * Left out: big-endian registers (domaincfg.BE is zero).
 */
import { assert } from '../../base/assert.ts';
import { array, struct } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, InterruptLine } from '../device.ts';
import { accessCounters, type RegisterTable } from '../registers.ts';
import { aplicRegisters, DOMAINCFG, SOURCECFG } from './aplic-registers.ts';
import { MSI_FIELDS, type MsiAddresses, messageAddress } from './msi-address.ts';

/** Source numbers, 0 (none) included. */
export const APLIC_SOURCES = 97;
const WORDS = Math.ceil(APLIC_SOURCES / 32);
const PRIORITY_MASK = 7;
const TARGET = { hartShift: 18, guestShift: 12, guestMask: 0x3f, identityMask: 0x7ff } as const;
/** Fields of target and genmsi, as numbers without sign. */
const HART_FIELD = 0xfffc_0000;
const GUEST_FIELD = TARGET.guestMask << TARGET.guestShift;
const MODE = { inactive: 0, detached: 1, edge1: 4, edge0: 5, level1: 6, level0: 7 } as const;
const KNOWN_MODES: readonly number[] = Object.values(MODE);

function aplicLayout(harts: number) {
  return struct('aplic', {
    ...accessCounters,
    domaincfg: 'u32',
    sourcecfg: array('u32', APLIC_SOURCES),
    target: array('u32', APLIC_SOURCES),
    pending: array('u32', WORDS),
    enabled: array('u32', WORDS),
    /** Wires as devices drive them now. */
    level: array('u32', WORDS),
    genmsi: 'u32',
    mmsiaddrcfg: 'u32',
    mmsiaddrcfgh: 'u32',
    smsiaddrcfg: 'u32',
    smsiaddrcfgh: 'u32',
    idelivery: array('u32', harts),
    iforce: array('u32', harts),
    ithreshold: array('u32', harts),
    /** What each hart's external interrupt was last set to. */
    external: array('u8', harts),
    messages: 'u32',
    /** Of these, those that went to where nothing is. */
    lostMessages: 'u32',
  });
}

/** Where a domain's interrupts go. */
export interface AplicOutputs {
  /** Direct delivery: called on changes only, and for every hart by reset and drive. */
  setExternal(hart: number, level: boolean): void;
  /** Delivery by messages: a little-endian word is written there. False: nothing takes it. */
  send(gpa: number, data: number): boolean;
}

export interface AplicOptions {
  readonly harts: number;
  /** Interrupts are forwarded as messages, not delivered to harts directly. */
  readonly messages: boolean;
  /** Guest interrupt files of each hart: the highest guest index. */
  readonly guests: number;
  /** The domain that this one is a child of; the root domain has none. */
  readonly parent?: Aplic;
}

export class Aplic implements Device {
  /** The registers of a domain with so many harts. */
  static registers(harts: number): RegisterTable<Aplic> {
    return aplicRegisters(harts, APLIC_SOURCES, WORDS);
  }

  static layout(harts: number): ReturnType<typeof aplicLayout> {
    return aplicLayout(harts);
  }

  readonly name: string;
  readonly sizeBytes = 0x8000;
  readonly layout: ReturnType<typeof aplicLayout>;
  readonly state: ReturnType<ReturnType<typeof aplicLayout>['view']>;
  readonly registers: RegisterTable<Aplic>;
  readonly isDirect: boolean;
  readonly #options: AplicOptions;
  readonly #out: AplicOutputs;
  readonly #children: Aplic[] = [];

  constructor(name: string, block: Block, options: AplicOptions, out: AplicOutputs) {
    const { harts, messages, parent } = options;
    assert(harts >= 1 && 0x4000 + harts * 32 <= this.sizeBytes, `${harts} harts do not fit an APLIC`);
    this.name = name;
    this.isDirect = !messages;
    this.layout = Aplic.layout(harts);
    this.state = this.layout.view(block.buffer, block.at);
    this.registers = Aplic.registers(harts);
    this.#options = options;
    this.#out = out;
    if (parent !== undefined) parent.#children.push(this);
  }

  /** Whether it is at machine level and its registers say where messages go. */
  get isRoot(): boolean {
    return this.#options.parent === undefined;
  }

  get counters(): Record<string, number> {
    const { messages, lostMessages } = this.state;
    return this.isDirect ? {} : { messages, lostMessages };
  }

  /** Wires keep their level: they belong to the devices that drive them. */
  reset(): void {
    const { state } = this;
    for (const field of [state.sourcecfg, state.target, state.pending, state.enabled]) field.fill(0);
    for (const field of [state.idelivery, state.iforce, state.ithreshold, state.external]) field.fill(0);
    state.domaincfg = state.genmsi = state.messages = state.lostMessages = 0;
    state.mmsiaddrcfg = state.mmsiaddrcfgh = state.smsiaddrcfg = state.smsiaddrcfgh = 0;
    state.unassignedReads = state.unassignedWrites = 0;
    for (let source = 1; source < APLIC_SOURCES; source++) for (const child of this.#children) child.#lose(source);
    this.drive();
  }

  read(offset: number, bytes: AccessBytes): number {
    return this.registers.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    this.registers.write(this, offset, bytes, value);
  }

  /** The wire of one source, 1 to 96, into the root domain. */
  line(source: number): InterruptLine {
    assert(Number.isInteger(source) && isSource(source), `no interrupt source ${source}`);
    return { set: (level) => this.#setWire(source, level) };
  }

  /** Tells every hart its level again, whatever it was told before: after restore. */
  drive(): void {
    if (!this.isDirect) return;
    for (let hart = 0; hart < this.#options.harts; hart++) {
      const level = this.#isSignalling(hart);
      this.state.external[hart] = level ? 1 : 0;
      this.#out.setExternal(hart, level);
    }
  }

  /**
   * What firmware does before a supervisor starts: the root domain delegates all sources to its child, and says, for good,
   * where its messages go.
   */
  handOver(machine: MsiAddresses, supervisor: MsiAddresses): void {
    assert(this.isRoot && this.#children.length === 1, 'a root domain with one child');
    for (let source = 1; source < APLIC_SOURCES; source++) this.configureSource(source, SOURCECFG.D);
    if (this.isDirect) return;
    const { state } = this;
    state.smsiaddrcfg = supervisor.basePage;
    state.smsiaddrcfgh = (supervisor.lowShift << MSI_FIELDS.lowShift.at) >>> 0;
    state.mmsiaddrcfg = machine.basePage;
    state.mmsiaddrcfgh =
      (MSI_FIELDS.lock | (machine.lowShift << MSI_FIELDS.lowShift.at) | (machine.lowBits << MSI_FIELDS.lowBits.at)) >>>
      0;
  }

  // What the registers do (aplic-registers.ts).

  setDomain(value: number): void {
    this.state.domaincfg = value & DOMAINCFG.IE;
    this.#updateAll();
  }

  /** A leaf that is to delegate becomes inactive; so does a source in a mode that there is not. */
  configureSource(source: number, value: number): void {
    if (!this.#has(source)) return;
    const { state } = this;
    const delegates = (value & SOURCECFG.D) !== 0;
    const mode = value & SOURCECFG.SM;
    const child = value & SOURCECFG.child;
    const configured = delegates ? SOURCECFG.D | child : KNOWN_MODES.includes(mode) ? mode : 0;
    const before = this.#childOf(source);
    state.sourcecfg[source] = delegates && this.#children[child] === undefined ? 0 : configured;
    if (before !== undefined && before !== this.#childOf(source)) before.#lose(source);
    if (!this.isActive(source)) this.#disable(source);
    else if (this.#rectified(source)) setBit(state.pending, source, true);
    else if (this.#isLevel(source)) setBit(state.pending, source, false);
    this.#update(source);
  }

  readTarget(source: number): number {
    return this.isActive(source) ? this.#target(source) : 0;
  }

  /** Kept while the source is inactive, when it reads as zero: what a source then begins with is ours to choose. */
  setTarget(source: number, value: number): void {
    const harts = [this.#targetHart(source), value >>> TARGET.hartShift];
    this.state.target[source] = value;
    if (this.isDirect) for (const hart of harts) this.#updateHart(hart);
    else this.#update(source);
  }

  pendingWord(word: number): number {
    return this.state.pending[word] ?? 0;
  }

  enabledWord(word: number): number {
    return this.state.enabled[word] ?? 0;
  }

  rectifiedWord(word: number): number {
    let value = 0;
    for (let bit = 0; bit < 32; bit++) if (this.#rectified(word * 32 + bit)) value |= 1 << bit;
    return value >>> 0;
  }

  /** As the section "Precise effects on interrupt-pending bits" has it. */
  setPending(source: number, value: boolean): void {
    if (!this.isActive(source)) return;
    if (this.#isLevel(source) && (this.isDirect || (value && !this.#rectified(source)))) return;
    setBit(this.state.pending, source, value);
    this.#update(source);
  }

  setEnabled(source: number, value: boolean): void {
    if (!this.isActive(source)) return;
    setBit(this.state.enabled, source, value);
    this.#update(source);
  }

  /** A message of its own: sent at once, whatever IE says. */
  generate(value: number): void {
    this.state.genmsi = ((value & HART_FIELD) | (value & TARGET.identityMask)) >>> 0;
    this.#send(this.state.genmsi);
  }

  setDelivery(hart: number, field: 'idelivery' | 'iforce' | 'ithreshold', value: number): void {
    this.state[field][hart] = value & (field === 'ithreshold' ? PRIORITY_MASK : 1);
    this.#updateHart(hart);
  }

  /** The source that is first for the hart, and its priority; 0: none. */
  top(hart: number): number {
    const threshold = this.state.ithreshold[hart] ?? 0;
    let first = 0;
    let priority = threshold === 0 ? PRIORITY_MASK + 1 : threshold;
    for (const source of this.#waiting()) {
      if (this.#targetHart(source) !== hart || this.#priority(source) >= priority) continue;
      first = source;
      priority = this.#priority(source);
    }
    return first === 0 ? 0 : (first << 16) | priority;
  }

  claim(hart: number): number {
    const top = this.top(hart);
    const source = top >>> 16;
    if (source === 0) this.state.iforce[hart] = 0;
    else if (!this.#isLevel(source)) setBit(this.state.pending, source, false);
    this.#updateHart(hart);
    return top;
  }

  /** Where messages go is the root domain's to say, until it is locked. */
  setMsiAddress(field: 'mmsiaddrcfg' | 'mmsiaddrcfgh' | 'smsiaddrcfg' | 'smsiaddrcfgh', value: number): void {
    if ((this.state.mmsiaddrcfgh & MSI_FIELDS.lock) === 0) this.state[field] = value;
  }

  /** Whether interrupts of the source are this domain's: not delegated to another, and in a mode. */
  isActive(source: number): boolean {
    return this.#has(source) && this.#mode(source) !== MODE.inactive;
  }

  readSource(source: number): number {
    return this.#has(source) ? (this.state.sourcecfg[source] ?? 0) : 0;
  }

  /** A source that the parent has not delegated is none. */
  #has(source: number): boolean {
    const { parent } = this.#options;
    return isSource(source) && (parent === undefined || parent.#childOf(source) === this);
  }

  #childOf(source: number): Aplic | undefined {
    const configured = this.state.sourcecfg[source] ?? 0;
    return (configured & SOURCECFG.D) === 0 ? undefined : this.#children[configured & SOURCECFG.child];
  }

  /** The parent took the source away. */
  #lose(source: number): void {
    this.state.sourcecfg[source] = 0;
    this.#disable(source);
    this.#update(source);
  }

  #disable(source: number): void {
    setBit(this.state.pending, source, false);
    setBit(this.state.enabled, source, false);
  }

  #mode(source: number): number {
    const configured = this.state.sourcecfg[source] ?? 0;
    return (configured & SOURCECFG.D) === 0 ? configured & SOURCECFG.SM : MODE.inactive;
  }

  #isLevel(source: number): boolean {
    return this.#mode(source) >= MODE.level1;
  }

  #rectified(source: number): boolean {
    if (!this.isActive(source) || this.#mode(source) < MODE.edge1) return false;
    const isInverted = (this.#mode(source) & 1) === 1;
    return bit(this.state.level, source) !== isInverted;
  }

  #setWire(source: number, level: boolean): void {
    if (bit(this.state.level, source) === level) return;
    setBit(this.state.level, source, level);
    for (const child of this.#children) child.#setWire(source, level);
    if (!this.isActive(source)) return;
    if (this.#rectified(source)) setBit(this.state.pending, source, true);
    else if (this.#isLevel(source)) setBit(this.state.pending, source, false);
    else return;
    this.#update(source);
  }

  /** target, with what of it exists. */
  #target(source: number): number {
    const value = this.state.target[source] ?? 0;
    if (this.isDirect) return ((value & HART_FIELD) | this.#priority(source)) >>> 0;
    const guests = this.isRoot || this.#options.guests === 0 ? 0 : GUEST_FIELD;
    return (value & (HART_FIELD | guests | TARGET.identityMask)) >>> 0;
  }

  #targetHart(source: number): number {
    return (this.state.target[source] ?? 0) >>> TARGET.hartShift;
  }

  /** 1 to 7: zero means 1. */
  #priority(source: number): number {
    return (this.state.target[source] ?? 0) & PRIORITY_MASK || 1;
  }

  /** Sources that are pending and enabled, from the first on. */
  *#waiting(): Generator<number> {
    for (let word = 0; word < WORDS; word++) {
      let waiting = (this.state.pending[word] ?? 0) & (this.state.enabled[word] ?? 0);
      while (waiting !== 0) {
        const source = word * 32 + (31 - Math.clz32(waiting & -waiting));
        waiting &= waiting - 1;
        if (this.isActive(source)) yield source;
      }
    }
  }

  /** The source changed. */
  #update(source: number): void {
    if (this.isDirect) this.#updateHart(this.#targetHart(source));
    else this.#forward(source);
  }

  #updateAll(): void {
    if (this.isDirect) for (let hart = 0; hart < this.#options.harts; hart++) this.#updateHart(hart);
    else for (const source of this.#waiting()) this.#forward(source);
  }

  #updateHart(hart: number): void {
    if (hart >= this.#options.harts) return;
    const level = this.#isSignalling(hart);
    if (this.state.external[hart] === (level ? 1 : 0)) return;
    this.state.external[hart] = level ? 1 : 0;
    this.#out.setExternal(hart, level);
  }

  #isSignalling(hart: number): boolean {
    const { domaincfg, idelivery, iforce } = this.state;
    if ((domaincfg & DOMAINCFG.IE) === 0 || idelivery[hart] !== 1) return false;
    return iforce[hart] === 1 || this.top(hart) !== 0;
  }

  #forward(source: number): void {
    const { state } = this;
    const isDue = bit(state.pending, source) && bit(state.enabled, source) && this.isActive(source);
    if (!isDue || (state.domaincfg & DOMAINCFG.IE) === 0) return;
    setBit(state.pending, source, false);
    this.#send(this.#target(source));
  }

  #send(target: number): void {
    const guest = (target >>> TARGET.guestShift) & TARGET.guestMask;
    const root = (this.#options.parent ?? this).state;
    this.state.messages++;
    const gpa = messageAddress(root, this.isRoot ? 'machine' : 'supervisor', target >>> TARGET.hartShift, guest);
    if (!this.#out.send(gpa, target & TARGET.identityMask)) this.state.lostMessages++;
  }
}

function isSource(source: number): boolean {
  return source >= 1 && source < APLIC_SOURCES;
}

function bit(words: Uint32Array, source: number): boolean {
  return (((words[source >> 5] ?? 0) >>> (source & 31)) & 1) === 1;
}

function setBit(words: Uint32Array, source: number, value: boolean): void {
  const mask = 1 << (source & 31);
  const word = words[source >> 5] ?? 0;
  words[source >> 5] = value ? word | mask : word & ~mask;
}
