/**
 * The code of the hypervisor and its guest, and where things lie (bare-hypervisor.testing.ts): one long program each, which
 * is read from its start to its end.
 */
import { assemble } from '../isa/index.ts';
import { START } from './bare-machine.testing.ts';

export const STAGE_MODES = { sv39x4: 8n, sv48x4: 9n, sv57x4: 10n } as const;
export type StageMode = keyof typeof STAGE_MODES;

export const PAGE = 4096;
/** Offsets in the image. */
export const AT = {
  ...{ guest: 0x3000, data: 0x7000, record: 0x8000, saved: 0x9000, text: 0xa000, root: 0xc000, tables: 0x10000 },
  end: 0x40000,
} as const;
/** Words of data and record that are told on the console at the end. */
export const TOLD = [
  [AT.data, 96],
  [AT.record, 64],
] as const;
/** The pages of values: as the guest has it at first, in another frame, and another page of its. */
export const VALUES_AT = [0x4000, 0x5000, 0x6000] as const;
/** In the data page: what the first hart's guest has come to, what the second's saw then, what the guest's handler wrote. */
export const DATA = { phase: 0, seen: 8, seenCount: 3, time: 0x40, handled: 0x100 } as const;
export const WINDOW = 0x4000_0000n;
/** Of the guest's pages, those that lead nowhere in the second stage, or may only be read there. */
export const VA = { device: 0x5000_0000n, fetch: 0x5000_1000n, readOnly: 0x5000_2000n, hole: 0x6000_0000n } as const;
export const [UPDATE_VA, NOWHERE_VA] = [0x7000_0000n, 0x5800_0000n];
export const GPA = { device: 0x10_0000n, fetch: 0x10_1000n, hole: 0x10_2000n, readOnly: 0x10_3000n } as const;
export const BASE: Readonly<Record<StageMode, bigint>> = {
  // Beyond what the root of an ordinary table reaches: its two further bits of index are needed.
  sv39x4: 3n << 39n,
  sv48x4: 3n << 48n,
  sv57x4: 5n << 53n,
};
export const [V, R, W, X, U, A, D] = [1n, 2n, 4n, 8n, 16n, 64n, 128n];
const [ASID, VMID] = [1n, 5n];
export const VALUES = [111n, 222n, 333n] as const;
/** What the hypervisor gives for a load that nobody answers; how far its guests' time is ahead of its own. */
export const [EMULATED, AHEAD] = [0x1234n, 1n << 40n];
/** Pseudoinstructions of htinst: what a walk itself does with a guest's tables. */
export const [READ_OF_TABLE, WRITE_OF_TABLE] = [0x3000n, 0x3020n];
export const RECORD_WORDS = 5;
const SBI = { rfence: 0x52464e43, hsm: 0x48534d, console: 0x4442434e } as const;
/** What the guest asks of its hypervisor, in a7. */
const CALL = { end: 1, software: 2, external: 3, answered: 4, moveFrame: 5, movePage: 6, fail: 7 } as const;

/** A trap as the hypervisor wrote it down; addresses as the guest has them. */
export interface Trapped {
  readonly cause: number;
  readonly stval: bigint;
  readonly htval: bigint;
  readonly htinst: bigint;
  readonly sepc: bigint;
}

