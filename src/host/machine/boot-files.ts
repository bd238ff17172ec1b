/** Reads what a machine boots from, with errors that say which file and what to do; and plans the boot. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { OperatorError } from '../../base/errors.ts';
import { type BootFile, type BootPlan, planVirtBoot } from '../../machine/index.ts';
import type { MachineOptions } from './machine-api.ts';

type Role = BootFile['role'];

const FLAG: Record<Role, string> = { kernel: '--kernel', initrd: '--initrd', firmware: '--bios' };

/** The file's bytes. Throws OperatorError `kernel-not-found` and the like. */
export function readBootFile(role: Role, path: string): BootFile {
  try {
    return { role, name: path, bytes: new Uint8Array(readFileSync(path)) };
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

export function planMachineBoot(
  options: MachineOptions,
  machine: {
    memoryBytes: number;
    harts: number;
    extensions: ReadonlySet<string>;
    agentInitrd?: Uint8Array;
    seed: Uint8Array;
  },
): BootPlan {
  const initrd = options.initrd === undefined ? undefined : readBootFile('initrd', options.initrd);
  const withAgent =
    initrd && machine.agentInitrd ? { ...initrd, bytes: concatenate(initrd.bytes, machine.agentInitrd) } : initrd;
  return planVirtBoot({
    memoryBytes: machine.memoryBytes,
    harts: machine.harts,
    extensions: machine.extensions,
    seed: machine.seed,
    ...(options.append === undefined ? {} : { append: options.append }),
    firmware:
      options.bios === undefined
        ? 'built-in'
        : options.bios === 'none'
          ? 'none'
          : readBootFile('firmware', options.bios),
    ...(options.kernel === undefined ? {} : { kernel: readBootFile('kernel', options.kernel) }),
    ...(withAgent === undefined ? {} : { initrd: withAgent }),
    decompress: {
      gunzip: (bytes, mostBytes) => new Uint8Array(gunzipSync(bytes, { maxOutputLength: mostBytes })),
      unzstd: (bytes, mostBytes) => new Uint8Array(zstdDecompressSync(bytes, { maxOutputLength: mostBytes })),
    },
  });
}

/** Initramfs archives are concatenated on a boundary of four bytes; later files replace earlier ones. */
function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  const start = Math.ceil(first.length / 4) * 4;
  const out = new Uint8Array(start + second.length);
  out.set(first);
  out.set(second, start);
  return out;
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
