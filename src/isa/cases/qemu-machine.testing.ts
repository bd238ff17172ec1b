/**
 * QEMU as a machine that runs cases, thousands in one start: a harness in M-mode takes records from RAM, puts each
 * one's instructions and registers in place, executes them, and writes the outcome behind the record. RAM is a file
 * that both sides see, so that nothing passes through a console. All code memory in reach of a jump holds c.ebreak:
 * wherever an instruction goes, the handler sees it arrive.
 *
 *   0x80000000  code, data window (CASE_RAM), c.ebreak up to 1 MiB beyond
 *   0x80200000  harness
 *   0x80300000  number of records, the data window's pattern
 *   0x80400000  records of 2 KiB: inputs, outcome
 */
import { execFile } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assert, must } from '../../base/assert.ts';
import { assemble } from '../assembler.ts';
import {
  CASE_DATA,
  CASE_PC,
  type InstructionCase,
  initialData,
  initialF,
  initialX,
  type Outcome,
} from './instruction-case.testing.ts';

const RAM = 0x8000_0000;
const RAM_BYTES = 0x1000_0000;
const LANDING_BYTES = 0x11_0000;
const HARNESS = 0x8020_0000;
const HEADER = 0x8030_0000;
/** The end of the records, once the harness has come there: QEMU ends without an error when it is stopped, too. */
const DONE = HEADER + 512;
const RECORDS = 0x8040_0000;
const RECORD_BYTES = 2048;
/** Of one start; bounds the memory for inputs and outcomes. */
const BATCH = 16_384;
const TIMEOUT_MS = 120_000;

/** Byte offsets in a record. `code` is four words at CASE_PC - 8: what goes before, the instruction, c.ebreak. */
const AT = {
  x: 0,
  f: 256,
  frm: 512,
  fs: 520,
  pc: 528,
  code: 536,
  outX: 1024,
  outF: 1280,
  mepc: 1536,
  mcause: 1544,
  mtval: 1552,
  fcsr: 1560,
  mstatus: 1568,
  data: 1600,
} as const;
const C_EBREAK = 0x9002;
const NOP = 0x13;
/** Where QEMU starts: a jump to the harness, which then puts c.ebreak there, too. */
const START = assemble(`li t0, ${HARNESS}\njr t0`, BigInt(RAM)).bytes;
const START_WORDS = START.length / 4;
const FS_SHIFT = 13n;

const lines = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');

const SOURCE = `
        la    t0, handler
        csrw  mtvec, t0
        li    t0, ${RAM}
        li    t1, 0x${C_EBREAK.toString(16)}${C_EBREAK.toString(16)}
${lines(START_WORDS, (i) => `        sw    t1, ${4 * i}(t0)`)}
        li    x31, ${RECORDS}
        csrw  mscratch, x31
next:   li    t0, ${HEADER}
        ld    t1, 0(t0)
        csrr  x31, mscratch
        beq   x31, t1, finish
        li    t2, ${CASE_PC - 8n}
        ld    t1, ${AT.code}(x31)
        sd    t1, 0(t2)
        ld    t1, ${AT.code + 8}(x31)
        sd    t1, 8(t2)
        fence.i
        li    t2, ${CASE_DATA.base}
        addi  t3, t2, ${CASE_DATA.sizeBytes}
1:      ld    t1, 8(t0)
        sd    t1, 0(t2)
        addi  t0, t0, 8
        addi  t2, t2, 8
        bne   t2, t3, 1b
        li    t1, 0x6000
        csrs  mstatus, t1
${lines(32, (i) => `        fld   f${i}, ${AT.f + 8 * i}(x31)`)}
        ld    t1, ${AT.frm}(x31)
        slli  t1, t1, 5
        fscsr t1
        li    t1, 0x6000
        csrc  mstatus, t1
        ld    t1, ${AT.fs}(x31)
        csrs  mstatus, t1
        li    t1, 0x1800
        csrs  mstatus, t1
        ld    t1, ${AT.pc}(x31)
        csrw  mepc, t1
        addi  t1, x31, ${AT.outX}
        sc.w  zero, zero, (t1)
${lines(31, (i) => `        ld    x${i + 1}, ${AT.x + 8 * (i + 1)}(x31)`)}
        mret
        .balign 4
handler:
        csrrw x31, mscratch, x31
${lines(30, (i) => `        sd    x${i + 1}, ${AT.outX + 8 * (i + 1)}(x31)`)}
        csrrw x1, mscratch, x31
        sd    x1, ${AT.outX + 8 * 31}(x31)
        sd    zero, ${AT.outX}(x31)
        csrr  t1, mepc
        sd    t1, ${AT.mepc}(x31)
        csrr  t1, mcause
        sd    t1, ${AT.mcause}(x31)
        csrr  t1, mtval
        sd    t1, ${AT.mtval}(x31)
        csrr  t1, mstatus
        sd    t1, ${AT.mstatus}(x31)
        li    t1, 0x6000
        csrs  mstatus, t1
${lines(32, (i) => `        fsd   f${i}, ${AT.outF + 8 * i}(x31)`)}
        csrr  t1, fcsr
        sd    t1, ${AT.fcsr}(x31)
        li    t2, ${CASE_DATA.base}
        addi  t3, t2, ${CASE_DATA.sizeBytes}
        mv    t0, x31
1:      ld    t1, 0(t2)
        sd    t1, ${AT.data}(t0)
        addi  t0, t0, 8
        addi  t2, t2, 8
        bne   t2, t3, 1b
        li    t1, ${RECORD_BYTES}
        add   x31, x31, t1
        csrw  mscratch, x31
        j     next
finish: sd    x31, ${DONE - HEADER}(t0)
        li    t0, 0x100000
        li    t1, 0x5555
        sw    t1, 0(t0)
        j     .
`;