/** What the guest does that traps, and what the hypervisor must find; the resumption is at t6. */
export const probes = (base: bigint): readonly (readonly [source: string, trapped: Omit<Trapped, 'sepc'>])[] => {
  const at = (gpa: bigint): bigint => (base + gpa) >> 2n;
  const bits = (line: string): bigint => BigInt(new DataView(assemble(line, 0n).bytes.buffer).getUint32(0, true));
  return [
    ['sd s3, 8(s0)', { cause: 23, stval: VA.device + 8n, htval: at(GPA.device + 8n), htinst: bits('sd s3, 0(zero)') }],
    [
      'lw s4, 20(s0)',
      { cause: 21, stval: VA.device + 20n, htval: at(GPA.device + 20n), htinst: bits('lw s4, 0(zero)') },
    ],
    // Of a compressed one, the ordinary instruction with bit 1 clear.
    [
      'c.ld a4, 16(a5)',
      { cause: 21, stval: VA.device + 16n, htval: at(GPA.device + 16n), htinst: bits('ld a4, 0(zero)') & ~2n },
    ],
    [
      'amoadd.d a4, a3, (a5)',
      { cause: 23, stval: VA.device, htval: at(GPA.device), htinst: bits('amoadd.d a4, a3, (zero)') },
    ],
    [`li a4, ${VA.fetch}\njr a4`, { cause: 20, stval: VA.fetch, htval: at(GPA.fetch), htinst: 0n }],
    [
      `li a4, ${VA.readOnly}\nsb a3, 5(a4)`,
      { cause: 23, stval: VA.readOnly + 5n, htval: at(GPA.readOnly + 5n), htinst: bits('sb a3, 0(zero)') },
    ],
    // The guest's own tables: one is not there, one may not be written for A.
    [
      `li a4, ${VA.hole + 0x3000n}\nld a4, 0(a4)`,
      { cause: 21, stval: VA.hole + 0x3000n, htval: at(GPA.hole + 24n), htinst: READ_OF_TABLE },
    ],
    [`li a4, ${UPDATE_VA}\nld a4, 0(a4)`, { cause: 21, stval: UPDATE_VA, htval: 0n, htinst: WRITE_OF_TABLE }],
    ['csrr a4, hstatus', { cause: 22, stval: bits('csrr a4, hstatus'), htval: 0n, htinst: 0n }],
    ['hlv.d a4, (a5)', { cause: 22, stval: bits('hlv.d a4, (a5)'), htval: 0n, htinst: 0n }],
  ];
};

/** Where the code finds what it changes: offsets in the image. */
export interface CodePlace {
  readonly mode: StageMode;
  /** Where the image is in the guest's physical memory. */
  readonly base: bigint;
  readonly guestRoot: number;
  /** The PTEs of the page of values: the second stage's, the guest's. */
  readonly valueStagePte: number;
  readonly valuePte: number;
}

/** A PTE. */
export function pte(address: bigint, flags: bigint): bigint {
  return ((address >> 12n) << 10n) | flags;
}

