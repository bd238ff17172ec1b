/** Reads what a machine boots from, each file once, with errors that say which and what to do; and plans the boot. */
import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { OperatorError } from '../../base/errors.ts';
import { type BootFile, type BootPlan, planVirtBoot, type VirtBoot } from '../../machine/index.ts';
import type { MachineOptions } from './machine-api.ts';

type Role = BootFile['role'];

const FLAG: Record<Role, string> = { kernel: '--kernel', initrd: '--initrd', firmware: '--bios' };

/** What an initramfs holds that has the guest agent already. */
const AGENT_MARK = 'etc/kagemusha/agent';
/** Smaller arrays may share a buffer with others, and are not worth the care. */
const RELEASED_LEAST_BYTES = 2 ** 20;

/** What a machine boots from, in memory once: `releaseBootFiles` gives it back when the guest has its copy. */
export interface BootFiles {
  readonly kernel?: BootFile;
  readonly initrd?: BootFile;
  readonly firmware?: BootFile;
  /** The agent's overlay was appended to the initrd. */
  readonly hasOverlay: boolean;
}

/** Reads the files that the options name; `overlay` goes behind an initrd that has no agent. Throws OperatorError. */
export function readBootFiles({ kernel, initrd, bios }: MachineOptions, overlay?: Uint8Array): BootFiles {
  const archive = initrd === undefined ? undefined : readInitrd(initrd, overlay);
  return {
    ...(kernel === undefined ? {} : { kernel: readBootFile('kernel', kernel) }),
    ...(archive === undefined ? {} : { initrd: archive.file }),
    ...(bios === undefined || bios === 'none' ? {} : { firmware: readBootFile('firmware', bios) }),
    hasOverlay: archive?.hasOverlay ?? false,
  };
}

/**
 * Frees the arrays of the files and of what was unpacked from them: they would stay until a garbage collection, for
 * which an idle main thread has no cause.
 */
export function releaseBootFiles({ kernel, initrd, firmware }: BootFiles, plan: BootPlan): void {
  const buffers = new Set<ArrayBufferLike>();
  for (const part of [kernel, initrd, firmware, ...plan.segments]) if (part) buffers.add(part.bytes.buffer);
  for (const buffer of buffers) {
    if (buffer instanceof ArrayBuffer && buffer.byteLength >= RELEASED_LEAST_BYTES) buffer.transfer(0);
  }
}

/** The file's bytes. Throws OperatorError `kernel-not-found` and the like. */
export function readBootFile(role: Role, path: string): BootFile {
  return { role, name: path, bytes: readBytes(role, path, 0) };
}

/**
 * Initramfs archives are concatenated on a boundary of four bytes; later files replace earlier ones. There is room for
 * the overlay from the start, so that nothing is copied.
 */
function readInitrd(path: string, overlay: Uint8Array | undefined): { file: BootFile; hasOverlay: boolean } {
  const role = 'initrd';
  if (overlay === undefined) return { file: readBootFile(role, path), hasOverlay: false };
  const bytes = readBytes(role, path, overlay.length + 3);
  const own = bytes.subarray(0, bytes.length - overlay.length - 3);
  if (own.length === 0 || Buffer.from(own.buffer, 0, own.length).includes(AGENT_MARK))
    return { file: { role, name: path, bytes: own }, hasOverlay: false };
  const start = Math.ceil(own.length / 4) * 4;
  bytes.set(overlay, start);
  return { file: { role, name: path, bytes: bytes.subarray(0, start + overlay.length) }, hasOverlay: true };
}

/** The file's bytes at the start of an array of its own, with `room` zeros behind. */
function readBytes(role: Role, path: string, room: number): Uint8Array {
  try {
    const file = openSync(path, 'r');
    try {
      const stat = fstatSync(file);
      if (!stat.isFile()) return withRoom(readFileSync(file), room);
      const bytes = new Uint8Array(stat.size + room);
      let done = 0;
      for (let count = -1; count !== 0 && done < stat.size; done += count) {
        count = readSync(file, bytes, done, stat.size - done, null);
      }
      return done === stat.size ? bytes : withRoom(bytes.subarray(0, done), room);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why =
      code === 'ENOENT'
        ? 'does not exist'
        : code === 'EISDIR'
          ? 'is a folder'
          : code === 'EACCES'
            ? 'may not be read'
            : `cannot be read (${code})`;
    throw new OperatorError(
      `${role}-not-${code === 'ENOENT' ? 'found' : 'readable'}`,
      `the ${role} ${path} ${why}`,
      `Name a readable file with ${FLAG[role]}.`,
      { cause },
    );
  }
}

function withRoom(bytes: Uint8Array, room: number): Uint8Array {
  const out = new Uint8Array(bytes.length + room);
  out.set(bytes);
  return out;
}

export function planMachineBoot(
  options: MachineOptions,
  files: BootFiles,
  machine: Pick<VirtBoot, 'memoryBytes' | 'harts' | 'extensions' | 'seed' | 'aia' | 'aiaGuests' | 'pcie'>,
): BootPlan {
  return planVirtBoot({
    ...machine,
    ...(options.append === undefined ? {} : { append: options.append }),
    firmware: files.firmware ?? (options.bios === undefined ? 'built-in' : 'none'),
    ...(files.kernel ? { kernel: files.kernel } : {}),
    ...(files.initrd ? { initrd: files.initrd } : {}),
    decompress: {
      gunzip: (bytes, mostBytes) => gunzipSync(bytes, { maxOutputLength: mostBytes }),
      unzstd: (bytes, mostBytes) => zstdDecompressSync(bytes, { maxOutputLength: mostBytes }),
    },
  });
}

/** 64 bytes for the kernel's generator: from the seed where one is given, else fresh. */
export function bootSeed(seed: number | undefined): Uint8Array {
  return seed === undefined ? new Uint8Array(randomBytes(64)) : seededBytes(seed, 64);
}

/** Bytes that follow from a seed (xorshift32; not for secrets). */
export function seededBytes(seed: number, count: number): Uint8Array {
  let x = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return Uint8Array.from({ length: count }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x & 255;
  });
}
