/**
 * QEMU as a machine that runs GuestPrograms, thousands in one start: a harness in M-mode takes records from RAM, writes
 * page tables, code and CSRs, begins the program, and when it comes back to M-mode writes what it finds behind the record.
 *
 *   0x80000000  c.ebreak everywhere, the program     0x80080000  harness
 *   0x80100000  tables and data                      0x80400000  records of 4 KiB
 */
import { execFile } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assert } from '../../../base/assert.ts';
import { assemble } from '../../assembler.ts';
import {
  type GuestProgram,
  INPUT_CSRS,
  MOST_ENTRIES,
  MOST_WORDS,
  OUTPUT_CSRS,
  PROGRAM,
} from './guest-program.testing.ts';
import type { GuestOutcome } from './reference-guests.testing.ts';

const RAM = 0x8000_0000;
const RAM_BYTES = 0x200_0000;
const CODE_BYTES = 0x1_0000;
const HARNESS = 0x8008_0000;
const HEADER = 0x8030_0000;
const RECORDS = 0x8040_0000;
const RECORD_BYTES = 4096;
const BATCH = 4096;
const TIMEOUT_MS = 60_000;
const C_EBREAK = 0x9002;
const MARKER = 0xffff_ffff_ffff_ffffn;

const AT = {
  csrs: 0,
  x: 512,
  words: 768,
  count: 1000,
  entries: 1024,
  outCsrs: 2560,
  outX: 3072,
  outEntries: 3328,
} as const;

const lines = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');

/** Where QEMU starts: a jump to the harness, which then puts c.ebreak there, too. */
const START = assemble(`li t0, ${HARNESS}\njr t0`, BigInt(RAM)).bytes;

/**
 * An mret to M-mode clears mstatus.MPV, which QEMU 10 does not let be written. Offsets of loads and stores end at 2047: outputs are reached from `out`, the record's middle. */
const OUT = 2560;
const SOURCE = `
        la    t0, handler
        csrw  mtvec, t0
        li    t0, -1
        csrw  stimecmp, t0
        csrw  vstimecmp, t0
        csrw  pmpaddr0, t0
        li    t0, 0x1f
        csrw  pmpcfg0, t0
        li    t0, ${RAM}
        li    t1, 0x${C_EBREAK.toString(16)}${C_EBREAK.toString(16)}
${lines(START.length / 4, (i) => `        sw    t1, ${4 * i}(t0)`)}
        li    x31, ${RECORDS}
        csrw  mscratch, x31
next:   li    t0, ${HEADER}
        ld    t1, 0(t0)
        csrr  x31, mscratch
        beq   x31, t1, finish
        li    t0, ${PROGRAM - 4n}
${lines(MOST_WORDS, (i) => `        lw    t1, ${AT.words + 4 * i}(x31)\n        sw    t1, ${4 * i}(t0)`)}
        fence.i
        addi  t0, x31, ${AT.entries}
        ld    t1, ${AT.count}(x31)
1:      beqz  t1, 2f
        ld    t2, 0(t0)
        ld    t3, 8(t0)
        sd    t3, 0(t2)
        addi  t0, t0, 16
        addi  t1, t1, -1
        j     1b
2:      li    t0, -1
        csrw  stimecmp, t0
        csrw  vstimecmp, t0
        li    t0, 0x2000
        csrs  mstatus, t0
        csrw  fcsr, zero
${lines(32, (i) => `        fmv.d.x f${i}, zero`)}
        csrw  htimedelta, zero
        li    t0, 0x1800
        csrw  mstatus, t0
        la    t0, 3f
        csrw  mepc, t0
        mret
3:      csrw  mstatus, zero
        hfence.gvma
        hfence.vvma
        sfence.vma
${lines(INPUT_CSRS.length, (i) => `        ld    t1, ${AT.csrs + 8 * i}(x31)\n        csrw  ${INPUT_CSRS[i]}, t1`)}
        addi  t1, x31, ${AT.count}
        sc.w  zero, zero, (t1)
${lines(31, (i) => `        ld    x${i + 1}, ${AT.x + 8 * (i + 1)}(x31)`)}
        j     ${PROGRAM - 4n}
        .balign 4
handler:
        csrrw x31, mscratch, x31
        addi  x31, x31, 1280
        addi  x31, x31, 1280
${lines(30, (i) => `        sd    x${i + 1}, ${AT.outX - OUT + 8 * (i + 1)}(x31)`)}
        csrr  x1, mscratch
        sd    x1, ${AT.outX - OUT + 8 * 31}(x31)
${lines(OUTPUT_CSRS.length, (i) => `        csrr  t1, ${OUTPUT_CSRS[i]}\n        sd    t1, ${AT.outCsrs - OUT + 8 * i}(x31)`)}
        csrw  mie, zero
        addi  x31, x31, -1280
        addi  x31, x31, -1280
        addi  t0, x31, ${AT.entries}
        ld    t1, ${AT.count}(x31)
        li    t4, ${AT.outEntries}
        add   t4, t4, x31
1:      beqz  t1, 2f
        ld    t2, 0(t0)
        ld    t3, 0(t2)
        sd    t3, 0(t4)
        sd    zero, 0(t2)
        addi  t0, t0, 16
        addi  t4, t4, 8
        addi  t1, t1, -1
        j     1b
2:      li    t1, ${RECORD_BYTES}
        add   x31, x31, t1
        csrw  mscratch, x31
        j     next
finish: li    t1, -1
        sd    t1, 8(t0)
        li    t0, 0x100000
        li    t1, 0x5555
        sw    t1, 0(t0)
        j     .
`;