/** In supervisor mode of the machine. */
export function hypervisorCode(place: CodePlace): string {
  const mode = STAGE_MODES[place.mode] << 60n;
  const image = (offset: number): bigint => BigInt(START + offset);
  const [first, second, third] = VALUES_AT;
  const saved = Array.from({ length: 31 }, (_, i) => i + 1).filter((register) => register !== 2);
  const remote = (fn: number, from: bigint): string => `
    li a7, ${SBI.rfence}
    li a6, ${fn}
    li a0, 3
    li a1, 0
    li a2, ${from}
    li a3, 4096
    li a4, ${ASID}
    ecall
    bnez a0, fail
    j done`;
  return `
start:
    li t0, 1
    sub a0, t0, a0
    la a1, second_hart
    li a7, ${SBI.hsm}
    li a6, 0
    li a2, 0
    ecall
    bnez a0, fail
    li s0, ${image(AT.saved)}
    li s1, ${WINDOW + BigInt(AT.guest)}
    j enter
second_hart:
    li s0, ${image(AT.saved + 0x400)}
    li s1, ${WINDOW + BigInt(AT.guest) + 4n}
enter:
    csrw sscratch, s0
    la t0, trap
    csrw stvec, t0
    li t0, ${mode | (VMID << 44n) | (image(AT.root) >> 12n)}
    csrw hgatp, t0
    li t0, ${mode | (ASID << 44n) | ((place.base + BigInt(place.guestRoot)) >> 12n)}
    csrw vsatp, t0
    li t0, ${(1n << 8n) | (1n << 12n) | (1n << 13n) | (1n << 15n)}
    csrw hedeleg, t0
    li t0, 0x444
    csrw hideleg, t0
    li t0, 7
    csrw hcounteren, t0
    li t0, ${(1n << 63n) | (1n << 61n)}
    csrw henvcfg, t0
    li t0, -1
    csrw vstimecmp, t0
    li t0, ${AHEAD}
    csrw htimedelta, t0
    li t0, 0x180
    csrw hstatus, t0
    li t0, 0x100
    csrs sstatus, t0
    csrr t0, time
    addi t0, t0, 2
    csrw stimecmp, t0
    li t0, 0x20
    csrw sie, t0
    csrw sepc, s1
    hfence.gvma
    sret
    .balign 4
trap:
    csrrw sp, sscratch, sp
    ${saved.map((register) => `sd x${register}, ${register * 8}(sp)`).join('\n    ')}
    csrr t0, sscratch
    sd t0, 16(sp)
    csrr s0, scause
    csrr s2, sepc
    bltz s0, tick
    li t0, 10
    beq s0, t0, called
    li s1, ${image(AT.record)}
    ld t0, 0(s1)
    li t1, ${RECORD_WORDS * 8}
    mul t1, t0, t1
    addi t0, t0, 1
    sd t0, 0(s1)
    add s1, s1, t1
    csrr t1, stval
    csrr t2, htval
    csrr t3, htinst
    sd s0, 16(s1)
    sd t1, 24(s1)
    sd t2, 32(s1)
    sd t3, 40(s1)
    sd s2, 48(s1)
    li t0, 20
    bltu s0, t0, fail
    # A load as it was: the register that the transformed instruction names gets a value.
    li t0, 21
    bne s0, t0, skip
    andi t0, t3, 1
    beqz t0, skip
    srli t0, t3, 7
    andi t0, t0, 31
    slli t0, t0, 3
    add t0, t0, sp
    li t1, ${EMULATED}
    sd t1, 0(t0)
skip:
    ld s2, 248(sp)
    j resume
tick:
    li t0, ${(1n << 63n) | 5n}
    bne s0, t0, fail
    li t0, -1
    csrw stimecmp, t0
    li s1, ${image(AT.record)}
    li t0, 1
    addi s1, s1, 8
    amoadd.d zero, t0, (s1)
    j resume
called:
    addi s2, s2, 4
    li t0, ${CALL.end}
    beq a7, t0, end
    li t0, ${CALL.software}
    beq a7, t0, software
    li t0, ${CALL.external}
    beq a7, t0, external
    li t0, ${CALL.answered}
    beq a7, t0, answered
    li t0, ${CALL.moveFrame}
    beq a7, t0, move_frame
    li t0, ${CALL.movePage}
    beq a7, t0, move_page
    j fail
software:
    li t0, 4
    csrs hvip, t0
    j resume
external:
    li t0, 0x400
    csrs hvip, t0
    j resume
answered:
    li t0, 0x400
    csrc hvip, t0
    j resume
move_frame:
    li t0, ${image(place.valueStagePte)}
    li t1, ${pte(image(second), V | R | W | U | A | D)}
    sd t1, 0(t0)${remote(4, place.base + BigInt(first))}
move_page:
    li t0, ${image(place.valuePte)}
    li t1, ${pte(place.base + BigInt(third), V | R | W | A | D)}
    sd t1, 0(t0)${remote(5, WINDOW + BigInt(first))}
done:
resume:
    csrw sepc, s2
    ld t0, 16(sp)
    csrw sscratch, t0
    ${saved.map((register) => `ld x${register}, ${register * 8}(sp)`).join('\n    ')}
    csrrw sp, sscratch, sp
    sret
end:
    li s4, ${image(AT.text)}
    ${TOLD.map(
      ([at, words]) => `
    li s5, ${image(at)}
    li s6, ${words}
    jal s7, tell`,
    ).join('')}
    li s5, ${image(AT.text)}
say:
    li a7, ${SBI.console}
    li a6, 0
    sub a0, s4, s5
    mv a1, s5
    li a2, 0
    ecall
    bnez a0, fail
    add s5, s5, a1
    bltu s5, s4, say
    li t1, 0x5555
    j finish
tell:
    ld t0, 0(s5)
    li t1, 60
digit:
    srl t2, t0, t1
    andi t2, t2, 15
    addi t3, t2, 48
    li t4, 10
    bltu t2, t4, character
    addi t3, t2, 87
character:
    sb t3, 0(s4)
    addi s4, s4, 1
    addi t1, t1, -4
    bge t1, zero, digit
    li t3, 10
    sb t3, 0(s4)
    addi s4, s4, 1
    addi s5, s5, 8
    addi s6, s6, -1
    bnez s6, tell
    jr s7
fail:
    li t1, 0x73333
finish:
    li t0, 0x100000
    sw t1, 0(t0)
halt:
    j halt`;
}

