/**
 * Harts on threads of their own, with programs whose outcome is the same whatever the order in which they run: locks,
 * messages, code that one patches and others execute, page tables that one changes and others use. Interpreted,
 * translated at first sight, and translated when hot. A hart that finds something wrong ends the machine with a code.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { assemble } from '../../src/isa/index.ts';
import { Guest } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-harts-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** More than the host has processors would wait for each other, a time slice of the host for each word. */
const HARTS = 2;

/**
 * Every hart: s0 its number, s1 shared words (zero at first), s2 the barrier's round, s10 the pass; `body`, again and
 * again until something is typed, which hart 0 finds and goes on with `check`: translation has a thread of its own,
 * and that may take its time. `fail` ends with code 1, a trap with 2. A program may call `barrier` (t0, t1 and ra change).
 */
const program = (body: string, check = ''): string =>
  `
    csrr s0, mhartid
    li s1, 0x80100000
    li s2, 0
    jal t0, start
    li t1, 0x23333          # traps come here
    j end
start:
    csrw mtvec, t0
    li s6, 0
    li s10, 0
    li s11, 0x10000000      # the serial port
pass:
    addi s10, s10, 1
${body}
    jal barrier
    bnez s0, decided
    lbu t0, 5(s11)          # its line status: data ready
    andi t0, t0, 1
    xori t0, t0, 1
    sd t0, 32(s1)
decided:
    jal barrier
    ld t0, 32(s1)
    bnez t0, pass
    bnez s0, rest
${check}
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
rest:
    j rest
fail:
    li t1, 0x13333
end:
    li t0, 0x100000
    sw t1, 0(t0)
    j rest
barrier:
    addi s2, s2, ${HARTS}
    li t0, 1
    fence rw, rw
    amoadd.w x0, t0, (s1)
arrived:
    lw t1, 0(s1)
    blt t1, s2, arrived
    fence rw, rw
    ret
`;

/** Counters at 64, 128, 192 and 256 off s1: under a lock by LR and SC, one by AMO, by amoadd, by LR and SC alone. */
const ROUNDS = 3000;
const locks = program(
  `
    li s3, ${ROUNDS}
    addi s4, s1, 512       # lock by LR and SC
    addi s5, s1, 576       # lock by amoswap
    addi s6, s1, 192
    addi s7, s1, 256
again:
    li t2, 1
1:  lr.w t0, (s4)
    bnez t0, 1b
    sc.w t0, t2, (s4)
    bnez t0, 1b
    fence rw, rw
    ld t0, 64(s1)
    addi t0, t0, 1
    sd t0, 64(s1)
    fence rw, rw
    sw x0, 0(s4)
2:  amoswap.w t0, t2, (s5)
    bnez t0, 2b
    fence rw, rw
    ld t0, 128(s1)
    addi t0, t0, 1
    sd t0, 128(s1)
    fence rw, rw
    amoswap.w x0, x0, (s5)
    amoadd.d x0, t2, (s6)
3:  lr.d t0, (s7)
    addi t0, t0, 1
    sc.d t1, t0, (s7)
    bnez t1, 3b
    addi s3, s3, -1
    bnez s3, again`,
  `
    li t0, ${HARTS * ROUNDS}
    mul t0, t0, s10
    ld t1, 64(s1)
    bne t0, t1, fail
    ld t1, 128(s1)
    bne t0, t1, fail
    ld t1, 192(s1)
    bne t0, t1, fail
    ld t1, 256(s1)
    bne t0, t1, fail`,
);

const MESSAGES = 300;
/** Hart n writes four words and raises a flag for n + 1, which wants to see all of them, and answers. */
const messages = program(`
    slli t0, s0, 12
    li s3, 0x80200000
    add s4, s3, t0          # what this hart sends
    addi t0, s0, 1
    andi t0, t0, ${HARTS - 1}
    slli t0, t0, 12
    add s5, s3, t0          # what it receives
    li s7, ${MESSAGES}
    mul s7, s7, s10
send:
    addi s6, s6, 1
    mul t0, s6, s6
    sd t0, 64(s4)
    sd t0, 128(s4)
    sd t0, 192(s4)
    sd t0, 256(s4)
    fence w, w
    sd s6, 0(s4)            # the flag
1:  ld t1, 0(s5)
    blt t1, s6, 1b
    fence r, rw
    mul t0, s6, s6
    ld t1, 256(s5)
    bne t0, t1, fail
    ld t1, 192(s5)
    bne t0, t1, fail
    ld t1, 128(s5)
    bne t0, t1, fail
    ld t1, 64(s5)
    bne t0, t1, fail
    fence rw, w
    sd s6, 512(s5)          # seen
2:  ld t1, 512(s4)
    blt t1, s6, 2b
    fence rw, rw
    bne s6, s7, send`);

/**
 * Hart 0 writes a function, li a1, NUMBER in a loop, for the others to call, and patches that instruction, which lies
 * across two pages, and one more; it never executes it, and may still be in the slice in which it wrote first when it patches. The
 * others learn of each by the barrier, and execute fence.i. Each round has pages of its own.
 */
