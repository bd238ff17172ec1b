/**
 * Measures what the interrupt relay is worth to a guest: Debian with 1 function, or 16, on a port's line, by pins and by
 * messages, with relays and with plain wires. Disk, network and entropy are under load at once; machines with and
 * without take turns, round by round, so that the host's moods fall on both.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must } from '../src/base/assert.ts';
import { HostError } from '../src/base/errors.ts';
import type { GuestImage } from '../src/host/images/index.ts';
import { createMachine, type MachineHandle, type PciOptions } from '../src/host/machine/index.ts';
import type { FabricStats, RequesterStats } from '../src/machine/index.ts';
import { makeDisk } from './io-run.ts';
import type { RelayCase, RelayRound } from './relay-report.ts';

const MEMORY_BYTES = 256 << 20;
const LIMIT_MS = 120_000;
const CASES = [1, 16].flatMap((functions) =>
  (['intx', 'msix'] as const).map((mode): RelayCase => ({ functions, mode })),
);
/** Units of each load at full size. */
const UNITS = { disk: 6000, net: 96, rng: 3000 } as const;
const MIB = 1 << 20;

export interface RelayRuns {
  /** Rounds of each machine. */
  readonly rounds: number;
  readonly permille: number;
  say(line: string): void;
}

/** Throws HostError `bench-run` where a load fails. */
export async function measureRelay(image: GuestImage, given: RelayRuns): Promise<RelayRound[]> {
  const source = await startSource();
  const folder = await mkdtemp(join(tmpdir(), 'kage-bench-relay-'));
  const disk = join(folder, 'disk');
  try {
    await makeDisk(disk);
    const rounds: RelayRound[] = [];
    for (const one of CASES) {
      await using on = await start(image, one, true, disk);
      await using off = await start(image, one, false, disk);
      for (const machine of [on, off]) await machine.ready();
      // The first finds cold code.
      for (let round = 0; round <= given.rounds; round += 1) {
        for (const [relay, machine] of [
          ['on', on],
          ['off', off],
        ] as const) {
          const figures = await loaded(machine, one, { port: source.port, permille: given.permille });
          given.say(`relay ${relay}, ${one.functions} by ${one.mode}, round ${round}: ${figures.seconds.toFixed(2)} s`);
          if (round > 0) rounds.push({ ...one, relay, ...figures });
        }
      }
    }
    return rounds;
  } finally {
    source.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function start(image: GuestImage, one: RelayCase, relay: boolean, disk: string): Promise<MachineHandle> {
  return await createMachine({
    ...{ kernel: image.kernel, initrd: image.initrd, append: image.commandLine, memoryBytes: MEMORY_BYTES },
    ...{ drives: [{ file: disk, readOnly: true }], aia: one.mode === 'intx' ? 'none' : 'aplic-imsic' },
    ...{ pci: planOf(one.functions), relay, signal: AbortSignal.timeout(LIMIT_MS * 5) },
  });
}

/** All on the root bus, and so behind one port: device numbers 1 and 5 are the same line. */
function planOf(functions: number): PciOptions {
  const ids = ['disk0', 'net0', 'rng0', ...Array.from({ length: 13 }, (_, i) => `more${i}`)].slice(0, functions);
  return {
    ports: [],
    functions: ids.map((id, i) => ({
      ...{ id, device: i < 8 ? 1 : 5, func: i % 8 },
      ...(id.startsWith('more') ? { kind: 'rng' as const } : {}),
    })),
  };
}

/** A load says what it took, in hundredths of a second. */
function script(loads: readonly (keyof typeof UNITS)[], units: Readonly<Record<keyof typeof UNITS, number>>): string {
  const commands = {
    disk: `dd if=/dev/vda of=/dev/null bs=4k count=${units.disk} iflag=direct`,
    net: `nc 10.0.2.2 PORT | head -c ${units.net * MIB} > /dev/null`,
    rng: `dd if=/dev/hwrng of=/dev/null bs=16 count=${units.rng}`,
  };
  const timed = (name: keyof typeof UNITS): string =>
    `(read a _ < /proc/uptime; { ${commands[name]}; } 2> /dev/null && read b _ < /proc/uptime && echo ${name} $a $b) &`;
  return `${loads.map(timed).join('\n')}\nwait`;
}

async function loaded(
  machine: MachineHandle,
  { functions }: RelayCase,
  { port, permille }: { readonly port: number; readonly permille: number },
): Promise<Omit<RelayRound, keyof RelayCase | 'relay'>> {
  const scaled = (count: number): number => Math.max(1, Math.round((count * permille) / 1000));
  const units = { disk: scaled(UNITS.disk), net: scaled(UNITS.net), rng: scaled(UNITS.rng) };
  const loads = functions === 1 ? (['disk'] as const) : (['disk', 'net', 'rng'] as const);
  const before = await statsOf(machine);
  const began = performance.now();
  const { stdout } = await machine.exec(['sh', '-c', script(loads, units).replaceAll('PORT', `${port}`)], {
    signal: AbortSignal.timeout(LIMIT_MS),
  });
  const seconds = (performance.now() - began) / 1000;
  const after = await statsOf(machine);
  const lines = Buffer.from(stdout).toString().trim().split('\n');
  const rates = Object.fromEntries(
    lines.map((line) => {
      const [name = '', from, to] = line.split(' ');
      return [name, (units[name as keyof typeof UNITS] ?? 0) / Math.max(Number(to) - Number(from), 0.01)];
    }),
  );
  for (const name of loads)
    if (!(name in rates)) throw new HostError('bench-run', `the guest's ${name} load failed: ${lines.join('; ')}`);
  const interrupts = after.interrupts - before.interrupts;
  return {
    ...{ seconds, rates, interrupts, polls: after.polls - before.polls },
    isWhole: Object.values(after.requesters).every((one) => one.delivered + one.merged === one.interrupts),
    latencies: Object.fromEntries(
      Object.entries(after.requesters).flatMap(([place, { latencyUs, interrupts: sent }]) => {
        const isUsed = sent - must(before.requesters[place]).interrupts > 100;
        return latencyUs === undefined || !isUsed ? [] : [[nameOf(place), latencyUs]];
      }),
    ) as Readonly<Record<string, NonNullable<RequesterStats['latencyUs']>>>,
  };
}

/** Of a place of `planOf`. */
function nameOf(place: string): string {
  return { '00:01.0': 'disk', '00:01.1': 'net', '00:01.2': 'rng' }[place] ?? place;
}

async function statsOf(machine: MachineHandle): Promise<FabricStats> {
  return ((await machine.stats()) as { interrupts: FabricStats }).interrupts;
}

/** On the loopback address: gives whoever comes bytes until he leaves. */
async function startSource(): Promise<{ readonly port: number; close(): void }> {
  const piece = Buffer.alloc(1 << 16, 'kage');
  const server = createServer((socket) => {
    const pour = (): void => {
      while (!socket.destroyed && socket.write(piece));
    };
    socket.on('drain', pour).on('error', () => {});
    pour();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return { port: typeof address === 'object' && address !== null ? address.port : 0, close: () => void server.close() };
}
