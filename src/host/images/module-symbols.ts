/**
 * Makes kernel modules lean: the assembler's local labels leave the symbol table. With linker relaxation a riscv64
 * compiler keeps a label for nearly every instruction, and so do Debian's packages: they are 16 of the 22 MB of an
 * initramfs, and the kernel looks at each when it loads a module. What stays is all that debuggers, probes and traces
 * see: functions, objects, and labels that relocations refer to (kallsyms skips names in `.L`). ELF-64 Object File
 * Format, version 1.5: sections 4 and 5.
 *
 * A signature over the file goes as well, because it would not hold. Verifying it is most of what loading a module
 * costs in an emulated processor: `modprobe ext4` takes 1296 million instructions as Debian ships it, 117 without the
 * signature, 42 without the labels too (measured: bench/boot-cost.ts). The packages were checked on the host; in the guest the kernel marks
 * itself as running unsigned modules (taint E).
 */
import { HostError } from '../../base/errors.ts';

const HEADER_BYTES = 64;
const ROW_BYTES = 64;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 24;
/** Section types. */
const SHT = { symtab: 2, rela: 4, nobits: 8, rel: 9, group: 17, symtabShndx: 18 } as const;
/**
 * Behind a signed module (Documentation/admin-guide/module-signing.rst, include/linux/module_signature.h):
 * signature, 12 bytes of which the last four are its length (big-endian), mark.
 */
const SIGNATURE = { mark: '~Module signature appended~\n', informationBytes: 12 } as const;

interface Section {
  readonly row: Buffer;
  readonly type: number;
  readonly link: number;
  data: Buffer;
}

/**
 * The module without its signature and without the labels that nothing refers to. Throws HostError `bad-kernel-module`
 * for a file that is not a whole little-endian ELF64 file.
 */
export function leanModule(bytes: Uint8Array, name: string): Uint8Array {
  const file = withoutSignature(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), name);
  const sections = readSections(file, name);
  const tables = sections.filter((section) => section.type === SHT.symtab);
  const [table] = tables;
  // Formats that modules do not have, and whose references would have to be followed too.
  const isUnusual = sections.some(({ type }) => type === SHT.rel || type === SHT.symtabShndx) || tables.length > 1;
  const strings = table === undefined ? undefined : sections[table.link];
  if (table === undefined || strings === undefined || isUnusual) return file;

  const at = sections.indexOf(table);
  const referring = sections.filter(({ type, link }) => (type === SHT.rela || type === SHT.group) && link === at);
  const kept = symbolsToKeep(table, strings, referring, name);
  if (kept.length === table.data.length / SYMBOL_BYTES) return file;
  const renumbered = new Map(kept.map((old, index) => [old, index]));
  const moved = (old: number): number => {
    const index = renumbered.get(old);
    if (index === undefined) throw bad(name);
    return index;
  };
  for (const section of referring) renumber(section, moved);
  const wasLocal = table.row.readUInt32LE(0x2c);
  table.row.writeUInt32LE(kept.filter((old) => old < wasLocal).length, 0x2c);
  const isNamesToo = sections[file.readUInt16LE(0x3e)] === strings;
  const symbols = kept.map((old) => Buffer.from(table.data.subarray(old * SYMBOL_BYTES, (old + 1) * SYMBOL_BYTES)));
  if (!isNamesToo) strings.data = gatherNames(symbols, strings.data, name);
  table.data = Buffer.concat(symbols);
  return write(file, sections);
}

function withoutSignature(file: Buffer, name: string): Buffer {
  const markAt = file.length - SIGNATURE.mark.length;
  if (markAt < SIGNATURE.informationBytes || file.toString('latin1', markAt) !== SIGNATURE.mark) return file;
  const end = markAt - SIGNATURE.informationBytes - file.readUInt32BE(markAt - 4);
  if (end < 0) throw bad(name);
  return file.subarray(0, end);
}

