/**
 * Measures what one guest's storm of interrupts costs another guest of its machine: twins, whose cards share lines; a thread
 * that does nothing else has a pin of one go up and down, the other reads its disk. With relays and with plain wires, in
 * turns.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must } from '../src/base/assert.ts';
import { HostError } from '../src/base/errors.ts';
import type { GuestImage } from '../src/host/images/index.ts';
import { createMachine, type MachineHandle } from '../src/host/machine/index.ts';
import type { FabricStats } from '../src/machine/index.ts';
import { Storm } from '../test/system/storm.testing.ts';
import { makeDisk } from './io-run.ts';
import type { StormRound } from './relay-report.ts';
import type { RelayRuns } from './relay-run.ts';

const MEMORY_BYTES = 256 << 20;
const LIMIT_MS = 120_000;
const REQUESTS = 4000;
/** Of the card whose pin it is, where `pci: true` puts it. */
const RNG = '02:00.0';

/** Throws HostError `bench-run` where a load fails. */
export async function measureStorms(image: GuestImage, { rounds, permille, say }: RelayRuns): Promise<StormRound[]> {
  const folder = await mkdtemp(join(tmpdir(), 'kage-bench-storm-'));
  try {
    const disk = join(folder, 'disk');
    await makeDisk(disk);
    await using on = await Pair.start(image, true, disk);
    await using off = await Pair.start(image, false, disk);
    const requests = Math.max(100, Math.round((REQUESTS * permille) / 1000));
    const all: StormRound[] = [];
    // The first finds cold code.
    for (let round = 0; round <= rounds; round += 1) {
      for (const [relay, pair] of [
        ['on', on],
        ['off', off],
      ] as const) {
        const figures = await pair.round(requests);
        say(
          `relay ${relay}, storm, round ${round}: ${figures.alone.toFixed(0)}/s, ${figures.beside.toFixed(0)}/s beside`,
        );
        if (round > 0) all.push({ relay, ...figures });
      }
    }
    return all;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

class Pair implements AsyncDisposable {
  readonly #quiet: MachineHandle;
  readonly #stormy: MachineHandle;

  static async start(image: GuestImage, relay: boolean, disk: string): Promise<Pair> {
    const quiet = await createMachine({
      ...{ kernel: image.kernel, initrd: image.initrd, append: image.commandLine, memoryBytes: MEMORY_BYTES },
      ...{ drives: [{ file: disk, readOnly: true }], pci: true, relay, processors: 2, room: { partitions: 2 } },
      ...{ name: `bench-storm-${relay ? 'on' : 'off'}-${process.pid}` },
    });
    await quiet.ready();
    return new Pair(quiet, await quiet.fork({ name: `bench-stormy-${relay ? 'on' : 'off'}-${process.pid}` }));
  }

  private constructor(quiet: MachineHandle, stormy: MachineHandle) {
    this.#quiet = quiet;
    this.#stormy = stormy;
  }

  async round(requests: number): Promise<Omit<StormRound, 'relay'>> {
    const alone = await readRate(this.#quiet, requests);
    const before = await statsOf(this.#quiet);
    await using storm = new Storm(this.#stormy, 'rng0');
    while (storm.pulses === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const from = { at: performance.now(), ...must((await statsOf(this.#stormy)).requesters[RNG]) };
    const beside = await readRate(this.#quiet, requests);
    const to = { at: performance.now(), ...must((await statsOf(this.#stormy)).requesters[RNG]) };
    await storm.stop();
    const seconds = (to.at - from.at) / 1000;
    return {
      ...{ alone, beside, asked: (to.interrupts - from.interrupts) / seconds },
      given: (to.delivered - from.delivered) / seconds,
      deferrals: deferralsOf(await statsOf(this.#quiet)) - deferralsOf(before),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stormy.kill();
    await this.#quiet.kill();
  }
}

/** Requests of 4 KiB a second, by the guest's clock. */
async function readRate(machine: MachineHandle, requests: number): Promise<number> {
  const load = `dd if=/dev/vda of=/dev/null bs=4k count=${requests} iflag=direct 2> /dev/null`;
  const script = `read a _ < /proc/uptime; ${load} && read b _ < /proc/uptime && echo $a $b`;
  const { stdout } = await machine.exec(['sh', '-c', script], { signal: AbortSignal.timeout(LIMIT_MS) });
  const [from = Number.NaN, to = Number.NaN] = Buffer.from(stdout).toString().split(' ').map(Number);
  if (Number.isNaN(to - from)) throw new HostError('bench-run', "the guest's disk load failed");
  return requests / Math.max(to - from, 0.01);
}

function deferralsOf({ requesters }: FabricStats): number {
  return Object.values(requesters).reduce((sum, { deferrals }) => sum + deferrals, 0);
}

async function statsOf(machine: MachineHandle): Promise<FabricStats> {
  return ((await machine.stats()) as { interrupts: FabricStats }).interrupts;
}
