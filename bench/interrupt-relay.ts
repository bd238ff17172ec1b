/**
 * `node bench/interrupt-relay.ts [--check]`: what it costs to deliver an interrupt, by the relay and by a plain wire whose
 * functions the VMM polls: 1, 4, 16 and 64 functions that share a line, or a message, on one thread, without a guest. A
 * round is so many interrupts; relay and wire take turns. With --check ends with 1 where the relay polls at all, the wire
 * does not poll each function each time, or the relay is not faster where 16 functions share.
 */
import { parseArgs } from 'node:util';
import { InterruptFabric } from '../src/machine/interrupts/fabric.ts';
import { median } from './results.ts';

const { values } = parseArgs({
  options: {
    interrupts: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '15' },
    check: { type: 'boolean', default: false },
  },
});
const [interrupts, rounds] = [Number(values.interrupts), Number(values.rounds)];
const TICKS_PER_MS = 10_000;

class Machine {
  readonly fabric: InterruptFabric;
  readonly ns: number[] = [];
  delivered = 0;
  readonly #functions: number;

  constructor(relay: boolean, functions: number) {
    const options = { ports: 1, functions: 64, relay, throttle: { most: Number.POSITIVE_INFINITY, windowTicks: 1 } };
    const controller = {
      line: () => ({
        set: (level: boolean) => {
          if (level) this.delivered++;
        },
      }),
      send: () => {
        this.delivered++;
        return true;
      },
    };
    this.fabric = new InterruptFabric(new SharedArrayBuffer(InterruptFabric.sizeBytes(options)), 0, options, {
      ticks: () => (performance.timeOrigin + performance.now()) * TICKS_PER_MS,
      controllerOf: () => controller,
      lookAfter: () => {},
    });
    this.#functions = functions;
    for (let i = 0; i < functions; i++) this.fabric.add({ partition: 0, requester: i, sources: [32] });
  }

  /** Each function in turn: its pin goes up and down, or it sends the message that all send. */
  round(kind: 'line' | 'message'): void {
    const port = this.fabric.portOf(0);
    const before = performance.now();
    for (let i = 0; i < interrupts; i++) {
      const requester = i % this.#functions;
      if (kind === 'message') port.send({ requester, kind, address: 0x2800_0000, data: 1 });
      else {
        port.send({ requester, kind: 'assert', address: 0, data: 1 });
        port.send({ requester, kind: 'deassert', address: 0, data: 1 });
      }
    }
    this.ns.push(((performance.now() - before) / interrupts) * 1e6);
  }
}

let isBroken = false;
const say = (text: string): void => void process.stdout.write(`${text}\n`);
say(`${rounds} rounds of ${interrupts} interrupts; nanoseconds an interrupt: median (least-most); polls an interrupt`);
for (const kind of ['line', 'message'] as const) {
  for (const functions of [1, 4, 16, 64]) {
    const pair = [new Machine(true, functions), new Machine(false, functions)] as const;
    for (const machine of pair) {
      machine.round(kind);
      machine.ns.length = 0;
    }
    for (let round = 0; round < rounds; round++) for (const machine of pair) machine.round(kind);
    const texts = pair.map(({ ns, fabric, delivered }) => {
      const spread = `${median(ns).toFixed(0)} (${Math.min(...ns).toFixed(0)}-${Math.max(...ns).toFixed(0)})`;
      return `${spread.padStart(22)}${(fabric.stats().polls / delivered).toFixed(0).padStart(5)}`;
    });
    say(
      `${functions} on one ${kind}`.padEnd(18) +
        texts.map((text, i) => `${i === 0 ? 'relay' : 'wire'}${text}`).join('   '),
    );
    const [relay, wire] = pair.map(({ ns }) => median(ns)) as [number, number];
    const polls = pair.map(({ fabric, delivered }) => fabric.stats().polls / delivered);
    // A line tells of each change: two for each interrupt.
    const expected = functions * (kind === 'line' ? 2 : 1);
    if (polls[0] !== 0 || polls[1] !== expected || (functions >= 16 && relay >= wire)) isBroken = true;
  }
}
if (values.check && isBroken) {
  say('a bound is broken');
  process.exitCode = 1;
}