function readSections(file: Buffer, name: string): Section[] {
  const slice = (at: number, length: number): Buffer => {
    if (!Number.isSafeInteger(at) || !Number.isSafeInteger(length) || at < 0 || length < 0 || at + length > file.length)
      throw bad(name);
    return file.subarray(at, at + length);
  };
  const start = slice(0, HEADER_BYTES);
  if (start.readUInt32BE(0) !== 0x7f454c46 || start[4] !== 2 || start[5] !== 1) throw bad(name);
  const tableAt = Number(start.readBigUInt64LE(0x28));
  if (start.readUInt16LE(0x3a) !== ROW_BYTES) throw bad(name);
  return Array.from({ length: start.readUInt16LE(0x3c) }, (_, i) => {
    const row = Buffer.from(slice(tableAt + i * ROW_BYTES, ROW_BYTES));
    const type = row.readUInt32LE(4);
    const isEmpty = type === SHT.nobits || type === 0;
    const data = isEmpty ? slice(0, 0) : slice(Number(row.readBigUInt64LE(0x18)), Number(row.readBigUInt64LE(0x20)));
    return { row, type, link: row.readUInt32LE(0x28), data };
  });
}

/** Indices into the symbol table, ascending. */
function symbolsToKeep(table: Section, strings: Section, referring: readonly Section[], name: string): number[] {
  if (table.data.length % SYMBOL_BYTES !== 0) throw bad(name);
  const count = table.data.length / SYMBOL_BYTES;
  const isUsed = new Uint8Array(count);
  for (const section of referring) {
    if (section.type === SHT.group) isUsed[section.row.readUInt32LE(0x2c)] = 1;
    else for (const at of relocations(section)) isUsed[section.data.readUInt32LE(at + 12)] = 1;
  }
  const kept: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const at = i * SYMBOL_BYTES;
    const text = table.data.readUInt32LE(at);
    // st_info: binding local, type none.
    const isLabel = table.data[at + 4] === 0 && strings.data[text] === 0x2e && strings.data[text + 1] === 0x4c;
    if (i === 0 || isUsed[i] === 1 || !isLabel) kept.push(i);
  }
  return kept;
}

/** Offsets of the entries; a cut one at the end is none. */
function* relocations({ data }: Section): Generator<number> {
  for (let at = 0; at + RELOCATION_BYTES <= data.length; at += RELOCATION_BYTES) yield at;
}

function renumber(section: Section, moved: (old: number) => number): void {
  if (section.type === SHT.group) {
    section.row.writeUInt32LE(moved(section.row.readUInt32LE(0x2c)), 0x2c);
    return;
  }
  section.data = Buffer.from(section.data);
  for (const at of relocations(section)) section.data.writeUInt32LE(moved(section.data.readUInt32LE(at + 12)), at + 12);
}

/** A string table of the symbols' names alone, each once; their st_name are set to it. */
function gatherNames(symbols: readonly Buffer[], old: Buffer, name: string): Buffer {
  const places = new Map<string, number>([['', 0]]);
  const parts = [Buffer.from([0])];
  let size = 1;
  for (const symbol of symbols) {
    const from = symbol.readUInt32LE(0);
    const to = old.indexOf(0, from);
    if (to < 0) throw bad(name);
    const text = old.toString('latin1', from, to);
    let place = places.get(text);
    if (place === undefined) {
      place = size;
      places.set(text, place);
      const part = Buffer.from(`${text}\0`, 'latin1');
      parts.push(part);
      size += part.length;
    }
    symbol.writeUInt32LE(place, 0);
  }
  return Buffer.concat(parts);
}

/** The sections one behind the other in the order of their offsets, then their table. */
function write(file: Buffer, sections: readonly Section[]): Uint8Array {
  const header = Buffer.from(file.subarray(0, HEADER_BYTES));
  const parts: Buffer[] = [header];
  let end = HEADER_BYTES;
  const align = (alignment: number): void => {
    const padding = (alignment - (end % alignment)) % alignment;
    parts.push(Buffer.alloc(padding));
    end += padding;
  };
  const offsetOf = (section: Section): number => Number(section.row.readBigUInt64LE(0x18));
  for (const section of sections.slice(1).sort((a, b) => offsetOf(a) - offsetOf(b))) {
    align(Math.min(Math.max(Number(section.row.readBigUInt64LE(0x30)), 1), 4096));
    section.row.writeBigUInt64LE(BigInt(end), 0x18);
    if (section.type === SHT.nobits) continue;
    section.row.writeBigUInt64LE(BigInt(section.data.length), 0x20);
    parts.push(section.data);
    end += section.data.length;
  }
  align(8);
  header.writeBigUInt64LE(BigInt(end), 0x28);
  parts.push(...sections.map((section) => section.row));
  return new Uint8Array(Buffer.concat(parts));
}

function bad(name: string): HostError {
  return new HostError('bad-kernel-module', `kernel module ${name} is not a whole ELF64 file`);
}
