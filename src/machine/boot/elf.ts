/**
 * ELF executables with 64 bits for RISC-V: OpenSBI, U-Boot, bare-metal programs, unpacked kernels (System V ABI,
 * chapters "ELF Header" and "Program Header"). Segments go to their physical addresses.
 *
 * A position-independent executable whose addresses lie outside RAM (OpenSBI since 1.5 is linked at 0) moves as a
 * whole to the address where its kind is loaded; such programs relocate themselves.
 * Left out: relocations, section headers, symbols.
 */
import { OperatorError } from '../../base/errors.ts';
import { type BootFile, called, cutOff, damaged, notBootable, Words, wrongArchitecture } from './file.ts';

const ELF64_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const ET = { EXEC: 2, DYN: 3 } as const;
const PT = { LOAD: 1, INTERP: 3 } as const;
const EM_RISCV = 243;
const MACHINES: Record<number, string> = {
  3: 'x86 (32 bits)',
  8: 'MIPS',
  20: 'PowerPC',
  21: 'PowerPC with 64 bits',
  22: 's390',
  40: 'ARM with 32 bits',
  62: 'x86-64',
  183: 'aarch64',
  258: 'LoongArch',
};

/** Bytes at a guest-physical address. The rest of `sizeBytes` behind `bytes` is zero. */
export interface Segment {
  readonly what: string;
  readonly gpa: number;
  /** Borrowed from the file. */
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
}

export interface Program {
  readonly segments: readonly Segment[];
  /** Guest-physical. */
  readonly entry: number;
}

/** RAM, and where a program goes that leaves the choice to us. */
export interface LoadSpace {
  readonly ramBase: number;
  readonly ramEnd: number;
  readonly loadAt: number;
}

/** The program in `file`, which is known to have ELF's magic number. */
export function parseElf(file: BootFile, space: LoadSpace): Program {
  const { bytes } = file;
  const words = new Words(bytes);
  if (bytes.length < ELF64_HEADER_BYTES) throw cutOff(file, bytes.length, ELF64_HEADER_BYTES);
  if (bytes[5] !== 1) throw wrongArchitecture(file, 'a big-endian program');
  const machine = words.u16(18) ?? 0;
  if (machine !== EM_RISCV) {
    throw wrongArchitecture(file, `a program for ${MACHINES[machine] ?? `ELF machine ${machine}`}`);
  }
  if (bytes[4] !== 2) throw wrongArchitecture(file, 'a program for RISC-V with 32 bits');
  const type = words.u16(16);
  if (type !== ET.EXEC && type !== ET.DYN) throw notBootable(file, 'an object file or core dump, not a program');
  const loads = loadableSegments(file, words);
  const lowest = loads.reduce((least, segment) => Math.min(least, segment.physical), Number.MAX_SAFE_INTEGER);
  const moveBy = type === ET.DYN && lowest < space.ramBase ? space.loadAt - lowest : 0;

  const segments = loads.map((segment, i): Segment => {
    const gpa = segment.physical + moveBy;
    if (gpa < space.ramBase || gpa + segment.sizeBytes > space.ramEnd) throw outsideMemory(file, gpa, segment, space);
    const content = bytes.subarray(segment.at, segment.at + segment.fileBytes);
    return { what: `${file.role} segment ${i}`, gpa, bytes: content, sizeBytes: segment.sizeBytes };
  });
  return { segments, entry: physicalEntry(file, words.wide(24) ?? 0n, loads) + moveBy };
}

interface Loadable {
  readonly at: number;
  readonly fileBytes: number;
  readonly virtual: bigint;
  readonly physical: number;
  readonly sizeBytes: number;
}

function loadableSegments(file: BootFile, words: Words): Loadable[] {
  const tableAt = words.u64(32);
  const count = words.u16(56) ?? 0;
  if (words.u16(54) !== PROGRAM_HEADER_BYTES && count > 0) throw damaged(file, 'its program headers have a wrong size');
  if (tableAt === undefined) throw damaged(file, 'its program headers lie nowhere');
  if (tableAt + count * PROGRAM_HEADER_BYTES > words.length) {
    throw cutOff(file, words.length, tableAt + count * PROGRAM_HEADER_BYTES);
  }
  const loads: Loadable[] = [];
  for (let i = 0; i < count; i++) {
    const header = tableAt + i * PROGRAM_HEADER_BYTES;
    const type = words.u32(header);
    if (type === PT.INTERP) {
      throw notBootable(
        file,
        'a program of an operating system (it names an interpreter), nothing that boots by itself',
      );
    }
    const sizeBytes = words.u64(header + 40);
    if (type !== PT.LOAD || sizeBytes === 0) continue;
    const at = words.u64(header + 8);
    const virtual = words.wide(header + 16);
    const physical = words.u64(header + 24);
    const fileBytes = words.u64(header + 32);
    if (at === undefined || virtual === undefined || fileBytes === undefined || sizeBytes === undefined) {
      throw damaged(file, `its segment ${i} has impossible sizes`);
    }
    if (physical === undefined) throw unplaced(file);
    if (fileBytes > sizeBytes) throw damaged(file, `its segment ${i} is larger in the file than in memory`);
    if (at + fileBytes > words.length) throw cutOff(file, words.length, at + fileBytes);
    loads.push({ at, fileBytes, virtual, physical, sizeBytes });
  }
  if (loads.length === 0) throw notBootable(file, 'a program without anything to load');
  return loads;
}

/** The entry is a virtual address; programs that start with paging off are entered at its physical place. */
function physicalEntry(file: BootFile, entry: bigint, loads: readonly Loadable[]): number {
  for (const { virtual, physical, sizeBytes } of loads) {
    const beyond = entry - virtual;
    if (beyond >= 0n && beyond < BigInt(sizeBytes)) return physical + Number(beyond);
  }
  throw damaged(file, `its entry point 0x${entry.toString(16)} lies in none of its segments`);
}

function outsideMemory(file: BootFile, gpa: number, segment: Loadable, space: LoadSpace): OperatorError {
  const range = `0x${gpa.toString(16)} to 0x${(gpa + segment.sizeBytes - 1).toString(16)}`;
  const ram = `0x${space.ramBase.toString(16)} to 0x${(space.ramEnd - 1).toString(16)}`;
  const reachable = gpa >= space.ramBase && gpa < 2 ** 40;
  return new OperatorError(
    reachable ? 'memory-too-small' : `${file.role}-outside-memory`,
    `${called(file)} is linked to ${range}, and the machine's memory is ${ram}`,
    reachable
      ? `Give at least ${Math.ceil((gpa + segment.sizeBytes - space.ramBase) / 2 ** 20)} MiB of memory (-m).`
      : "Link it into the machine's memory; of a Linux kernel give arch/riscv/boot/Image, not vmlinux.",
  );
}

function unplaced(file: BootFile): OperatorError {
  return new OperatorError(
    `${file.role}-outside-memory`,
    `${called(file)} is linked to addresses that no machine has`,
    'Of a Linux kernel give arch/riscv/boot/Image, not vmlinux.',
  );
}