/**
 * Runs the cases in the QEMU at `path`. A trap's pc is the instruction's own there, so that `pc` is CASE_PC for
 * outcomes with a trap. Cases that jump into the data window, or to themselves, cannot be run this way.
 */
export async function runInQemu(path: string, cases: readonly InstructionCase[]): Promise<readonly Outcome[]> {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-qemu-'));
  try {
    const outcomes: Outcome[] = [];
    for (let from = 0; from < cases.length; from += BATCH) {
      outcomes.push(...(await runBatch(path, join(folder, 'ram'), cases.slice(from, from + BATCH))));
    }
    return outcomes;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runBatch(path: string, file: string, cases: readonly InstructionCase[]): Promise<readonly Outcome[]> {
  const records = Buffer.alloc(cases.length * RECORD_BYTES);
  for (const [i, c] of cases.entries()) writeRecord(records.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES), c);
  const header = Buffer.concat([Buffer.alloc(8), initialData()]);
  header.writeBigUInt64LE(BigInt(RECORDS + records.length));
  const landing = Buffer.alloc(LANDING_BYTES);
  for (let at = 0; at < landing.length; at += 2) landing.writeUInt16LE(C_EBREAK, at);
  landing.set(START);
  const descriptor = openSync(file, 'w+');
  try {
    writeSync(descriptor, Buffer.alloc(1), 0, 1, RAM_BYTES - 1);
    const parts: readonly [Uint8Array, number][] = [
      [landing, RAM],
      [assemble(SOURCE, BigInt(HARNESS)).bytes, HARNESS],
      [header, HEADER],
      [records, RECORDS],
    ];
    for (const [bytes, address] of parts) writeSync(descriptor, bytes, 0, bytes.length, address - RAM);
    const memory = `memory-backend-file,id=ram,size=${RAM_BYTES},mem-path=${file},share=on`;
    const machine = [
      '-machine',
      'virt,memory-backend=ram',
      '-m',
      `${RAM_BYTES >> 20}M`,
      '-object',
      memory,
      '-cpu',
      'max',
      '-bios',
      'none',
    ];
    await promisify(execFile)(path, [...machine, '-display', 'none', '-serial', 'none', '-monitor', 'none'], {
      timeout: TIMEOUT_MS,
    });
    const done = Buffer.alloc(8);
    readSync(descriptor, done, 0, 8, DONE - RAM);
    assert(done.readBigUInt64LE() === BigInt(RECORDS + records.length), 'a case did not come back to the harness');
    readSync(descriptor, records, 0, records.length, RECORDS - RAM);
  } finally {
    closeSync(descriptor);
  }
  return cases.map((_, i) => readRecord(records.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES)));
}

function writeRecord(record: Buffer, c: InstructionCase): void {
  for (let i = 0; i < 32; i++) {
    record.writeBigUInt64LE(initialX(c, i), AT.x + 8 * i);
    record.writeBigUInt64LE(initialF(c, i), AT.f + 8 * i);
  }
  record.writeBigUInt64LE(BigInt(c.frm), AT.frm);
  record.writeBigUInt64LE(c.isFloatOn ? 1n << FS_SHIFT : 0n, AT.fs);
  record.writeBigUInt64LE(CASE_PC - BigInt(4 * c.before.length), AT.pc);
  assert(c.before.length <= 2, 'room for two instructions before the last');
  const breaks = C_EBREAK * 0x10000 + C_EBREAK;
  const before = [NOP, NOP, ...c.before].slice(-2);
  const code = [...before, c.length === 4 ? c.bits : c.bits + C_EBREAK * 0x10000, breaks];
  for (const [i, word] of code.entries()) record.writeUInt32LE(word >>> 0, AT.code + 4 * i);
}

function readRecord(record: Buffer): Outcome {
  const words = (at: number): bigint[] => Array.from({ length: 32 }, (_, i) => record.readBigUInt64LE(at + 8 * i));
  const pc = record.readBigUInt64LE(AT.mepc);
  const trap = { cause: Number(record.readBigUInt64LE(AT.mcause)), tval: record.readBigUInt64LE(AT.mtval) };
  return {
    pc,
    trap: pc === CASE_PC ? trap : undefined,
    x: words(AT.outX),
    f: words(AT.outF),
    fflags: Number(record.readBigUInt64LE(AT.fcsr)) & 31,
    isFloatDirty: ((must(record.readBigUInt64LE(AT.mstatus)) >> FS_SHIFT) & 3n) === 3n,
    data: Uint8Array.from(record.subarray(AT.data, AT.data + CASE_DATA.sizeBytes)),
  };
}
