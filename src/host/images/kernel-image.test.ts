import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { OperatorError } from '../../base/errors.ts';
import { unwrapKernel } from './kernel-image.ts';

/** A raw Image's header with some text behind it. */
function rawImage(): Buffer {
  const image = Buffer.alloc(4096, 'kernel');
  image.fill(0, 0, 0x40);
  image.write('MZ', 0, 'latin1');
  image.writeBigUInt64LE(0x1000000n, 0x10);
  image.write('RISCV\0\0\0RSC\x05', 0x30, 'latin1');
  return image;
}

function zboot(compression: string, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(128);
  header.write('MZ\0\0zimg', 0, 'latin1');
  header.writeUInt32LE(128, 8);
  header.writeUInt32LE(payload.length, 12);
  header.write(`${compression}\0`, 24, 'latin1');
  return Buffer.concat([header, payload]);
}

test('a raw Image, a gzip file, and zboot images with gzip and zstd all give the raw Image', () => {
  const raw = rawImage();
  for (const file of [raw, gzipSync(raw), zboot('gzip', gzipSync(raw)), zboot('zstd22', zstdCompressSync(raw))]) {
    const { bytes, sizeInMemoryBytes } = unwrapKernel(file, 'vmlinuz');
    assert.deepEqual(Buffer.from(bytes), raw);
    assert.equal(sizeInMemoryBytes, 0x1000000);
  }
});

test('what cannot be booted is refused with the reason and what to do', () => {
  const raw = rawImage();
  const foreign = Buffer.from(raw);
  foreign.write('ARM\x64', 0x38, 'latin1');
  const elf = Buffer.from(raw);
  elf.write('\x7fELF', 0, 'latin1');
  elf.fill(0, 0x30, 0x40);
  const bad: [Uint8Array, RegExp][] = [
    [Buffer.alloc(0), /not a riscv64 Linux Image/],
    [raw.subarray(0, 0x3f), /not a riscv64 Linux Image/],
    [foreign, /not a riscv64 Linux Image/],
    [elf, /ELF file/],
    [gzipSync(raw).subarray(0, 30), /damaged or cut short/],
    [zboot('gzip', gzipSync(raw)).subarray(0, 150), /cut short/],
    [zboot('xzkern', raw), /compressed with xzkern/],
    [gzipSync(Buffer.from('no kernel')), /not a riscv64 Linux Image/],
  ];
  for (const [file, reason] of bad) {
    assert.throws(
      () => unwrapKernel(file, 'my-kernel'),
      (error) =>
        error instanceof OperatorError &&
        error.code === 'bad-kernel' &&
        reason.test(error.message) &&
        error.message.includes('my-kernel'),
    );
  }
});
