/**
 * The VMM's interrupt service (mechanism 4, docs/mechanisms/interrupt-relay.md): ports have messages; whose function asked,
 * and for what, it reads from the relay's indicator, or, behind a plain wire, by polling the functions; what it is to the
 * partition, from the table (interrupt-table.ts). There it sets a line, or writes the guest's message.
 *
 * It runs on whichever thread sent: one at a time, under a lock that is tried and never waited for.
 *
 *     send: data, indicator, message, serve
 *     serve: lock? no: whoever has it looks again, later than our message
 *            clear each port's message, then take its indicator; deliver; unlock
 *            a message again? from the start
 *
 * So no wake-up is lost: whoever finds the lock taken has set a message before, and whoever has the lock looks for one after
 * letting go. All interleavings of small programs are tried (machine/interrupts/relay-model.test.ts).
 *
 * A function that interrupts more than so often in a window of time is deferred: what it asks for stays where it was
 * noted until the window has ended. That a pin fell is told at once: a guest is not to look for who holds its line.
 */
import { AssertionError, must } from '../base/assert.ts';
import { array, type Layout, struct, structs } from '../base/struct.ts';
import { countUp, lowestBit, type Words, wordOffsets } from '../base/words.ts';
import { InterruptDelivery } from './interrupt-delivery.ts';
import { DEFAULT_THROTTLE, InterruptMeter, type ThrottleOptions } from './interrupt-meter.ts';
import type { ServedPort, ServicePorts } from './interrupt-outside.ts';
import {
  type Assignment,
  type InterruptMessage,
  InterruptTable,
  PINS,
  type RouteTarget,
  tableLayout,
} from './interrupt-table.ts';

const MOST_ROUNDS = 64;

function fields(rows: number) {
  return {
    lock: 'i32',
    /** 1: somebody was told to look at deferred functions. */
    rung: 'u32',
    /** How often who had the lock left the rest to others, as there was no end. */
    handedOver: 'u64',
    /** What follows is read and written under the lock. 1: somebody will be told, at `armedFor`. */
    armed: 'u32',
    armedFor: 'u32',
    polls: 'u64',
    /** What a plain wire would have made the VMM poll. */
    pollsAvoided: 'u64',
    /** Messages of ports that were looked at, and those of them whose cause had been taken already. */
    messages: 'u64',
    empty: 'u64',
    deferred: array('u32', rows / 32),
    table: structs(tableLayout(rows), 1),
  } as const;
}

/** The rows of ports' functions: each port begins with a word of bits. */
export function serviceRows(shapes: readonly { readonly functions: number }[]): number {
  return shapes.reduce((sum, { functions }) => sum + Math.ceil(functions / 32) * 32, 0);
}

export function serviceLayout(rows: number): Layout<ReturnType<typeof fields>> {
  return struct('interruptService', fields(rows));
}

type ServiceOffsets = { readonly [name in keyof ReturnType<typeof fields>]: number };

/** Held for microseconds. */
export interface ServiceLock {
  tryAcquire(): boolean;
  acquire(): void;
  release(): void;
}

export interface ServiceParts {
  readonly words: Words;
  /** Bytes, a zeroed block of `serviceLayout`. */
  readonly at: number;
  /** Over its word `lock`. */
  readonly lock: ServiceLock;
  readonly throttle?: ThrottleOptions;
  /** Who held the lock for so many rounds leaves the rest to whom `lookAfter` calls; absent: 64. */
  readonly mostRounds?: number;
}

/** A port, and the first of its rows. */
interface PlacedPort {
  readonly port: ServedPort;
  readonly first: number;
}

/** Of what a plain wire tells, the bit for messages; below are the lines. */
const WIRE_MESSAGE = 1 << PINS;

export class InterruptService {
  readonly table: InterruptTable;
  readonly meter: InterruptMeter;
  readonly ports: readonly ServedPort[];
  readonly #delivery: InterruptDelivery;
  readonly #placed: readonly PlacedPort[];
  readonly #outside: ServicePorts;
  readonly #words: Words;
  readonly #lock: ServiceLock;
  readonly #at: number;
  readonly #offset: ServiceOffsets;
  readonly #mostRounds: number;

