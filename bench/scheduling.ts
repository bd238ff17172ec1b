/**
 * What weights and caps come to on real guests: `node bench/scheduling.ts [--seconds N]`. Partitions of one machine that
 * never rest, on one processor: their time is to follow their weights, 1 to 2 to 4, within 5 %, and a cap is to hold within
 * 5 %, whether anybody else wants the time or not. One that naps a millisecond at a time beside three that never rest:
 * how late it is after each. Two that nap 20 us at a time: how often a second the processor turns from one to the other.
 * Prints each figure; returns nonzero beyond a bound.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createMachine, type MachineHandle } from '../src/host/machine/index.ts';
import { LocalMachine } from '../src/host/machine/machine.ts';
import { assemble } from '../src/isa/index.ts';

const BOUND = 0.05;
/** Of a woken hart, in microseconds. A slice of who runs, and what the scheduler lets that one have, come before it. */
const MEDIAN_LATE_US = 2000;
const TAIL_LATE_US = 10_000;
const SWITCHES_A_SECOND = 2000;
const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } });
const seconds = Number(values.seconds);
/** Lateness is counted up to so many microseconds. */
const LATE_US = 100_000;
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-scheduling-'));
const bios = join(folder, 'work.bin');
/** Arithmetic and memory, for ever. */
const work = `
    li s0, 0x80010000
    li t1, 0
again:
    andi t2, t1, 0x7f8
    add t2, t2, s0
    ld t3, 0(t2)
    add t3, t3, t1
    sd t3, 0(t2)
    addi t1, t1, 8
    j again
`;
/** Naps, and counts by microseconds how late it wakes: a word each from 0x80100000 on, the last for all that is later. */
const naps = (ticks: number): string => `
    li t0, 0x80
    csrw mie, t0
    li s0, 0x80100000
    li s1, ${LATE_US - 1}
    li s2, 10
    li s4, ${ticks}
    li s5, 0x2004000
nap:
    rdtime s3
    add s3, s3, s4
    sd s3, 0(s5)
sleep:
    wfi
    csrr t0, mip
    andi t0, t0, 0x80
    beqz t0, sleep        # wfi may return for no reason
    rdtime t0
    sub t0, t0, s3
    divu t0, t0, s2
    bleu t0, s1, known
    mv t0, s1
known:
    slli t0, t0, 2
    add t0, t0, s0
    lw t1, 0(t0)
    addi t1, t1, 1
    sw t1, 0(t0)
    j nap
`;
const sleepy = (name: string, ticks: number): string => {
  const file = join(folder, name);
  writeFileSync(file, assemble(naps(ticks), 0x8000_0000n).bytes);
  return file;
};
const guest = { bios, memoryBytes: 4 << 20, network: false } as const;

let isBeyond = false;

function most(what: string, actual: number, bound: number): void {
  if (actual > bound) isBeyond = true;
  console.log(`${what.padEnd(40)} ${actual.toFixed(0)}  at most ${bound}`);
}

/** How late the guest woke so far, by microseconds. */
function lateness(machine: MachineHandle): Uint32Array {
  const bytes = new Uint8Array(LATE_US * 4);
  if (!(machine instanceof LocalMachine)) throw new Error('the machine is in another process');
  machine.board.guestMemory.read(0x8010_0000, bytes);
  return new Uint32Array(bytes.buffer);
}

function quantile(counts: Uint32Array, part: number): number {
  const all = counts.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  return counts.findIndex((count) => {
    seen += count;
    return seen >= all * part;
  });
}

interface Measured {
  /** Of each, in the time that is measured: milliseconds on the processor, as the scheduler counts; instructions. */
  readonly used: readonly number[];
  readonly instructions: readonly number[];
  readonly wallMs: number;
}

async function measure(machines: readonly MachineHandle[]): Promise<Measured> {
  const read = async (): Promise<{ usedMs: number; instructions: number }[]> =>
    await Promise.all(
      machines.map(async (machine) => {
        const { vcpus } = (await machine.stats()) as { vcpus: { usedMs: number; instructions: number }[] };
        const sum = (of: (vcpu: (typeof vcpus)[number]) => number): number =>
          vcpus.reduce((all, one) => all + of(one), 0);
        return { usedMs: sum((one) => one.usedMs), instructions: sum((one) => one.instructions) };
      }),
    );
  // What is hot is translated by then.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const before = await read();
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const after = await read();
  return {
    used: after.map(({ usedMs }, i) => usedMs - (before[i]?.usedMs ?? 0)),
    instructions: after.map(({ instructions }, i) => instructions - (before[i]?.instructions ?? 0)),
    wallMs: performance.now() - start,
  };
}