const CPU =
  'rv64,h=true,smstateen=true,sstc=true,svadu=true,svade=true,svinval=true,svnapot=true,svpbmt=true,zicbom=true,zicboz=true,zfh=true';

/** Runs the programs in the QEMU at `path`. Each must come back to M-mode, as it does on the reference machine. */
export async function runGuestsInQemu(
  path: string,
  programs: readonly GuestProgram[],
): Promise<readonly GuestOutcome[]> {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-qemu-'));
  try {
    const outcomes: GuestOutcome[] = [];
    for (let from = 0; from < programs.length; from += BATCH)
      outcomes.push(...(await runBatch(path, join(folder, 'ram'), programs.slice(from, from + BATCH))));
    return outcomes;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runBatch(
  path: string,
  file: string,
  programs: readonly GuestProgram[],
): Promise<readonly GuestOutcome[]> {
  const records = Buffer.alloc(programs.length * RECORD_BYTES);
  for (const [i, program] of programs.entries()) writeRecord(recordOf(records, i), program);
  const header = Buffer.alloc(16);
  header.writeBigUInt64LE(BigInt(RECORDS + records.length));
  const code = Buffer.alloc(CODE_BYTES);
  for (let at = 0; at < code.length; at += 2) code.writeUInt16LE(C_EBREAK, at);
  code.set(START);
  const descriptor = openSync(file, 'w+');
  try {
    writeSync(descriptor, Buffer.alloc(1), 0, 1, RAM_BYTES - 1);
    const parts: readonly [Uint8Array, number][] = [
      [code, RAM],
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
      CPU,
      '-bios',
      'none',
    ];
    // A start that takes too long is told of below, by the program that it was at.
    await promisify(execFile)(path, [...machine, '-display', 'none', '-serial', 'none', '-monitor', 'none'], {
      timeout: TIMEOUT_MS,
    }).catch(() => undefined);
    readSync(descriptor, header, 0, 16, HEADER - RAM);
    readSync(descriptor, records, 0, records.length, RECORDS - RAM);
    const isDone = header.readBigUInt64LE(8) === MARKER;
    const lost = programs.find((_, i) => isUnwritten(recordOf(records, i)));
    assert(isDone, `${lost?.name ?? 'a program'} did not come back to the harness`);
  } finally {
    closeSync(descriptor);
  }
  return programs.map((program, i) => readRecord(recordOf(records, i), program));
}

function recordOf(records: Buffer, i: number): Buffer {
  return records.subarray(i * RECORD_BYTES, (i + 1) * RECORD_BYTES);
}

/** mstatus is never zero: SXL and UXL. */
function isUnwritten(record: Buffer): boolean {
  return record.readBigUInt64LE(AT.outCsrs + 8 * OUTPUT_CSRS.indexOf('mstatus')) === 0n;
}

function writeRecord(record: Buffer, { csrs, x, words, entries }: GuestProgram): void {
  assert(words.length <= MOST_WORDS - 1 && entries.length <= MOST_ENTRIES, 'a program fits its record');
  const put = (at: number, values: readonly bigint[]): void => {
    for (const [i, value] of values.entries()) record.writeBigUInt64LE(value, at + 8 * i);
  };
  put(AT.csrs, csrs);
  put(AT.x, x);
  for (let i = 0; i < MOST_WORDS; i++) record.writeUInt32LE((words[i] ?? C_EBREAK * 0x1_0001) >>> 0, AT.words + 4 * i);
  put(AT.count, [BigInt(entries.length)]);
  put(AT.entries, entries.flat());
}

function readRecord(record: Buffer, { entries }: GuestProgram): GuestOutcome {
  const values = (at: number, count: number): bigint[] =>
    Array.from({ length: count }, (_, i) => record.readBigUInt64LE(at + 8 * i));
  const csrs = values(AT.outCsrs, OUTPUT_CSRS.length);
  return {
    csrs: Object.fromEntries(OUTPUT_CSRS.map((name, i) => [name, csrs[i] ?? 0n])),
    x: [0n, ...values(AT.outX + 8, 31)],
    memory: values(AT.outEntries, entries.length),
  };
}
