/**
 * A fabric that several threads use at once, each as a hostile guest's hart, a device, an operator. What must hold whatever
 * happens is checked by whoever sees it: of each pin, assertions and deassertions alternate over all threads.
 */
import type { AccessBytes } from '../device.ts';
import { Random } from '../virtio/random.testing.ts';
import { FakeMachine, type FakePlan, type Sent, WINDOWS } from './pci.testing.ts';

export const CHURN_PLAN = {
  ports: [
    { id: 'rp0', device: 1, func: 0 },
    { id: 'rp1', device: 1, func: 1 },
  ],
  functions: [
    { id: 'a0', port: 'rp0', device: 0, func: 0 },
    { id: 'a1', port: 'rp0', device: 0, func: 1, pin: 2 },
    { id: 'b', port: 'rp1', device: 0, func: 0 },
  ] as FakePlan[],
};

/** Words shared by the threads: levels of pins by requester (bus, then the low byte), violations, messages. */
export const CHURN_WORDS = { violations: 1024, messages: 1025, asserts: 1026, count: 1027 } as const;

const PORTS = ['00:01.0', '00:01.1'] as const;
const CARDS = ['01:00.0', '01:00.1', '02:00.0'] as const;
/** Where these registers lie: of a root port, of a card. */
const SLOT_CONTROL = 0x6c;
const PM_CONTROL = 0x58;
const widths: readonly AccessBytes[] = [1, 2, 4];

export function joinChurn(buffer: SharedArrayBuffer | undefined, words: Int32Array): FakeMachine {
  return new FakeMachine(CHURN_PLAN, buffer, (sent) => note(words, sent));
}

function note(words: Int32Array, { kind, requester }: Sent): void {
  if (kind === 'message') {
    Atomics.add(words, CHURN_WORDS.messages, 1);
    return;
  }
  const wanted = kind === 'assert' ? 0 : 1;
  if (wanted === 0) Atomics.add(words, CHURN_WORDS.asserts, 1);
  if (Atomics.compareExchange(words, requester & 1023, wanted, 1 - wanted) !== wanted)
    Atomics.add(words, CHURN_WORDS.violations, 1);
}

/** Steps of a random life. */
export function churn(machine: FakeMachine, seed: number, steps: number): void {
  const random = new Random(seed);
  for (let i = 0; i < steps; i++) step(machine, random);
}

function step(machine: FakeMachine, random: Random): void {
  const { func } = random.pick(machine.endpoints);
  const port = random.pick(machine.fabric.ports);
  switch (random.below(10)) {
    case 0:
      func.setInterrupt(random.oneIn(2));
      break;
    case 1:
      func.raise(random.below(4));
      break;
    case 2:
      // Power, no reset, bus numbers, windows; BARs, awake, enabled.
      for (const one of PORTS) machine.setConfig(one, SLOT_CONTROL, 2, 0x1c0);
      for (const one of PORTS) machine.setConfig(one, 0x3e, 2, 0);
      for (const one of CARDS) machine.setConfig(one, PM_CONTROL, 2, 0);
      PORTS.forEach((one, bus) => machine.setConfig(one, 0x18, 4, 0x0001_0100 * (bus + 1)));
      machine.setConfig(random.pick(PORTS), 0x20, 4, 0x4010_4000);
      machine.setConfig(random.pick(PORTS), 4, 2, 7);
      machine.setConfig(random.pick(CARDS), 0x14, 4, 0x4000_0000 + 0x1_0000 * random.below(4));
      machine.setConfig(random.pick(CARDS), 4, 2, random.pick([7, 7, 0x407, 0]));
      break;
    case 3:
      machine.write(
        WINDOWS.memory.at + 0x1_0000 * random.below(4) + 4 * random.below(64),
        4,
        random.pick([0, 1, 0x2800_0000]),
      );
      break;
    case 4:
      machine.setConfig(random.pick(CARDS), 0x4a, 2, random.pick([0, 0x8000, 0x8000, 0xc000]));
      break;
    case 5:
      if (random.oneIn(20)) {
        const { slot } = port;
        port.func.lock.with(() =>
          random.pick([() => slot.plug(), () => slot.plug(), () => slot.remove(), () => slot.requestRemoval()])(),
        );
      }
      break;
    case 6:
      func.lock.with(() => func.settle());
      break;
    default: {
      const bytes = random.pick(widths);
      const at = random.below(256) & -bytes;
      const bdf = random.oneIn(2) ? random.pick(CARDS) : random.pick(PORTS);
      if (random.oneIn(2)) machine.config(bdf, at, bytes);
      else if (random.oneIn(4)) machine.setConfig(bdf, at, bytes, random.u32() % 2 ** (8 * bytes));
      else machine.read(WINDOWS.memory.at + (random.below(0x4_0000) & -bytes), bytes);
    }
  }
}
