/**
 * How a function interrupts: by its INTx pin as a level, by MSI, or by MSI-X, whichever the guest has enabled (PCI Express
 * Base 6.0, sections 6.1, 7.7.1 and 7.7.2). Masks hold back, pending bits remember, and what was held back goes out as
 * soon as it may. Everything leaves as a transaction through the function's port.
 *
 *     setInterrupt(level) -> Interrupt Status -> [Interrupt Disable, messages enabled] -> Assert_INTx | Deassert_INTx
 *     raise(vector)       -> [enable, masks, Bus Master Enable] -> message | pending bit
 *
 * Any thread may raise, with or without the function's lock, so that all of this has a lock of its own, held while a
 * transaction is sent: transactions of a function keep their order. A port never calls back what takes this lock.
 */
import { SharedLock } from '../../base/lock.ts';
import { array, type Layout, struct, type View } from '../../base/struct.ts';
import type { AccessBytes, Block } from '../device.ts';
import type { ConfigSpace } from './config-space.ts';
import { COMMAND, HEADER, MSI, MSIX, MSIX_ENTRY, PM } from './spec.ts';
import type { RequesterId, TransactionPort } from './transaction.ts';

function interruptFields(vectors: number) {
  return {
    lock: 'i32',
    /** The function wants attention. */
    level: 'u32',
    /** The pin is asserted: the last INTx transaction said so. */
    asserted: 'u32',
    /** A bit for each vector whose message is held back. */
    pending: array('u32', Math.max(1, Math.ceil(vectors / 32))),
    /** Of MSI-X: address, upper address, data, vector control of each entry. */
    table: array('u32', Math.max(1, vectors) * 4),
    /** Transactions sent. */
    messages: 'u32',
    asserts: 'u32',
    /** Messages to addresses that no bus has. */
    lost: 'u32',
  } as const;
}

export type InterruptLayout = Layout<ReturnType<typeof interruptFields>>;

/** Of a function with so many vectors of MSI-X, or 32 of MSI. */
export function interruptLayout(vectors: number): InterruptLayout {
  return struct('pci-interrupts', interruptFields(vectors));
}

/** Where a function's capabilities are, as far as its interrupts read them. */
export interface InterruptRegisters {
  readonly config: ConfigSpace;
  /** Offsets of capabilities; absent: the function has none. */
  readonly msiAt?: number;
  readonly msixAt?: number;
  readonly powerAt?: number;
  /** 1 is INTA; 0: the function has no pin. */
  readonly pin: number;
  readonly vectors: number;
}

export interface InterruptWiring {
  readonly requester: RequesterId;
  readonly port: TransactionPort;
  /** Anything passes at all. */
  isConnected(): boolean;
  /** Messages pass the ports upstream. */
  forwardsRequests(): boolean;
}

export type InterruptMode = 'intx' | 'msi' | 'msix';

export class FunctionInterrupts {
  readonly state: View<ReturnType<typeof interruptFields>>;
  readonly #registers: InterruptRegisters;
  readonly #wiring: InterruptWiring;
  readonly #lock: SharedLock;

  /** `block`: where the function's interrupt layout lies. */
  constructor(block: Block, registers: InterruptRegisters, wiring: InterruptWiring) {
    const layout = interruptLayout(registers.vectors);
    this.state = layout.view(block.buffer, block.at);
    this.#registers = registers;
    this.#wiring = wiring;
    this.#lock = new SharedLock(new Int32Array(block.buffer), (block.at + layout.offset.lock) / 4);
  }

  /** What the guest has enabled. A function sends no message, or no INTx, in the other's place. */
  get mode(): InterruptMode {
    const { config, msiAt, msixAt } = this.#registers;
    if (msixAt !== undefined && (config.get(msixAt + MSIX.control, 2) & MSIX.enable) !== 0) return 'msix';
    if (msiAt !== undefined && (config.get(msiAt + MSI.control, 2) & MSI.enable) !== 0) return 'msi';
    return 'intx';
  }

