/**
 * IMSIC: the pages to which messages for interrupt files are written (AIA specification, chapter "Incoming MSI Controller",
 * section "Memory region for an interrupt file"), as in QEMU's `virt`: one window for machine level, one for supervisor
 * level with guests' files behind each hart's own. The files themselves are the harts' (isa/interrupt-files.ts); a message
 * is one atomic operation on them, so that no lock is held here, and any thread may send.
 *
 *     page = hart << guest bits | file          offset 0: seteipnum_le
 *
 * Left out: seteipnum_be, which a little-endian machine may ignore.
 */
import { assert } from '../../base/assert.ts';
import { struct } from '../../base/struct.ts';
import type { AccessBytes, Block, Device } from '../device.ts';
import { accessCounters, RegisterTable } from '../registers.ts';

const PAGE_BYTES = 0x1000;

export interface ImsicOptions {
  readonly harts: number;
  /** Files of each hart in this window: its own, then guests'. */
  readonly files: number;
}

/** What a message is for. */
export interface Message {
  readonly hart: number;
  /** 0: the hart's own, n: guest n's. */
  readonly file: number;
  readonly identity: number;
}

export class Imsic implements Device {
  /** The registers of a window with so many pages. */
  static registers(pages: number): RegisterTable<Imsic> {
    return new RegisterTable<Imsic>([
      {
        at: 0,
        bytes: 4,
        name: 'seteipnum_le',
        array: { count: pages, strideBytes: PAGE_BYTES },
        read: () => 0,
        write: (imsic, value, page) => imsic.#post(page, value),
        reset: 0,
        does: 'file n: sets the pending bit of an identity',
      },
      {
        at: 4,
        bytes: 4,
        name: 'seteipnum_be',
        array: { count: pages, strideBytes: PAGE_BYTES },
        read: () => 0,
        write: () => {},
        reset: 0,
        does: 'ignored',
      },
    ]);
  }

  static readonly layout = struct('imsic', accessCounters);

  /** Bits of a page's number that choose one of a hart's files. */
  static fileBits(files: number): number {
    return Math.ceil(Math.log2(files));
  }

  readonly name: string;
  readonly sizeBytes: number;
  readonly layout: typeof Imsic.layout = Imsic.layout;
  readonly state: ReturnType<typeof Imsic.layout.view>;
  readonly registers: RegisterTable<Imsic>;
  readonly #options: ImsicOptions;
  readonly #deliver: (message: Message) => void;

  constructor(name: string, block: Block, options: ImsicOptions, deliver: (message: Message) => void) {
    const { harts, files } = options;
    assert(harts >= 1 && files >= 1, 'an IMSIC without files');
    const pages = harts << Imsic.fileBits(files);
    this.name = name;
    this.sizeBytes = pages * PAGE_BYTES;
    this.state = this.layout.view(block.buffer, block.at);
    this.registers = Imsic.registers(pages);
    this.#options = options;
    this.#deliver = deliver;
  }

  reset(): void {
    this.state.unassignedReads = this.state.unassignedWrites = 0;
  }

  /** Nothing: the lines are driven by who changes a file. */
  drive(): void {}

  read(offset: number, bytes: AccessBytes): number {
    return this.registers.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    this.registers.write(this, offset, bytes, value);
  }

  /** A message is atomic by itself. */
  isPosted(offset: number): boolean {
    return offset % PAGE_BYTES === 0;
  }

  #post(page: number, identity: number): void {
    const bits = Imsic.fileBits(this.#options.files);
    const file = page & ((1 << bits) - 1);
    if (file < this.#options.files) this.#deliver({ hart: page >> bits, file, identity });
  }
}
