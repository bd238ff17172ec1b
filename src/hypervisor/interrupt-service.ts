/**
 * The VMM's interrupt service (mechanism 4, docs/mechanisms/interrupt-relay.md): ports have messages; whose function asked,
 * and for what, it reads from the relay's indicator, or, behind a plain wire, by polling the functions; what it is to the
 * partition, from the table (interrupt-table.ts). There it sets a line, or writes the guest's message.
 *
 * It runs on whichever thread sent: one at a time, under a lock that is tried. Only whose pin fell waits for it: a guest that
 * dealt with its interrupt, and found the line still up, would be interrupted again and again, until whoever has the lock
 * gets its processor back; who waits gives up a processor instead.
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
 * noted until the window has ended, and a relay tells of it no more until then. That a pin fell is told at once: a guest is
 * not to look for who holds its line.
 */
import { AssertionError, must } from '../base/assert.ts';
import { array, type Layout, struct, structs } from '../base/struct.ts';
import { counted, countUp, lowestBit, type Words, wordOffsets } from '../base/words.ts';
import { countAskable, eachAskable } from './interrupt-askable.ts';
import { InterruptDeferrals } from './interrupt-deferrals.ts';
import { InterruptDelivery } from './interrupt-delivery.ts';
import { DEFAULT_THROTTLE, InterruptMeter, type ThrottleOptions } from './interrupt-meter.ts';
import type { ServedPort, ServicePorts } from './interrupt-outside.ts';
import {
  type Assignment,
  type InterruptMessage,
  InterruptTable,
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

/** From `polls` to `empty`. */
export const SERVICE_COUNTER_WORDS = 8;

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

export interface FunctionCounters
  extends Record<'delivered' | 'dropped' | 'polls' | 'deferrals' | 'perSecond', number> {
  readonly latencyUs?: { readonly half: number; readonly most99: number; readonly most: number };
}

/** A port, and the first of its rows. */
export interface PlacedPort {
  readonly port: ServedPort;
  readonly first: number;
}

export class InterruptService {
  readonly table: InterruptTable;
  readonly meter: InterruptMeter;
  readonly ports: readonly ServedPort[];
  /** The same, with the first of its rows of each. */
  readonly placed: readonly PlacedPort[];
  readonly #delivery: InterruptDelivery;
  readonly #deferrals: InterruptDeferrals;
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
    this.placed = ports.map((port, i) => ({ port, first: serviceRows(ports.slice(0, i).map(({ shape }) => shape)) }));
    const layout = serviceLayout(rows);
    this.#at = at / 4;
    this.#offset = wordOffsets(layout);
    this.table = new InterruptTable(words, at + layout.offset.table, rows);
    this.meter = new InterruptMeter(words, this.table, throttle);
    this.#delivery = new InterruptDelivery(words, this.table, this.meter, outside);
    const deferrals = {
      armed: this.#index('armed'),
      armedFor: this.#index('armedFor'),
      deferred: this.#index('deferred'),
    };
    this.#deferrals = new InterruptDeferrals(words, deferrals, this.table, this.meter, outside);
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

  /** A pin fell: as `serve`, but it was looked at when this returns. */
  serveFall(): void {
    this.#locked(() => this.#round());
  }

  /** What `lookAfter` asked for. */
  look(): void {
    this.#words.store(this.#index('rung'), 1);
    this.serve();
  }

  /** When somebody has to `look`, in 100 ns from now; undefined: nobody waits. */
  dueIn(): number | undefined {
    return this.#locked(() => this.#deferrals.dueIn());
  }

  /** Delivers what waits for the ends of windows, too. */
  settle(): void {
    this.#locked(() => {
      const now = this.#outside.ticks();
      this.#deferrals.each((row) => {
        const { port, first } = this.#placeOf(row);
        // More may wait than a window lets pass, but not much.
        for (let windows = 0; windows < MOST_ROUNDS; windows++) {
          this.meter.begin(row, now);
          if (this.#delivery.deliver(port.records, row - first, row) === 'held') continue;
          this.#deferrals.drop(row);
          return;
        }
      });
    });
  }

  /** Index of the first word of what was counted of everybody, SERVICE_COUNTER_WORDS of them. */
  get countersAt(): number {
    return this.#index('polls');
  }

  /** What was counted of everybody. */
  totals(): Record<'polls' | 'pollsAvoided' | 'messages' | 'empty', number> {
    const count = (name: 'polls' | 'pollsAvoided' | 'messages' | 'empty'): number =>
      counted(this.#words, this.#index(name));
    return {
      ...{ polls: count('polls'), pollsAvoided: count('pollsAvoided') },
      ...{ messages: count('messages'), empty: count('empty') },
    };
  }

  /** What was counted of the function in a row. `dropped`: here, and by its record. */
  counters(row: number, now: number): FunctionCounters {
    const count = (name: 'delivered' | 'dropped' | 'polls' | 'deferrals'): number =>
      counted(this.#words, this.table.index(row, name));
    const latencyUs = this.meter.latencyUs(row);
    return {
      ...{ delivered: count('delivered'), dropped: count('dropped'), polls: count('polls') },
      ...{ deferrals: count('deferrals'), perSecond: this.meter.rate(row, now) },
      ...(latencyUs === undefined ? {} : { latencyUs }),
    };
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
    this.#change(requester, ({ port, first }, row) => {
      port.records.detach(row - first);
      this.table.clear(row);
    });
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
    if (this.#words.exchange(this.#index('rung'), 0) !== 0)
      this.#deferrals.look((row) => this.#serveRow(this.#placeOf(row), row));
    for (const placed of this.placed) {
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
    this.#count('pollsAvoided', countAskable(this.table, rowsOf(placed), port.takeWire()));
    return found;
  }

  /** A plain wire says that somebody did: each function that it may have been is asked. */
  #poll(placed: PlacedPort): boolean {
    let found = false;
    eachAskable(this.table, rowsOf(placed), placed.port.takeWire(), (row) => {
      this.#count('polls');
      countUp(this.#words, this.table.index(row, 'polls'));
      if (this.#serveRow(placed, row)) found = true;
    });
    return found;
  }

  /** What the function asked for is delivered, or waits for the end of its window. False: it asked for nothing. */
  #serveRow({ port, first }: PlacedPort, row: number): boolean {
    const outcome = this.#delivery.deliver(port.records, row - first, row);
    if (outcome === 'held') this.#deferrals.add(row);
    return outcome !== 'nothing';
  }

  /** The port of a row. */
  #placeOf(row: number): PlacedPort {
    return must(this.placed.findLast(({ first }) => first <= row));
  }

  /** Of a function that is attached. */
  #change<T>(requester: number, body: (placed: PlacedPort, row: number) => T): T {
    return this.#locked(() => {
      for (const placed of this.placed) {
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

function rowsOf({ port, first }: PlacedPort): { readonly first: number; readonly count: number } {
  return { first, count: port.shape.functions };
}