  /** Whether the function wants attention by INTx: takes no lock, for who polls. */
  get level(): boolean {
    return this.state.level !== 0;
  }

  /** Status.Interrupt Status: the pin would be asserted, but for Interrupt Disable. */
  get isPinWanted(): boolean {
    return this.level && this.mode === 'intx';
  }

  /** The condition behind INTx, a level: it lasts until the driver has dealt with it. Setting what is set is harmless. */
  setInterrupt(level: boolean): void {
    if (this.level === level) return;
    this.#lock.with(() => {
      this.state.level = level ? 1 : 0;
      this.#drivePin();
    });
  }

  /**
   * An event of a vector. Where the guest uses messages, it is sent, or remembered while it may not be; two events of a
   * vector that is held back are one message. Where it does not, nothing happens. Vectors beyond those that there are, are
   * ignored; of MSI, vectors beyond those allocated share the last ones.
   */
  raise(vector: number): void {
    this.#lock.with(() => {
      const { mode } = this;
      if (mode === 'intx' || vector < 0 || vector >= (mode === 'msix' ? this.#registers.vectors : 32)) return;
      this.#setPending(mode === 'msi' ? vector & (this.#allocated() - 1) : vector);
      this.#flush();
    });
  }

  /** A register that decides about interrupts was written: what may go out now, goes. */
  update(): void {
    this.#lock.with(() => {
      this.#drivePin();
      this.#flush();
    });
  }

  /** As after a reset of the function, whose registers have been reset already. */
  reset(): void {
    this.#lock.with(() => {
      const { state } = this;
      state.level = 0;
      state.pending.fill(0);
      state.table.fill(0);
      for (let i = 0; i < this.#registers.vectors; i++) state.table[4 * i + 3] = MSIX_ENTRY.masked;
      this.#drivePin();
    });
  }

  /** At power-on: the port knows of nothing. */
  powerOn(): void {
    Object.assign(this.state, { lock: 0, level: 0, asserted: 0, messages: 0, asserts: 0, lost: 0 });
    this.reset();
  }

  /** Whoever held the lock is not here any more. */
  freeLock(): void {
    this.#lock.release();
  }

  /** After a restore: whoever held the lock is not here, and the port knows of nothing. What may go out now, goes. */
  drive(): void {
    this.state.lock = 0;
    this.state.asserted = 0;
    this.update();
  }

  /** A dword of MSI-X's table, `offset` from its start. */
  readTable(offset: number, bytes: AccessBytes): number {
    return part(this.state.table[offset >> 2] ?? 0, offset, bytes);
  }

  /** Of writes only whole dwords count (section 7.7.2: others have undefined results). False: it was none. */
  writeTable(offset: number, bytes: AccessBytes, value: number): boolean {
    const word = offset >> 2;
    if (bytes !== 4 || word >= 4 * this.#registers.vectors) return false;
    this.#lock.with(() => {
      const writable = MSIX_ENTRY.writable[word & 3] ?? 0;
      this.state.table[word] = value & writable;
      this.#flush();
    });
    return true;
  }

  /** The pending bit array, `offset` from its start. Read only. */
  readPending(offset: number, bytes: AccessBytes): number {
    return part(this.state.pending[offset >> 2] ?? 0, offset, bytes);
  }

  /** Pending bits of MSI, as its capability shows them. */
  get pendingWord(): number {
    return this.state.pending[0] ?? 0;
  }

  #drivePin(): void {
    const { pin } = this.#registers;
    if (pin === 0) return;
    const wanted = this.level && this.#mayAssert() ? 1 : 0;
    if (wanted === this.state.asserted) return;
    this.state.asserted = wanted;
    this.state.asserts += wanted;
    const { requester, port } = this.#wiring;
    port.send({ requester, kind: wanted === 1 ? 'assert' : 'deassert', address: 0, data: pin });
  }

  /** Sends every pending message that may be sent. */
  #flush(): void {
    const { pending } = this.state;
    if (pending.every((word) => word === 0) || !this.#maySend()) return;
    const { mode } = this;
    if (mode === 'intx') return;
    for (let word = 0; word < pending.length; word++) {
      for (let bits = pending[word] ?? 0; bits !== 0; bits &= bits - 1) {
        const vector = 32 * word + 31 - Math.clz32(bits & -bits);
        if (mode === 'msi' ? this.#sendMsi(vector) : this.#sendMsix(vector)) this.#clearPending(vector);
      }
    }
  }

  #mayAssert(): boolean {
    const isOff = (this.#registers.config.get(HEADER.command, 2) & COMMAND.interruptDisable) !== 0;
    return !isOff && this.mode === 'intx' && this.#isAwake();
  }

  /** Messages are writes to memory, which a function may do as a bus master, and its port passes as one. */
  #maySend(): boolean {
    const isMaster = (this.#registers.config.get(HEADER.command, 2) & COMMAND.busMaster) !== 0;
    return isMaster && this.#isAwake() && this.#wiring.forwardsRequests();
  }

  #isAwake(): boolean {
    if (!this.#wiring.isConnected()) return false;
    const { powerAt, config } = this.#registers;
    return powerAt === undefined || (config.get(powerAt + PM.control, 2) & PM.state) === 0;
  }

  #sendMsix(vector: number): boolean {
    const { config, msixAt = 0 } = this.#registers;
    if ((config.get(msixAt + MSIX.control, 2) & MSIX.functionMask) !== 0) return false;
    const [low = 0, high = 0, data = 0, control = 0] = this.state.table.subarray(4 * vector, 4 * vector + 4);
    if ((control & MSIX_ENTRY.masked) !== 0) return false;
    this.#send(low, high, data);
    return true;
  }

  #sendMsi(vector: number): boolean {
    const { config, msiAt = 0 } = this.#registers;
    const control = config.get(msiAt + MSI.control, 2);
    const is64 = (control & MSI.is64) !== 0;
    const dataAt = msiAt + (is64 ? MSI.data64 : MSI.data32);
    if ((control & MSI.maskable) !== 0) {
      const mask = config.get(dataAt + MSI.maskBehindData, 4);
      if (((mask >>> vector) & 1) !== 0) return false;
    }
    const high = is64 ? config.get(msiAt + MSI.upperAddress, 4) : 0;
    const data = (config.get(dataAt, 2) & ~(this.#allocated() - 1)) | vector;
    this.#send(config.get(msiAt + MSI.address, 4), high, data);
    return true;
  }

  #send(low: number, high: number, data: number): void {
    const { requester, port } = this.#wiring;
    const address = high * 2 ** 32 + low;
    if (!Number.isSafeInteger(address)) {
      this.state.lost++;
      return;
    }
    this.state.messages++;
    port.send({ requester, kind: 'message', address, data: data >>> 0 });
  }

  /** Vectors of MSI that the guest has allocated. */
  #allocated(): number {
    const { config, msiAt = 0 } = this.#registers;
    const control = config.get(msiAt + MSI.control, 2);
    return 1 << Math.min((control >> MSI.allocatedShift) & 7, (control >> MSI.capableShift) & 7);
  }

  #setPending(vector: number): void {
    const { pending } = this.state;
    pending[vector >> 5] = (pending[vector >> 5] ?? 0) | (1 << (vector & 31));
  }

  #clearPending(vector: number): void {
    const { pending } = this.state;
    pending[vector >> 5] = (pending[vector >> 5] ?? 0) & ~(1 << (vector & 31));
  }
}

/** `bytes` at `offset` of the dword that holds them. */
function part(dword: number, offset: number, bytes: AccessBytes): number {
  const shifted = dword >>> (8 * (offset & 3));
  return bytes === 4 ? shifted : shifted & (bytes === 2 ? 0xffff : 0xff);
}
