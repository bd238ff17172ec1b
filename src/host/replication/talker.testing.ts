/** A bare guest that talks: what it says is a row of letters without a gap, so that whatever is lost or said twice shows. */
import assert from 'node:assert/strict';
import { assemble } from '../../isa/index.ts';

const ORIGIN = 0x8000_0000n;

/**
 * Firmware that says a to z, again and again, a letter for every 20,000 rounds of a loop, and writes each to one of 64 pages.
 */
export function talker(): Uint8Array {
  return assemble(
    `
    li s0, 0x10000000
    li s1, 97
    li s2, 0x80100000
    li s5, 0
1:  li t0, 20000
2:  addi t0, t0, -1
    bnez t0, 2b
3:  lb t1, 5(s0)
    andi t1, t1, 32
    beqz t1, 3b
    sb s1, 0(s0)
    andi t2, s5, 63
    slli t2, t2, 12
    add t2, t2, s2
    sd s5, 0(t2)
    addi s5, s5, 1
    addi s1, s1, 1
    li t1, 123
    blt s1, t1, 1b
    li s1, 97
    j 1b`,
    ORIGIN,
  ).bytes;
}

/** The row has no gap, and nothing twice. */
export function checkRow(text: string): void {
  for (let i = 0; i < text.length; i++)
    assert.equal(text.charCodeAt(i), 97 + (i % 26), `letter ${i} of ${text.length}`);
}
