/** A fabric with partitions that note what reaches them, and a clock that stands until it is moved. */
import type { InterruptTransaction } from '../../devices/index.ts';
import { InterruptFabric, type InterruptFabricOptions } from './fabric.ts';

export class FakeFabric {
  readonly fabric: InterruptFabric;
  /** `p0 line 3 up`, `p1 message 28000000 7`: in order. */
  readonly log: string[] = [];
  readonly lines = new Map<string, boolean>();
  ticks = 0x1234_5678_9abc;
  /** When `lookAfter` asked for a look, ticks from then. */
  asked: number[] = [];

  constructor(options: Partial<InterruptFabricOptions> & { readonly relay: boolean }) {
    const all = { ports: 2, functions: 24, ...options };
    this.fabric = new InterruptFabric(new SharedArrayBuffer(InterruptFabric.sizeBytes(all)), 0, all, {
      ticks: () => this.ticks,
      lookAfter: (ticks) => void this.asked.push(ticks),
      controllerOf: (partition) => ({
        line: (source) => ({ set: (level) => this.#line(partition, source, level) }),
        send: (address, data) => {
          if (address < 0x2400_0000) return false;
          this.log.push(`p${partition} message ${address.toString(16)} ${data}`);
          return true;
        },
      }),
    });
  }

  add(partition: number, requester: number, source = 0): void {
    this.fabric.add({ partition, requester, sources: [source, source, source, source] });
  }

  assert(partition: number, requester: number, data = 1): void {
    this.send(partition, { requester, kind: 'assert', address: 0, data });
  }

  deassert(partition: number, requester: number, data = 1): void {
    this.send(partition, { requester, kind: 'deassert', address: 0, data });
  }

  message(partition: number, requester: number, data: number, address = 0x2800_0000): void {
    this.send(partition, { requester, kind: 'message', address, data });
  }

  send(partition: number, transaction: InterruptTransaction): void {
    this.fabric.portOf(partition).send(transaction);
  }

  /** What was noted since the last time. */
  news(): string[] {
    return this.log.splice(0);
  }

  #line(partition: number, source: number, level: boolean): void {
    const name = `p${partition} line ${source}`;
    if ((this.lines.get(name) ?? false) === level) return;
    this.lines.set(name, level);
    this.log.push(`${name} ${level ? 'up' : 'down'}`);
  }
}
