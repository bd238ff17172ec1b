/**
 * From an operator's files to what goes where in guest memory and where the harts start. Three ways to boot:
 *
 *     firmware   harts start                       kernel goes to
 *     built-in   hart 0 in S at the kernel         0x80000000 + its text offset (0x80200000)
 *     a file     all in M at the reset ROM         the first multiple of 2 MiB behind the firmware
 *     none       all in M at the reset ROM         0x80000000
 *
 * Initial RAM disk and device tree go where QEMU puts them if they fit there, else as high as they fit: the tree at
 * the last 2 MiB border that leaves it room below the end of RAM, the disk half of RAM (512 MiB at most) behind the
 * kernel. Everything is checked for room and overlap; what does not fit is an operator's error with a number.
 */
import { AssertionError, assert, must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import { roundUp } from '../../base/struct.ts';
import { MEMORY_LIMITS, PAYLOAD_OFFSET, VIRT } from '../virt-map.ts';
import { type LoadSpace, type Program, parseElf, type Segment } from './elf.ts';
import { type BootFile, called, notBootable, wrongArchitecture } from './file.ts';
import { identify } from './format.ts';
import { parseLinuxImage } from './linux-image.ts';
import { RESET_ADDRESS, resetVector } from './reset-vector.ts';
import { type Decompressors, unwrap } from './unwrap.ts';

const PAGE = 4096;
const MiB = 2 ** 20;
const INITRD_MOST_OFFSET = 512 * MiB;
/** More than any kernel has; what a wrapping may grow to. */
const UNWRAPPED_MOST_BYTES = 2 ** 30;
const RAW_FIX = 'Give a riscv64 Image, ELF or EFI zboot kernel; a raw program starts in machine mode with --bios.';

export interface BootRequest {
  readonly memoryBytes: number;
  readonly firmware: 'built-in' | 'none' | BootFile;
  readonly kernel?: BootFile;
  readonly initrd?: BootFile;
  readonly decompress: Decompressors;
  /** The flattened tree, `initrd` in its /chosen. Called more than once; the size must not depend on the numbers. */
  deviceTree(initrd: AddressRange | undefined): Uint8Array;
}

/** Guest-physical; `end` is the first byte behind. */
export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

export interface BootPlan {
  /** S: hart 0 starts at `entry` with a0 = 0, a1 = fdtAddress, the others wait for SBI. M: all harts start at `entry`. */
  readonly mode: 'S' | 'M';
  readonly entry: number;
  /** Without overlap, in order of address. The first of mode M is the reset ROM; the others lie in RAM. */
  readonly segments: readonly Segment[];
  readonly fdtAddress: number;
  readonly initrd?: AddressRange;
}

/** Throws OperatorError for files that do not boot here and memory that does not hold them. */
export function planBoot(request: BootRequest): BootPlan {
  checkMemory(request.memoryBytes);
  const ram = { start: VIRT.ram.base, end: VIRT.ram.base + request.memoryBytes };
  const mode = request.firmware === 'built-in' ? 'S' : 'M';
  if (request.kernel === undefined && typeof request.firmware === 'string') throw nothingToBoot(request.firmware);

  const by = request.decompress;
  const firmware =
    typeof request.firmware === 'string'
      ? undefined
      : load(request.firmware, { ram, loadAt: ram.start, runsIn: 'M', rawToo: true, by });
  const firmwareEnd = Math.max(ram.start, endOf(firmware?.segments ?? []));
  const kernel =
    request.kernel &&
    load(request.kernel, {
      ram,
      loadAt: mode === 'S' ? ram.start + PAYLOAD_OFFSET : roundUp(firmwareEnd, PAYLOAD_OFFSET),
      runsIn: request.firmware === 'none' ? 'M' : 'S',
      rawToo: mode === 'M',
      by,
    });

  const programs = [...(firmware?.segments ?? []), ...(kernel?.segments ?? [])];
  const data = placeData(request, ram, endOf(programs), startOf(kernel?.segments ?? firmware?.segments ?? []));
  const start = must(firmware?.entry ?? kernel?.entry);
  const rom = mode === 'S' ? [] : [romSegment(start, data.fdt.gpa, kernel?.entry ?? 0)];
  const initrd = data.initrd === undefined ? [] : [data.initrd];
  const segments = [...rom, ...programs, ...initrd, data.fdt].sort((a, b) => a.gpa - b.gpa);
  refuseOverlap(segments);
  return {
    mode,
    entry: mode === 'M' ? RESET_ADDRESS : start,
    segments,
    fdtAddress: data.fdt.gpa,
    ...(data.initrd === undefined ? {} : { initrd: rangeOf(data.initrd) }),
  };
}

interface LoadWishes {
  readonly ram: AddressRange;
  /** For what has no address of its own. */
  readonly loadAt: number;
  readonly runsIn: 'S' | 'M';
  /** Whether bytes of no known format are taken as a program. */
  readonly rawToo: boolean;
  readonly by: Decompressors;
}

function load(file: BootFile, { ram, loadAt, runsIn, rawToo, by }: LoadWishes): Program {
  if (file.bytes.length === 0) throw notBootable(file, 'empty');
  const inner = unwrap(file, by, UNWRAPPED_MOST_BYTES);
  const format = identify(inner.bytes);
  switch (format.kind) {
    case 'elf': {
      const space: LoadSpace = { ramBase: ram.start, ramEnd: ram.end, loadAt };
      return parseElf(inner, space);
    }
    case 'image': {
      const image = parseLinuxImage(inner, runsIn);
      const gpa = runsIn === 'S' ? Math.max(loadAt, ram.start + image.textOffset) : loadAt;
      return inOnePiece(inner, ram, gpa, image.sizeBytes);
    }
    case 'foreign':
      throw wrongArchitecture(file, format.what);
    case 'mistake':
      throw notBootable(file, format.what, format.fix);
    case 'compressed':
    case 'zboot':
      throw new AssertionError('unwrap left a wrapping');
    case 'unknown':
      if (!rawToo) throw notBootable(file, 'not a kernel of any format known here', RAW_FIX);
      return inOnePiece(inner, ram, loadAt, inner.bytes.length);
  }
}

function inOnePiece(file: BootFile, ram: AddressRange, gpa: number, sizeBytes: number): Program {
  if (gpa + sizeBytes > ram.end) throw tooSmall(ram, gpa + sizeBytes - ram.start, `${called(file)} needs`);
  return { segments: [{ what: file.role, gpa, bytes: file.bytes, sizeBytes }], entry: gpa };
}

function placeData(
  request: BootRequest,
  ram: AddressRange,
  programsEnd: number,
  kernelStart: number,
): { fdt: Segment; initrd?: Segment } {
  if (request.initrd !== undefined) checkInitrd(request.initrd);
  const initrdBytes = request.initrd?.bytes.length ?? 0;
  const sample = request.deviceTree(request.initrd && { start: ram.start, end: ram.start + initrdBytes });
  const wanted = programsEnd - ram.start + roundUp(initrdBytes, PAGE) + roundUp(sample.length, PAGE) + PAGE;
  const fdtAddress = placeTree(ram, programsEnd, sample.length);
  if (fdtAddress === undefined) throw tooSmall(ram, wanted, `${contents(request)} need`);
  if (request.initrd === undefined) {
    return { fdt: { what: 'device tree', gpa: fdtAddress, bytes: sample, sizeBytes: sample.length } };
  }
  const start = placeInitrd(request.memoryBytes, programsEnd, kernelStart, fdtAddress, initrdBytes);
  if (start === undefined) throw tooSmall(ram, wanted + PAYLOAD_OFFSET, `${contents(request)} need`);
  const tree = request.deviceTree({ start, end: start + initrdBytes });
  assert(tree.length === sample.length, 'the size of the device tree depends on the place of the initrd');
  return {
    fdt: { what: 'device tree', gpa: fdtAddress, bytes: tree, sizeBytes: tree.length },
    initrd: { what: 'initrd', gpa: start, bytes: request.initrd.bytes, sizeBytes: initrdBytes },
  };
}

function checkInitrd(initrd: BootFile): void {
  if (initrd.bytes.length === 0) throw notBootable(initrd, 'empty');
  const { kind } = identify(initrd.bytes);
  if (kind === 'image' || kind === 'zboot' || kind === 'elf' || kind === 'foreign') {
    throw notBootable(initrd, 'a program, not an initial RAM disk', 'Give a kernel with --kernel.');
  }
}

function placeTree(ram: AddressRange, programsEnd: number, sizeBytes: number): number | undefined {
  for (const alignment of [PAYLOAD_OFFSET, PAGE]) {
    const gpa = roundDown(ram.end - sizeBytes, alignment);
    if (gpa >= programsEnd) return gpa;
  }
  return undefined;
}

function placeInitrd(
  memoryBytes: number,
  programsEnd: number,
  kernelStart: number,
  fdtAddress: number,
  sizeBytes: number,
): number | undefined {
  const usual = roundDown(kernelStart + Math.min(memoryBytes / 2, INITRD_MOST_OFFSET), PAGE);
  if (usual >= programsEnd && usual + sizeBytes <= fdtAddress) return usual;
  const highest = roundDown(fdtAddress - sizeBytes, PAGE);
  return highest >= programsEnd ? highest : undefined;
}

function romSegment(start: number, fdtAddress: number, next: number): Segment {
  const bytes = resetVector({ start, fdtAddress, next });
  return { what: 'reset vector', gpa: VIRT.resetRom.base, bytes, sizeBytes: bytes.length };
}

function refuseOverlap(sorted: readonly Segment[]): void {
  sorted.forEach((segment, i) => {
    const next = sorted[i + 1];
    if (next === undefined || segment.gpa + segment.sizeBytes <= next.gpa) return;
    throw new OperatorError(
      'boot-overlap',
      `${segment.what} and ${next.what} both lie at 0x${next.gpa.toString(16)}`,
      'Link one of them elsewhere.',
    );
  });
}

function checkMemory(memoryBytes: number): void {
  const { leastBytes, mostBytes } = MEMORY_LIMITS;
  if (memoryBytes % PAGE === 0 && memoryBytes >= leastBytes && memoryBytes <= mostBytes) return;
  throw new OperatorError(
    'memory-size-invalid',
    `a machine cannot have ${memoryBytes} bytes of memory`,
    `Give whole pages between ${leastBytes / MiB} MiB and ${mostBytes / 2 ** 30} GiB (-m 512M).`,
  );
}

function nothingToBoot(firmware: 'built-in' | 'none'): OperatorError {
  return new OperatorError(
    'kernel-missing',
    firmware === 'none' ? 'there is neither firmware nor kernel to start' : 'there is no kernel to start',
    'Give a kernel with --kernel, or firmware with --bios.',
  );
}

function tooSmall(ram: AddressRange, needBytes: number, who: string): OperatorError {
  const needMiB = Math.ceil(needBytes / MiB);
  return new OperatorError(
    'memory-too-small',
    `${who} ${needMiB} MiB of memory, and the machine has ${(ram.end - ram.start) / MiB} MiB`,
    `Give at least ${roundUp(needMiB, 16)} MiB (-m ${roundUp(needMiB, 16)}M); a server wants more.`,
  );
}

function contents(request: BootRequest): string {
  const parts = [
    ...(typeof request.firmware === 'string' ? [] : ['firmware']),
    ...(request.kernel === undefined ? [] : ['kernel']),
    ...(request.initrd === undefined ? [] : ['initrd']),
  ];
  return `${parts.join(', ')} and device tree`;
}

function rangeOf(segment: Segment): AddressRange {
  return { start: segment.gpa, end: segment.gpa + segment.sizeBytes };
}

function startOf(segments: readonly Segment[]): number {
  return segments.reduce((start, segment) => Math.min(start, segment.gpa), Number.MAX_SAFE_INTEGER);
}

function endOf(segments: readonly Segment[]): number {
  return segments.reduce((end, segment) => Math.max(end, segment.gpa + segment.sizeBytes), 0);
}

function roundDown(value: number, to: number): number {
  return Math.floor(value / to) * to;
}
