/**
 * Configuration space of host bridge and root ports, against QEMU 10's, by the same accesses in both: what stands there
 * after reset, and after random writes. Where we differ on purpose, the list below says why; nothing else may.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeMachine } from '../../src/devices/pci/pci.testing.ts';
import { Random } from '../../src/devices/virtio/random.testing.ts';
import { requires } from '../capability.ts';
import { Qtest } from './qtest.testing.ts';

const ECAM = 0x3000_0000;
const CONFIG_BYTES = 4096;
const PORTS = { full: 1, empty: 2 } as const;

/** Bits in which we differ from QEMU, by register. */
const DIFFERENT: Readonly<Record<string, number>> = {
  // Interrupt Status: a root port of QEMU's never shows it, whatever events of its slot interrupt by INTx.
  Status: 0x8,
  // No VGA is here: VGA Enable and VGA 16-bit Decode stay 0 (docs/pcie.md).
  'Bridge Control': 0x18,
  // A port that reports whether its link is active has events of that; QEMU's has not.
  'Slot Control': 0x1000,
  'Slot Status': 0x100,
};
/** Power Controller Control: QEMU takes the card out with it. */
const POWER_OFF = 0x400;

const SLOT_EVENTS = 0x1f;
const SECONDARY_RESET = 0x40;

/** The same fabric in both: two root ports, one with a card. */
function ours(): FakeMachine {
  return new FakeMachine({
    ports: [
      { id: 'rp0', device: PORTS.full, func: 0, slot: 3 },
      { id: 'rp1', device: PORTS.empty, func: 0, slot: 4 },
    ],
    functions: [{ id: 'card', port: 'rp0', device: 0, func: 0 }],
  });
}

function theirs(): Qtest {
  const port = (i: number) => `pcie-root-port,id=rp${i},bus=pcie.0,chassis=${i + 1},slot=${i + 3},addr=${i + 1}.0`;
  return new Qtest([
    ...['-M', 'virt,aia=aplic-imsic', '-device', port(0), '-device', port(1)],
    ...['-device', 'virtio-rng-pci,bus=rp0'],
  ]);
}

/** Rows of a function at 00:device.0, and where their bits may differ. */
function rowsOf(machine: FakeMachine, device: number) {
  const func = device === 0 ? machine.fabric.hostBridge : machine.port(device - 1).func;
  return func.config.rows.map((row) => ({ ...row, mask: ~(DIFFERENT[row.name] ?? 0) >>> 0 }));
}

/** The value, less what QEMU takes in a way of its own. */
function suitable(value: number, name: string, now: number, device: number): number {
  if (name === 'Slot Control' && device === PORTS.full) return value & ~POWER_OFF;
  // A link in hot reset is not active; QEMU's stays active, as its resets take no time.
  if (name === 'Bridge Control' && device === PORTS.full) return value & ~SECONDARY_RESET;
  // Where a driver clears an event that has not happened, QEMU lets it clear none.
  if (name === 'Slot Status') return value & (now | ~SLOT_EVENTS);
  return value;
}

describe('configuration space is as in QEMU', requires('qemu'), () => {
  test('after reset, each register of host bridge and root ports', async () => {
    const machine = ours();
    await using qemu = theirs();
    for (const device of [0, PORTS.full, PORTS.empty]) {
      const base = ECAM + device * 0x8000;
      for (const { at, bytes, name } of rowsOf(machine, device))
        assert.equal(machine.read(base + at, bytes), await qemu.read(base + at, bytes), `00:0${device}.0 ${name}`);
      // And where there is no register, none is there.
      for (let at = 0; at < CONFIG_BYTES; at += 4)
        assert.equal(
          machine.read(base + at, 4),
          await qemu.read(base + at, 4),
          `00:0${device}.0 at ${at.toString(16)}`,
        );
    }
  });

  for (const seed of [1, 2, 3])
    test(`after random writes, seed ${seed}`, async () => {
      const machine = ours();
      await using qemu = theirs();
      const random = new Random(seed);
      const history: string[] = [];
      for (let i = 0; i < 500; i++) {
        const device = random.pick([0, PORTS.full, PORTS.empty]);
        const rows = rowsOf(machine, device);
        const row = random.pick(rows);
        const base = ECAM + device * 0x8000;
        const value = random.oneIn(3) ? random.pick([0, 0xffff_ffff]) : random.u32();
        const now = machine.read(base + row.at, row.bytes) ?? 0;
        const kept = (suitable(value, row.name, now, device) & (2 ** (8 * row.bytes) - 1)) >>> 0;
        machine.write(base + row.at, row.bytes, kept);
        await qemu.write(base + row.at, row.bytes, kept);
        history.push(`00:0${device}.0 ${row.name} = ${kept.toString(16)}`);
        for (const { at, bytes, name, mask } of rows) {
          const [own, other] = [machine.read(base + at, bytes) ?? 0, await qemu.read(base + at, bytes)];
          const text = `${name} reads ${own.toString(16)}, in QEMU ${other.toString(16)}, after\n${history.slice(-6).join('\n')}`;
          assert.equal((own & mask) >>> 0, (other & mask) >>> 0, text);
        }
      }
    });
});
