/** A source and a target with a connection between them, in virtual time. */
import { FakeGuest, FakeTarget, FakeWire, testCodecs, VirtualTime } from './fakes.testing.ts';
import type { Message } from './messages.ts';
import { Peer } from './peer.ts';
import { Target } from './target.ts';

export interface Handlers {
  message: (message: Message) => void;
  lost: (error: Error) => void;
}

export class Link {
  readonly time: VirtualTime;
  readonly guest: FakeGuest;
  readonly machine: FakeTarget;
  readonly target: Target;
  readonly source: Peer;
  readonly targetPeer: Peer;
  readonly wires: readonly [FakeWire, FakeWire];
  /** Of the source: whoever it is that replicates. */
  readonly handlers: Handlers = { message: () => {}, lost: () => {} };
  /** Why the target could not make a machine. */
  refuses: Error | undefined;

  /** `before`: whose guest it is, and whose time. */
  constructor(seed: number, latencyMs = 1, before?: Link) {
    this.time = before?.time ?? new VirtualTime();
    this.guest = before?.guest ?? new FakeGuest(seed);
    this.guest.time = this.time;
    this.machine = new FakeTarget(this.guest.shared);
    this.wires = FakeWire.pair(this.time, latencyMs);
    this.target = new Target({
      make: async () => {
        if (this.refuses !== undefined) throw this.refuses;
        return this.machine;
      },
      changed: () => {},
    });
    const [a, b] = this.wires;
    const options = { packs: true, silenceMs: 2000 };
    this.source = new Peer(a, testCodecs, this.time, options, {
      message: (message) => this.handlers.message(message),
      lost: (error) => this.handlers.lost(error),
    });
    this.targetPeer = new Peer(b, testCodecs, this.time, options, {
      message: (message) => this.target.message(message),
      lost: (error) => this.target.lost(error),
    });
    a.hears = this.source;
    b.hears = this.targetPeer;
    this.target.attach(this.targetPeer);
  }

  /** The guest does something every millisecond, for so long. */
  async live(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      this.guest.step();
      await this.time.advance(1);
    }
  }

  /** Until it holds; not for ever. */
  async until(holds: () => boolean, what: string): Promise<void> {
    for (let i = 0; i < 5000 && !holds(); i++) await this.live(1);
    if (!holds()) throw new Error(`it never came to it: ${what}`);
  }
}