function report(what: string, actual: number, expected: number): void {
  const off = actual / expected - 1;
  if (Math.abs(off) > BOUND) isBeyond = true;
  const sign = off < 0 ? '' : '+';
  console.log(
    `${what.padEnd(40)} ${actual.toFixed(3)}  expected ${expected.toFixed(3)}  ${sign}${(off * 100).toFixed(1)} %`,
  );
}

try {
  writeFileSync(bios, assemble(work, 0x8000_0000n).bytes);
  for (const harts of [1, 2]) {
    await using first = await createMachine({
      ...{ ...guest, cpus: harts, weight: 512, processors: 1, room: { memoryBytes: 64 << 20 } },
    });
    const rest = [1024, 2048].map((weight) => first.createPartition({ ...guest, cpus: harts, weight }));
    const all = [first, ...(await Promise.all(rest))];
    const { used, instructions } = await measure(all);
    for (const [what, parts] of Object.entries({ time: used, instructions })) {
      const sum = parts.reduce((one, other) => one + other);
      for (const [i, weight] of [1, 2, 4].entries())
        report(`${what}: weight ${weight}, ${harts} busy a guest`, (parts[i] ?? 0) / sum, weight / 7);
    }
    await Promise.all(all.map((machine) => machine.kill()));
  }
  {
    await using first = await createMachine({ ...guest, cap: 0.3, processors: 1, room: { memoryBytes: 64 << 20 } });
    const alone = await measure([first]);
    report('a cap of 0.3, alone', (alone.used[0] ?? 0) / alone.wallMs, 0.3);
    const other = await first.createPartition(guest);
    const shared = await measure([first, other]);
    report('a cap of 0.3, beside one without', (shared.used[0] ?? 0) / shared.wallMs, 0.3);
    report('the other has what is left', (shared.used[1] ?? 0) / shared.wallMs, 0.7);
    await other.kill();
  }
  {
    await using first = await createMachine({ ...guest, processors: 1, room: { memoryBytes: 64 << 20 } });
    const others = await Promise.all([1, 2].map(() => first.createPartition(guest)));
    const napper = await first.createPartition({ ...guest, bios: sleepy('naps.bin', 10_000) });
    await measure([first, ...others]);
    const counts = lateness(napper);
    const woke = counts.reduce((sum, count) => sum + count, 0);
    console.log(`a nap of 1 ms beside three that are busy: woken ${woke} times`);
    most('  late by, median, us', quantile(counts, 0.5), MEDIAN_LATE_US);
    console.log(`${'  late by, 90th percentile, us'.padEnd(40)} ${quantile(counts, 0.9)}`);
    most('  late by, 99th percentile, us', quantile(counts, 0.99), TAIL_LATE_US);
    console.log(`${'  late by, at most, us'.padEnd(40)} ${quantile(counts, 1)}`);
    if (woke < seconds * 100) isBeyond = true;
    await Promise.all([first, ...others, napper].map((machine) => machine.kill()));
  }
  {
    const bios = sleepy('pair.bin', 200);
    await using first = await createMachine({ ...guest, bios, processors: 1, room: { memoryBytes: 64 << 20 } });
    const second = await first.createPartition({ ...guest, bios });
    const switches = async (): Promise<number> => {
      const all = await Promise.all([first, second].map((machine) => machine.stats()));
      return (all as { scheduling: { switches: number } }[]).reduce(
        (sum, { scheduling }) => sum + scheduling.switches,
        0,
      );
    };
    const before = await switches();
    const { wallMs } = await measure([first, second]);
    const rate = ((await switches()) - before) / ((wallMs + 2000) / 1000);
    if (rate < SWITCHES_A_SECOND) isBeyond = true;
    console.log(
      `${'switches between two guests a second'.padEnd(40)} ${rate.toFixed(0)}  at least ${SWITCHES_A_SECOND}`,
    );
    await second.kill();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(isBeyond ? 'beyond a bound' : 'all within bounds');
process.exitCode = isBeyond ? 1 : 0;
