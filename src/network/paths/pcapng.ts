/**
 * The writer of pcapng files (draft-ietf-opsawg-pcapng): a section header, a description of each interface, then packets
 * with their time, direction and original length; what tcpdump and Wireshark read. Blocks in little-endian:
 *
 *     | type 4 | length 4 | body, padded to 4 | length 4 |
 */
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;
const OPTION = { end: 0, userApplication: 4, name: 2, resolution: 9, flags: 2 } as const;
const NANOSECONDS = 9;

export type Direction = 'in' | 'out';

/** As libpcap has it: more than any frame. */
export const LONGEST_SNAP_BYTES = 262_144;

export class PcapngWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #snapBytes: number;
  readonly #interfaces = new Map<string, number>();

  /** Writes the section header at once. `snapBytes`: what is kept of a frame. `write` gets arrays that are its own. */
  constructor(write: (bytes: Uint8Array) => void, snapBytes = LONGEST_SNAP_BYTES) {
    this.#write = write;
    this.#snapBytes = snapBytes;
    const header = new Uint8Array(16);
    const view = new DataView(header.buffer);
    view.setUint32(0, BYTE_ORDER, true);
    view.setUint16(4, 1, true);
    view.setBigInt64(8, -1n, true);
    this.#block(SECTION_HEADER, [header, option(OPTION.userApplication, text('kagemusha')), end]);
  }

  /** A frame at `wallMs` since 1970, as it passed the interface of that name: `in` to the switch, or `out` of it. */
  packet(name: string, direction: Direction, frame: Uint8Array, wallMs: number): void {
    const kept = frame.subarray(0, this.#snapBytes);
    const head = new Uint8Array(20);
    const view = new DataView(head.buffer);
    view.setUint32(0, this.#interfaceOf(name), true);
    const ns = BigInt(Math.round(wallMs * 1000)) * 1000n;
    view.setUint32(4, Number(ns >> 32n), true);
    view.setUint32(8, Number(ns & 0xffffffffn), true);
    view.setUint32(12, kept.length, true);
    view.setUint32(16, frame.length, true);
    const flags = Uint8Array.of(direction === 'in' ? 1 : 2, 0, 0, 0);
    this.#block(ENHANCED_PACKET, [head, padded(kept), option(OPTION.flags, flags), end]);
  }

  #interfaceOf(name: string): number {
    const known = this.#interfaces.get(name);
    if (known !== undefined) return known;
    const id = this.#interfaces.size;
    this.#interfaces.set(name, id);
    const head = new Uint8Array(8);
    const view = new DataView(head.buffer);
    view.setUint16(0, LINKTYPE_ETHERNET, true);
    view.setUint32(4, this.#snapBytes, true);
    const resolution = option(OPTION.resolution, Uint8Array.of(NANOSECONDS));
    this.#block(INTERFACE_DESCRIPTION, [head, option(OPTION.name, text(name)), resolution, end]);
    return id;
  }

  #block(type: number, parts: readonly Uint8Array[]): void {
    const bodyBytes = parts.reduce((sum, part) => sum + part.length, 0);
    const block = new Uint8Array(bodyBytes + 12);
    const view = new DataView(block.buffer);
    view.setUint32(0, type, true);
    view.setUint32(4, block.length, true);
    let at = 8;
    for (const part of parts) {
      block.set(part, at);
      at += part.length;
    }
    view.setUint32(at, block.length, true);
    this.#write(block);
  }
}

const end = new Uint8Array(4);

function option(code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + roundUp(value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, 4);
  return bytes;
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(roundUp(bytes.length));
  whole.set(bytes);
  return whole;
}

function roundUp(length: number): number {
  return (length + 3) & ~3;
}

/** ASCII is enough for names. */
function text(words: string): Uint8Array {
  return Uint8Array.from(words, (character) => character.charCodeAt(0) & 0x7f);
}