  constructor(parts: ServiceParts, ports: readonly ServedPort[], outside: ServicePorts) {
    const { words, at, lock, throttle = DEFAULT_THROTTLE, mostRounds = MOST_ROUNDS } = parts;
    const rows = serviceRows(ports.map(({ shape }) => shape));
    this.ports = ports;
    this.#placed = ports.map((port, i) => ({ port, first: serviceRows(ports.slice(0, i).map(({ shape }) => shape)) }));
    const layout = serviceLayout(rows);
    this.#at = at / 4;
    this.#offset = wordOffsets(layout);
    this.table = new InterruptTable(words, at + layout.offset.table, rows);
    this.meter = new InterruptMeter(words, this.table, throttle);
    this.#delivery = new InterruptDelivery(words, this.table, this.meter, outside);
    this.#outside = outside;
    this.#words = words;
    this.#lock = lock;
    this.#mostRounds = mostRounds;
  }

  /** A port has a message: delivers what there is, unless somebody does. Any thread, at any time. */
  serve(): void {
    for (let rounds = 1; this.#lock.tryAcquire(); rounds++) {
      this.#round();
      this.#lock.release();
      if (!this.hasNews) return;
      if (rounds < this.#mostRounds) continue;
      this.#count('handedOver');
      this.#outside.lookAfter(0);
      return;
    }
  }

  /** What `lookAfter` asked for. */
  look(): void {
    this.#words.store(this.#index('rung'), 1);
    this.serve();
  }

  /** Messages that came while somebody served, and were not seen, perhaps. */
  get hasNews(): boolean {
    return this.#words.load(this.#index('rung')) !== 0 || this.ports.some((port) => port.hasMessage);
  }

  /** From now on the port of that number knows the function, which is nobody's. False: it has no room for it. */
  attach(port: number, requester: number): boolean {
    return this.#locked(() => must(this.ports[port]).records.attach(requester) !== undefined);
  }

  /** The function sends no more: it is nobody's, and not known any more. */
  detach(requester: number): void {
    this.unassign(requester);
    this.#change(requester, ({ port, first }, row) => port.records.detach(row - first));
  }

  /** The function of that requester is the partition's, which sees its levels at once. It is nobody's now. */
  assign(requester: number, assignment: Assignment): void {
    this.#change(requester, (placed, row) => {
      // What it asked for while it was nobody's is gone, but for its levels.
      this.#serveRow(placed, row);
      this.table.assign(row, assignment);
      this.#serveRow(placed, row);
    });
  }

  /** It is nobody's: the partition's lines fall, messages that waited are gone, its routes too. */
  unassign(requester: number): void {
    this.#change(requester, ({ port, first }, row) => {
      this.#delivery.withdraw(port.records, row - first, row);
    });
  }

  /** What the function sends as `from` is `to` in its partition. False: there are too many routes. */
  route(requester: number, from: InterruptMessage, to: RouteTarget): boolean {
    return this.#change(requester, (_, row) => this.table.route(row, from, to));
  }

  unroute(requester: number, from: InterruptMessage): void {
    this.#change(requester, (_, row) => this.table.unroute(row, from));
  }

  /** With the lock: each message is cleared, then what it was about is taken and delivered. */
  #round(): void {
    if (this.#words.exchange(this.#index('rung'), 0) !== 0) this.#lookAtDeferred();
    for (const placed of this.#placed) {
      if (!placed.port.clearMessage()) continue;
      this.#count('messages');
      const found = placed.port.relay ? this.#takeIndicator(placed) : this.#poll(placed);
      if (!found) this.#count('empty');
    }
  }

  /** The relay says who. */
  #takeIndicator(placed: PlacedPort): boolean {
    const { port, first } = placed;
    let found = false;
    for (let word = 0; word * 32 < port.shape.functions; word++) {
      for (let bits = port.relay?.take(word) ?? 0; bits !== 0; bits &= bits - 1) {
        found = true;
        this.#serveRow(placed, first + word * 32 + lowestBit(bits));
      }
    }
    this.#count('pollsAvoided', this.#ask(placed, port.takeWire(), askNobody));
    return found;
  }

  /** A plain wire says that somebody did: each function that it may have been is asked. */
  #poll(placed: PlacedPort): boolean {
    let found = false;
    this.#ask(placed, placed.port.takeWire(), (row) => {
      this.#count('polls');
      countUp(this.#words, this.table.index(row, 'polls'));
      if (this.#serveRow(placed, row)) found = true;
    });
    return found;
  }

  /** Functions that a plain wire may have spoken for; how many those are. */
  #ask({ port, first }: PlacedPort, wire: number, ask: (row: number) => void): number {
    let asked = 0;
    for (let start = first; start < first + port.shape.functions; start += 32) {
      for (let bits = this.table.assigned(start >> 5); bits !== 0; bits &= bits - 1) {
        const row = start + lowestBit(bits);
        if (wire < WIRE_MESSAGE && !this.#isOnLine(row, wire)) continue;
        asked++;
        ask(row);
      }
    }
    return asked;
  }

  #isOnLine(row: number, wire: number): boolean {
    for (let pin = 0; pin < PINS; pin++)
      if ((wire & (1 << pin)) !== 0 && this.table.source(row, pin) !== 0) return true;
    return false;
  }

  /** What the function asked for is delivered, or waits for the end of its window. False: it asked for nothing. */
  #serveRow({ port, first }: PlacedPort, row: number): boolean {
    const outcome = this.#delivery.deliver(port.records, row - first, row);
    if (outcome === 'held') this.#defer(row, this.#outside.ticks());
    return outcome !== 'nothing';
  }

  #defer(row: number, now: number): void {
    const index = this.#index('deferred') + (row >> 5);
    const bit = 1 << (row & 31);
    if ((this.#words.or(index, bit) & bit) === 0) countUp(this.#words, this.table.index(row, 'deferrals'));
    this.#arm(this.meter.left(row, now), now);
  }

  /** One call is asked for at a time: the earliest. */
  #arm(left: number, now: number): void {
    const isSooner = ((now + left - this.#words.load(this.#index('armedFor'))) | 0) < 0;
    if (this.#words.load(this.#index('armed')) !== 0 && !isSooner) return;
    this.#words.store(this.#index('armed'), 1);
    this.#words.store(this.#index('armedFor'), now + left);
    this.#outside.lookAfter(left);
  }

  /** Those whose window has ended are served; for the others somebody looks again. */
  #lookAtDeferred(): void {
    const now = this.#outside.ticks();
    this.#words.store(this.#index('armed'), 0);
    for (const placed of this.#placed) {
      for (let row = placed.first; row < placed.first + placed.port.shape.functions; row += 32) {
        const index = this.#index('deferred') + (row >> 5);
        for (let bits = this.#words.load(index); bits !== 0; bits &= bits - 1) {
          const one = row + lowestBit(bits);
          const left = this.meter.left(one, now);
          if (left > 0) this.#arm(left, now);
          else {
            this.#words.clearBits(index, 1 << (one & 31));
            this.#serveRow(placed, one);
          }
        }
      }
    }
  }

  /** Of a function that is attached. */
  #change<T>(requester: number, body: (placed: PlacedPort, row: number) => T): T {
    return this.#locked(() => {
      for (const placed of this.#placed) {
        const record = placed.port.records.rowOf(requester);
        if (record !== undefined) return body(placed, placed.first + record);
      }
      throw new AssertionError(`requester ${requester} is attached`);
    });
  }

  /** Waits for the lock. What came meanwhile is served after. */
  #locked<T>(body: () => T): T {
    this.#lock.acquire();
    const result = body();
    this.#lock.release();
    if (this.hasNews) this.serve();
    return result;
  }

  #count(name: 'polls' | 'pollsAvoided' | 'messages' | 'empty' | 'handedOver', by = 1): void {
    countUp(this.#words, this.#index(name), by);
  }

  #index(name: keyof ServiceOffsets): number {
    return this.#at + this.#offset[name];
  }
}

function askNobody(): void {}
