/**
 * Files that an operator gives us to boot, as hostile bytes with a name for messages, and the errors that every
 * parser of them throws. Numbers are little-endian, as in every format here.
 */
import { OperatorError } from '../../base/errors.ts';

/** What a file was given as; messages and fixes speak of it. */
export type BootRole = 'kernel' | 'firmware' | 'initrd';

export interface BootFile {
  readonly role: BootRole;
  /** As the operator named it: a path. */
  readonly name: string;
  /** Borrowed until the plan was carried out. */
  readonly bytes: Uint8Array;
}

/** Little-endian reads that answer undefined where the file ends: no parser can read beyond it by accident. */
export class Words {
  readonly length: number;
  readonly #data: DataView;

  constructor(bytes: Uint8Array) {
    this.length = bytes.length;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  u16(at: number): number | undefined {
    return at + 2 <= this.length ? this.#data.getUint16(at, true) : undefined;
  }

  u32(at: number): number | undefined {
    return at + 4 <= this.length ? this.#data.getUint32(at, true) : undefined;
  }

  /** As a number: undefined as well for values above 2^53 - 1, which are no sizes and no addresses of ours. */
  u64(at: number): number | undefined {
    if (at + 8 > this.length) return undefined;
    const value = this.#data.getBigUint64(at, true);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
  }

  /** Exact, for virtual addresses. */
  wide(at: number): bigint | undefined {
    return at + 8 <= this.length ? this.#data.getBigUint64(at, true) : undefined;
  }
}

/** Whether the bytes at `at` are this text (one character a byte). */
export function hasText(bytes: Uint8Array, at: number, text: string): boolean {
  if (at + text.length > bytes.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** `kernel 'vmlinuz'`. */
export function called(file: BootFile): string {
  return `${file.role} '${file.name}'`;
}

const RIGHT_KIND: Record<BootRole, string> = {
  kernel: "Use a riscv64 kernel, such as the one in Debian's linux-image-riscv64.",
  firmware: "Use riscv64 firmware, such as the one in Debian's opensbi.",
  initrd: 'Give an initial RAM disk made for this kernel.',
};

export function wrongArchitecture(file: BootFile, what: string): OperatorError {
  return new OperatorError(
    `${file.role}-wrong-architecture`,
    `${called(file)} is ${what}; this machine is RISC-V with 64 bits`,
    RIGHT_KIND[file.role],
  );
}

export function cutOff(file: BootFile, haveBytes: number, wantBytes: number): OperatorError {
  return new OperatorError(
    `${file.role}-truncated`,
    `${called(file)} is cut off: ${haveBytes} of at least ${wantBytes} bytes`,
    'Copy or download it again.',
  );
}

export function damaged(file: BootFile, why: string, cause?: unknown): OperatorError {
  const options = cause === undefined ? undefined : { cause };
  return new OperatorError(
    `${file.role}-damaged`,
    `${called(file)} is damaged: ${why}`,
    'Copy or download it again.',
    options,
  );
}

export function notBootable(file: BootFile, what: string, fix = RIGHT_KIND[file.role]): OperatorError {
  return new OperatorError(`${file.role}-not-recognized`, `${called(file)} is ${what}`, fix);
}
