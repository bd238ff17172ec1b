/** A machine of two harts whose run is one thing, to the instruction: what a snapshot must not change, nor a restore. */
import { writeFileSync } from 'node:fs';
import { assemble } from '../../isa/index.ts';
import type { MachineOptions } from '../machine/machine-api.ts';

/**
 * Harts race for a counter, each with a walk of its own, and print who was where when; they leave what they saw in
 * memory, page after page. Whoever sees the counter full waits for a timer by wfi, prints a sum of all that memory, and
 * ends the machine.
 */
const race = `
    csrr s0, mhartid
    li s1, 0x80100000       # the counter
    li s2, 0x10000000       # the UART
    li s4, 0x80200000       # what was seen
    addi s3, s0, 5
again:
    li t0, 200000
    mul t0, t0, s3
2:  addi t0, t0, -1
    bnez t0, 2b
    li t1, 1
    amoadd.d t2, t1, (s1)
    addi t3, s0, 48         # the hart's digit
    sb t3, 0(s2)
    rdtime t4
    slli t5, t2, 12
    add t5, t5, s4
    sd t4, 8(t5)            # a page for each count
    andi t4, t4, 15
    addi t4, t4, 97         # a letter for the time
    sb t4, 0(s2)
    li t5, 60
    blt t2, t5, again
    bne t2, t5, rest
    li t0, 0x02004000       # mtimecmp: 10 ms from now
    slli t1, s0, 3
    add t0, t0, t1
    rdtime t1
    li t2, 100000
    add t1, t1, t2
    sd t1, 0(t0)
    li t0, 128
    csrw mie, t0
    wfi
    li t0, 60
    li t6, 0
3:  slli t5, t0, 12
    add t5, t5, s4
    ld t4, 8(t5)
    add t6, t6, t4
    addi t0, t0, -1
    bgez t0, 3b
    li t0, 16
4:  srli t4, t6, 60
    addi t4, t4, 65
    sb t4, 0(s2)
    slli t6, t6, 4
    addi t0, t0, -1
    bnez t0, 4b
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
1:  j 1b
rest:
    wfi
    j rest`;

/** Writes the program there; the options of its machine. */
export function raceMachine(path: string): MachineOptions {
  writeFileSync(path, assemble(race, 0x8000_0000n).bytes);
  return { bios: path, cpus: 2, memoryBytes: 8 << 20, network: false, clock: 'instructions', seed: 7 };
}
