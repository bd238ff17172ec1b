/**
 * What weights and caps come to on real guests: `node bench/scheduling.ts [--seconds N]`. Partitions of one machine that
 * never rest, on one processor: their time is to follow their weights, 1 to 2 to 4, within 5 %, and a cap is to hold within
 * 5 %, whether anybody else wants the time or not. Prints each figure; returns nonzero beyond a bound.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createMachine, type MachineHandle } from '../src/host/machine/index.ts';
import { assemble } from '../src/isa/index.ts';

const BOUND = 0.05;
const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } });
const seconds = Number(values.seconds);
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
const guest = { bios, memoryBytes: 4 << 20, network: false } as const;

let isBeyond = false;

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
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(isBeyond ? `beyond ${BOUND * 100} %` : `all within ${BOUND * 100} %`);
process.exitCode = isBeyond ? 1 : 0;