/** In supervisor mode of the guest: the first hart enters at its start, the second behind one instruction. */
export function guestCode(base: bigint): string {
  const data = WINDOW + BigInt(AT.data);
  const value = WINDOW + BigInt(VALUES_AT[0]);
  const call = (number: number): string => `li a7, ${number}\n    ecall`;
  const tried = probes(base).map(
    ([source], i) => `
    la t6, behind${i}
    ${source}
    .balign 4
behind${i}:`,
  );
  const awaited = (phase: number): string => `
seen${phase}:
    ld t0, ${DATA.seen + phase * 8}(s1)
    beqz t0, seen${phase}`;
  return `
    j first
    .balign 4
    j second
    .balign 4
handler:
    csrr s8, scause
    csrr s10, stval
    sd s8, 0(s9)
    sd s10, 8(s9)
    addi s9, s9, 16
    bltz s8, interrupt
    csrw sepc, t6
    sret
interrupt:
    andi s8, s8, 15
    li s10, 1
    beq s8, s10, by_software
    li s10, 5
    beq s8, s10, by_timer
    mv s10, a7
    ${call(CALL.answered)}
    mv a7, s10
    sret
by_software:
    csrci sip, 2
    sret
by_timer:
    csrr s11, time
    li s10, -1
    csrw stimecmp, s10
    sret
first:
    la t0, handler
    csrw stvec, t0
    li s1, ${data}
    addi s9, s1, ${DATA.handled}
    li s0, ${VA.device}
    mv a5, s0
    ${tried.join('')}
    sd s4, ${DATA.time}(s1)
    la t6, behind_own
    li a4, ${NOWHERE_VA}
    ld a4, 0(a4)
behind_own:
    li t0, 0x222
    csrw sie, t0
    csrsi sstatus, 2
    ${call(CALL.software)}
    ${call(CALL.external)}
    li s11, 0
    csrr t0, time
    addi t0, t0, 40
    sd t0, ${DATA.time + 8}(s1)
    # Masked, so that it is not taken just before the sleep that it is to end.
    csrci sstatus, 2
    csrw stimecmp, t0
sleep:
    wfi
    csrsi sstatus, 2
    csrci sstatus, 2
    beqz s11, sleep
    sd s11, ${DATA.time + 16}(s1)
    ${awaited(0)}
    ${call(CALL.moveFrame)}
    li t0, 1
    fence rw, rw
    sd t0, ${DATA.phase}(s1)
    ${awaited(1)}
    ${call(CALL.movePage)}
    li t0, 2
    fence rw, rw
    sd t0, ${DATA.phase}(s1)
    ${awaited(2)}
    ${call(CALL.end)}
second:
    li s1, ${data}
    li s2, ${value}
    li s3, 0
look:
    ld t0, ${DATA.phase}(s1)
    fence rw, rw
    ld t1, 0(s2)
    bltu t0, s3, look
    slli t2, s3, 3
    add t2, t2, s1
    sd t1, ${DATA.seen}(t2)
    addi s3, s3, 1
    li t2, ${DATA.seenCount}
    bne s3, t2, look
rest:
    ld t1, 0(s2)
    j rest`;
}