const PATCHES = 60;
const patches = program(`
    li s3, 0x80300ff2       # the function
    li s6, 0
round:
    bnez s0, written
    li t0, 0x4551           # c.li a0, 20
    sh t0, 0(s3)
    li t0, 0x0001           # c.nop
    sh t0, 2(s3)
    sh t0, 8(s3)
    sh t0, 10(s3)
    li t0, 0x157d           # c.addi a0, -1, behind the instruction at 12
    sh t0, 16(s3)
    li t0, 0xf97d           # c.bnez a0, -10: to the c.nop at 8
    sh t0, 18(s3)
    li t0, 0x8082           # ret
    sh t0, 20(s3)
written:
    mv s8, s6
    jal patch
    addi s8, s6, 1000
    jal patch
    addi s6, s6, 1
    li t0, 0x1000
    add s3, s3, t0
    li t0, ${PATCHES}
    bne s6, t0, round
    j done
patch:
    mv s9, ra
    bnez s0, patched
    slli t0, s8, 20
    li t1, 0x593            # addi a1, zero, s8
    or t0, t0, t1
    sh t0, 12(s3)           # a half in each page
    srli t0, t0, 16
    sh t0, 14(s3)
    slli t0, s8, 20
    li t1, 0x613            # addi a2, zero, s8
    or t0, t0, t1
    sh t0, 4(s3)
    srli t0, t0, 16
    sh t0, 6(s3)
patched:
    jal barrier
    beqz s0, called
    fence.i
    li s7, 4
1:  li a1, -1
    jalr s3
    bne a1, s8, fail
    bne a2, s8, fail
    addi s7, s7, -1
    bnez s7, 1b
called:
    jal barrier
    jr s9
done:`);

/** Hart 0 turns a page of all harts (read by way of MPRV) to another frame; all fence behind the barrier, and read it. */
const REMAPS = 100;
const remaps = program(`
    li s3, 0x80400000       # root: RAM as it is, and 0xc0000000 and on through the table at s4
    li s4, 0x80401000
    li s5, 0x80402000       # its leaves
    li t0, -1               # supervisor mode may do everything
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    bnez s0, set
    li t0, 0x200000cf
    sd t0, 16(s3)
    li t0, 0x20100401
    sd t0, 24(s3)
    li t0, 0x20100801
    sd t0, 0(s4)
    li t0, 0x80500000       # two frames that say which they are
    li t1, 0
    sd t1, 0(t0)
    li t1, 4096
    add t0, t0, t1
    li t1, 1
    sd t1, 0(t0)
set:
    jal barrier
    li t0, 0x8000000000080400
    csrw satp, t0
    sfence.vma
    li t0, 0x800            # MPP: supervisor mode
    csrs mstatus, t0
    li s6, 0
    li s8, 0x20000
next:
    andi s7, s6, 1
    bnez s0, changed
    slli t0, s7, 10
    li t1, 0x201400cf
    add t0, t0, t1
    sd t0, 0(s5)
changed:
    jal barrier
    sfence.vma
    li t2, 0xc0000000
    csrs mstatus, s8        # MPRV
    ld t3, 0(t2)
    ld t4, 0(t2)
    csrc mstatus, s8
    bne t3, s7, fail
    bne t4, s7, fail
    jal barrier
    addi s6, s6, 1
    li t0, ${REMAPS}
    bne s6, t0, next`);

interface Stats {
  readonly translation: { readonly regions: number };
  readonly vcpus: readonly { readonly instructions: number }[];
}

const statsOf = async (guest: Guest): Promise<Stats> => (await guest.machine.stats()) as unknown as Stats;

/** Instructions of each hart behind the first region, by which what is hot in a program is translated. */
const GOES_ON = 3_000_000;

/** Until code was translated, however long the translating thread waits for a processor, and every hart went on with it. */
async function isTranslated(guest: Guest): Promise<void> {
  const until = async (isSo: (stats: Stats) => boolean): Promise<Stats> => {
    for (;;) {
      const stats = await statsOf(guest);
      if (isSo(stats) || guest.machine.info.state === 'ended') return stats;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const { vcpus } = await until(({ translation }) => translation.regions > 0);
  await until((now) =>
    vcpus.every(({ instructions }, i) => (now.vcpus[i]?.instructions ?? 0) > instructions + GOES_ON),
  );
}

let files = 0;
for (const [name, source] of Object.entries({ locks, messages, patches, remaps })) {
  describe(`harts at once: ${name}`, () => {
    for (const [how, options] of [
      ['interpreted', { translate: false }],
      // One waits for the other while that has no processor: nobody may wait for it to come out.
      ['interpreted, in turns on one processor', { translate: false, processors: 1 }],
      ['translated at first sight, in turns on one processor', { translate: true, hotThreshold: 1, processors: 1 }],
      ['translated at first sight', { translate: true, hotThreshold: 1 }],
      ['translated when hot', { translate: true, hotThreshold: 100 }],
      // Harts' fences take in what the other wrote, who may not know yet that it was a page table.
      ...(source === remaps
        ? ([
            ['write-tracked, interpreted', { translate: false, shadowModel: 'tracked' }],
            ['write-tracked, translated', { translate: true, hotThreshold: 1, shadowModel: 'tracked' }],
          ] as const)
        : []),
    ] as const) {
      test(how, async () => {
        const bios = join(folder, `program-${files++}.bin`);
        writeFileSync(bios, assemble(source, 0x8000_0000n).bytes);
        await using guest = await Guest.start({ bios, memoryBytes: 16 << 20, network: false, cpus: HARTS, ...options });
        if (options.translate) await isTranslated(guest);
        guest.type('x');
        assert.deepEqual(await guest.machine.exited, { reason: 'poweroff', code: 0 });
        const { translation } = await statsOf(guest);
        assert.equal(translation.regions > 0, options.translate);
      });
    }
  });
}
