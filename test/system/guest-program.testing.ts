/** Programs for Linux in the guest, of instructions of our choice: our assembler's, as static executables. */
import { assemble } from '../../src/isa/index.ts';

const ORIGIN = 0x1_0000;
/** Of the ELF header and one program header (System V ABI, chapters 4 and 5). */
const HEADER_BYTES = 64 + 56;

/** An executable that starts at the source's first instruction; its text may be read. */
export function executable(source: string): Uint8Array {
  const entry = ORIGIN + HEADER_BYTES;
  const { bytes } = assemble(source, BigInt(entry));
  const file = new Uint8Array(HEADER_BYTES + bytes.length);
  const view = new DataView(file.buffer);
  const u64 = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  // Magic; 64 bits, little endian, version 1; an executable for RISC-V, version 1.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  view.setUint32(20, 1, true);
  u64(24, entry);
  u64(32, 64);
  // Double floats and compressed code; sizes of the headers, one program header.
  view.setUint32(48, 5, true);
  for (const [i, value] of [64, 56, 1, 64].entries()) view.setUint16(52 + 2 * i, value, true);
  // Loads the whole file, to be read and executed.
  view.setUint32(64, 1, true);
  view.setUint32(68, 5, true);
  for (const [i, value] of [0, ORIGIN, ORIGIN, file.length, file.length, 0x1000].entries()) u64(72 + 8 * i, value);
  file.set(bytes, HEADER_BYTES);
  return file;
}
