/**
 * Loops of instructions that the hart is configured without (docs/mechanisms/code-overlay.md), as one program of a few
 * instructions in the place of firmware. For each loop and round it prints how long that took by the guest's clock
 * and what came of it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, must } from '../src/base/assert.ts';
import { HostError } from '../src/base/errors.ts';
import { createMachine, type MachineOptions, type MachineStats } from '../src/host/machine/index.ts';
import { assemble, EMULATED_EXTENSIONS } from '../src/isa/index.ts';

export interface Loop {
  /** The one instruction of a turn that is emulated; by its row's name. */
  readonly instruction: string;
  /** The turn: changes a0. a1 is a large odd number, a2 points to memory, s8 counts turns down. */
  readonly turn: string;
}

export const loops: readonly Loop[] = [
  { instruction: 'sh1add', turn: 'sh1add a0, a0, a1' },
  { instruction: 'ror', turn: 'xor a0, a0, a1\nror a0, a0, s8' },
  { instruction: 'cpop', turn: 'cpop t0, a0\nadd a0, a0, t0\nadd a0, a0, a1' },
  { instruction: 'binv', turn: 'binv a0, a0, s8' },
  { instruction: 'clmul', turn: 'clmul a0, a0, a1\nxor a0, a0, s8' },
  { instruction: 'mul', turn: 'mul a0, a0, a1\nadd a0, a0, s8' },
  { instruction: 'divu', turn: 'divu t0, a1, s8\nadd a0, a0, t0' },
  { instruction: 'czero.eqz', turn: 'andi t0, s8, 1\nczero.eqz t1, a1, t0\nadd a0, a0, t1' },
  { instruction: 'lhu', turn: 'c.lhu a3, 0(a2)\nadd a3, a3, s8\nadd a0, a0, a3\nsh a0, 0(a2)' },
  { instruction: 'fmadd.h', turn: 'fmadd.h fa0, fa1, fa2, fa0\nfmv.x.d a0, fa0' },
];

/** All that can be emulated is. */
export const emulating = `rv64,${[...EMULATED_EXTENSIONS].map((name) => `${name}=emulate`).join(',')}`;

const base = 0x8000_0000n;
const cell = 0x8001_0000;
/** A number of half precision in its NaN box. */
const boxed = (bits: number): number => bits - 65536;
/** A tick of the guest's clock. */
const TICK_NS = 100;

/** Registers: s0 the UART, s6 a result, s7 the clock, s8 turns left, s9 rounds left. */
function program(turns: number, rounds: number): Uint8Array {
  const ofLoop = ({ turn }: Loop, index: number): string => `
    li s9, ${rounds}
  round${index}:
    li a0, ${index}
    li a1, 0x9e3779b97f4a7c15
    li a2, ${cell}
    sd a1, 0(a2)
    li t0, ${boxed(0x0000)}
    fmv.d.x fa0, t0
    li t0, ${boxed(0x3c01)}
    fmv.d.x fa1, t0
    li t0, ${boxed(0x1400)}
    fmv.d.x fa2, t0
    li s8, ${turns}
    rdtime s7
  turn${index}:
    ${turn}
    addi s8, s8, -1
    bnez s8, turn${index}
    rdtime t0
    sub s7, t0, s7
    mv s6, a0
    li a0, ${index}
    jal print
    mv a0, s7
    jal print
    mv a0, s6
    jal print
    li t0, 10
    sb t0, 0(s0)
    addi s9, s9, -1
    bnez s9, round${index}`;
  return assemble(
    `
    li s0, 0x10000000
    li t0, 0x6000           # the float unit is on
    csrs mstatus, t0
    ${loops.map(ofLoop).join('\n')}
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
  end:
    j end
  print:                    # a0 in hexadecimal, and a blank
    li t0, 60
  digit:
    srl t1, a0, t0
    andi t1, t1, 15
    addi t1, t1, 48
    li t2, 58
    blt t1, t2, out
    addi t1, t1, 39
  out:
    lbu t2, 5(s0)
    andi t2, t2, 0x20
    beqz t2, out
    sb t1, 0(s0)
    addi t0, t0, -4
    bgez t0, digit
    li t1, 32
    sb t1, 0(s0)
    ret`,
    base,
  ).bytes;
}

export interface LoopRun {
  /** By loop: nanoseconds a turn, round by round, and what the rounds came to, which is the same for all. */
  readonly loops: readonly { readonly turnNs: readonly number[]; readonly result: string }[];
  readonly stats: MachineStats;
}

/** Runs every loop in a machine of its own, which `options` configure; `turns` in each of `rounds` rounds. */
export async function runLoops(turns: number, rounds: number, options: MachineOptions): Promise<LoopRun> {
  const folder = await mkdtemp(join(tmpdir(), 'kagemusha-overlay-'));
  try {
    const bios = join(folder, 'loops.bin');
    await writeFile(bios, program(turns, rounds));
    const machine = await createMachine({ bios, memoryBytes: 16 << 20, network: false, agent: false, ...options });
    let said = '';
    machine.onConsole((bytes) => {
      said += Buffer.from(bytes).toString('latin1');
    });
    const status = await machine.exited;
    if (status.reason !== 'poweroff')
      throw new HostError('bench-guest', `the loops ended by ${status.reason}: ${said}`);
    return { loops: loops.map((_, index) => readLoop(said, index, turns, rounds)), stats: await machine.stats() };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function readLoop(said: string, index: number, turns: number, rounds: number): LoopRun['loops'][number] {
  const lines = said
    .split('\n')
    .map((line) => line.trim().split(' '))
    .filter(([which = '']) => Number.parseInt(which, 16) === index);
  const results = new Set(lines.map(([, , result]) => must(result)));
  assert(
    lines.length === rounds && results.size === 1,
    `loop ${index} came to ${[...results]} in ${lines.length} rounds`,
  );
  const [result = ''] = results;
  return { turnNs: lines.map(([, ticks]) => (Number.parseInt(must(ticks), 16) * TICK_NS) / turns), result };
}
