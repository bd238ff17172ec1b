/**
 * Small machines for all interleavings: ports and the interrupt service as they are, over words that know who runs
 * (base/interleavings.testing.ts), and around them guests that count. A function puts work in its word, then interrupts; a
 * guest's handler takes the work of those functions that its interrupt may be of. At the end no work may be left, each
 * interrupt was delivered once, and lines are as the functions have them.
 * Faults (relay-faults.testing.ts) put two steps of the protocol in the other order.
 */
import { assert, must } from '../../base/assert.ts';
import { type Explored, Interleavings, type Program } from '../../base/interleavings.testing.ts';
import { wordOffsets } from '../../base/words.ts';
import {
  InterruptPort,
  type InterruptTransaction,
  type PortShape,
  portLayout,
  recordLayout,
  type TransactionPort,
} from '../../devices/index.ts';
import {
  functionRow,
  InterruptService,
  serviceLayout,
  serviceRows,
  type ThrottleOptions,
} from '../../hypervisor/index.ts';
import { type Fault, faultyLine, faultyPort } from './relay-faults.testing.ts';

export interface ModelFunction {
  readonly requester: number;
  /** Absent: nobody's at first. */
  readonly partition?: number;
  /** Of INTA; absent: it has no pin. */
  readonly source?: number;
  /** What its messages say; absent: this and that. */
  readonly data?: number;
}

export interface ModelOptions {
  readonly relay: boolean;
  /** Who sends serves; else `consumer`s alone do. */
  readonly sendersServe?: boolean;
  readonly functions: readonly ModelFunction[];
  readonly ports?: readonly PortShape[];
  readonly throttle?: ThrottleOptions;
  readonly fault?: Fault;
  readonly mostRounds?: number;
}

/** The guests' and functions' words: an area before everything else. */
const WORDS = { work: 0, alarm: 16, time: 17, sent: 32, got: 48, lines: 64, END: 96 } as const;
const SOURCES = 8;
export const ADDRESS = 0x2800_0000;

export class RelayModel {
  readonly words: Interleavings;
  readonly service: InterruptService;
  readonly #options: ModelOptions;
  readonly #ports: readonly InterruptPort[];
  readonly #records: readonly number[];
  readonly #serviceAt: number;

  constructor(options: ModelOptions) {
    this.#options = options;
    const { ports: shapes = [{ functions: 3, identifiers: 1 }], throttle, mostRounds, relay } = options;
    const rows = serviceRows(shapes);
    const portsAt = shapes.map((_, i) => WORDS.END * 4 + shapes.slice(0, i).reduce((sum, s) => sum + bytesOf(s), 0));
    this.#serviceAt = WORDS.END * 4 + shapes.reduce((sum, shape) => sum + bytesOf(shape), 0);
    this.words = new Interleavings(this.#serviceAt + serviceLayout(rows).sizeBytes);
    const { words } = this;
    const ticks = (): number => words.load(WORDS.time);
    const raise = (isFall: boolean): void => {
      if (options.sendersServe === false) return;
      if (isFall && options.fault !== 'falls are left to others') this.service.serveFall();
      else this.service.serve();
    };
    this.#ports = shapes.map(
      (shape, i) => new InterruptPort(shape, { words, at: must(portsAt[i]), relay, ticks, raise }),
    );
    this.#records = portsAt.map((at, i) => at + portLayout(must(shapes[i])).offset.records);
    const served = this.#ports.map((port) => faultyPort(port, words, this.#indexOf(port, 'indicator'), options.fault));
    const lock = words.lock(this.#serviceAt / 4 + wordOffsets(serviceLayout(rows)).lock);
    this.service = new InterruptService(
      { words, at: this.#serviceAt, lock, ...(throttle && { throttle }), ...(mostRounds && { mostRounds }) },
      served,
      {
        ticks,
        setLine: (partition, source, level) => this.#setLine(partition, source, level),
        message: (partition, address, data) => {
          assert(address === ADDRESS, "the address is the function's");
          words.add(WORDS.got + data, 1);
          return this.#handle(partition, (one) => (one.data ?? data) === data);
        },
        lookAfter: () => words.store(WORDS.alarm, 1),
      },
    );
    for (const one of options.functions) {
      assert(this.service.attach(portOf(one.requester), one.requester), 'there is room');
      if (one.partition !== undefined) this.assign(one);
    }
    this.#quiet(rows);
  }

  assign({ requester, partition = 0, source = 0 }: ModelFunction): void {
    this.service.assign(requester, { partition, sources: [source] });
  }

  /** A function that interrupts by messages, so many times. */
  messages(requester: number, times = 1): Program {
    return this.different(requester, ...new Array<number>(times).fill(this.#function(requester).data ?? 0));
  }

  /** One that sends these messages, below 16. */
  different(requester: number, ...all: readonly number[]): Program {
    return {
      name: `function ${requester}`,
      run: () => {
        for (const data of all) {
          this.words.add(WORDS.sent + data, 1);
          this.#interrupt(requester, { requester, kind: 'message', address: ADDRESS, data });
        }
      },
    };
  }

  /** A function whose pin goes up and down. */
  levels(requester: number, ...kinds: readonly ('assert' | 'deassert')[]): Program {
    return {
      name: `function ${requester}`,
      run: () => {
        for (const kind of kinds) {
          const transaction = { requester, kind, address: 0, data: 1 } as const;
          if (kind === 'assert') this.#interrupt(requester, transaction);
          else this.#lower(requester, transaction);
        }
      },
    };
  }

  /** A thread that serves when the first port has a message, but sends nothing. */
  consumer(times: number): Program {
    const message = this.#indexOf(must(this.#ports[0]), 'message');
    return {
      name: 'consumer',
      mayWait: true,
      run: () => {
        for (let i = 0; i < times; i++) {
          this.words.waitFor(message, (value) => value !== 0);
          this.service.serve();
        }
      },
    };
  }

  /** Whoever was asked to look later: comes when so much time has passed, as often as that, at most. */
  alarm(times: number, ticks: number): Program {
    const { words } = this;
    return {
      name: 'alarm',
      mayWait: true,
      run: () => {
        for (let i = 0; i < times; i++) {
          words.waitFor(WORDS.alarm, (asked) => asked === 1);
          words.store(WORDS.alarm, 0);
          words.add(WORDS.time, ticks);
          this.service.look();
        }
      },
    };
  }

  program(name: string, run: () => void): Program {
    return { name, run };
  }

  /** `isMoved`: interrupts may have been for nobody; all that counts is what is seen at the end. */
  explore(programs: readonly Program[], { isMoved = false } = {}): Explored {
    return this.words.explore({ programs, wrong: () => this.#wrong(isMoved) });
  }

  line(partition: number, source: number): boolean {
    return this.words.load(WORDS.lines + partition * SOURCES + source) === 1;
  }

  #interrupt(requester: number, transaction: InterruptTransaction): void {
    const work = WORDS.work + this.#number(requester);
    const isLate = this.#options.fault === 'data after indicator';
    if (!isLate) this.words.add(work, 1);
    this.#line(requester).send(transaction);
    if (isLate) this.words.add(work, 1);
  }

  /** A guest that read the function's status goes on when this returns, and looks at its line. */
  #lower(requester: number, transaction: InterruptTransaction): void {
    this.#line(requester).send(transaction);
    const { functions, sendersServe, throttle } = this.#options;
    // A rise that had to wait for the end of a window may be shown just then.
    if (sendersServe === false || throttle !== undefined) return;
    const { partition, source = 0 } = this.#function(requester);
    const sharing = functions.filter((one) => one.partition === partition && one.source === source);
    if (partition === undefined || sharing.length > 1) return;
    assert(!this.line(partition, source), 'a pin that fell is no longer seen');
  }

  /** Where the function's transactions go. */
  #line(requester: number): TransactionPort {
    const port = must(this.#ports[portOf(requester)]);
    return faultyLine(port, this.words, this.#indexOf(port, 'indicator'), this.#options.fault);
  }

  #setLine(partition: number, source: number, level: boolean): void {
    const index = WORDS.lines + partition * SOURCES + source;
    this.words.store(index, level ? 1 : 0);
    if (level) this.#handle(partition, (one) => one.source === source);
  }

  /** The guest's handler: of functions that the interrupt may be of, it does what there is to do. */
  #handle(partition: number, mayBe: (one: ModelFunction) => boolean): boolean {
    const candidates = this.#options.functions.filter((one) => mayBe(one));
    assert(
      candidates.some((one) => this.service.table.partitionOf(this.#row(one.requester)) === partition),
      'an interrupt of nobody',
    );
    for (const one of candidates) {
      if (this.service.table.partitionOf(this.#row(one.requester)) !== partition) continue;
      this.words.store(WORDS.work + this.#number(one.requester), 0);
    }
    return true;
  }

  #wrong(isMoved: boolean): string | undefined {
    const { words } = this;
    for (const { requester } of this.#options.functions) {
      const work = words.load(WORDS.work + this.#number(requester));
      const isNobodys = this.service.table.partitionOf(this.#row(requester)) === undefined;
      if (work !== 0 && !isNobodys) return `function ${requester}: lost wake-up, ${work} left to do`;
      const port = must(this.#ports[portOf(requester)]);
      const record = this.#record(requester);
      const level = port.records.pins(record);
      if (port.records.waiting(record, 0) !== 0 && !(isNobodys && !this.#options.relay))
        return `function ${requester}: a message still waits`;
      const sent = this.#counted(requester, 'interrupts') - this.#counted(requester, 'merged');
      const lost = this.#counted(requester, 'overflows');
      const delivered = words.load(this.service.table.index(this.#row(requester), 'delivered'));
      const dropped = words.load(this.service.table.index(this.#row(requester), 'dropped'));
      const isLeft = isNobodys && !this.#options.relay;
      if (!(isLeft || delivered + dropped === sent - lost) || (dropped > 0 && !isMoved))
        return `function ${requester}: ${delivered} delivered of ${sent}, ${lost} without a place`;
      const shown = this.service.table.get(this.#row(requester), 'shown');
      if (this.service.table.partitionOf(this.#row(requester)) !== undefined && shown !== level)
        return `function ${requester}: its level is ${level}, its partition sees ${shown}`;
    }
    for (let data = 0; data < 16; data++) {
      const [sent, got] = [words.load(WORDS.sent + data), words.load(WORDS.got + data)];
      if (got > sent) return `message ${data}: ${got} came of ${sent}`;
    }
    return this.#wrongLines() ?? (this.service.hasNews ? 'a message that nobody served' : undefined);
  }

  #wrongLines(): string | undefined {
    for (let partition = 0; partition < 4; partition++) {
      for (let source = 1; source < SOURCES; source++) {
        const isHigh = this.service.table.isHigh(partition, source);
        if (this.line(partition, source) !== isHigh) return `line ${source} of partition ${partition} is not ${isHigh}`;
      }
    }
    return undefined;
  }

  #counted(requester: number, field: 'interrupts' | 'merged' | 'overflows'): number {
    return this.words.load(this.#recordAt(requester) + wordOffsets(this.#recordLayout(requester))[field]);
  }

  #recordLayout(requester: number) {
    const port = must(this.#ports[portOf(requester)]);
    return recordLayout(port.shape.identifiers ?? 64);
  }

  /** Index of its record's first word. */
  #recordAt(requester: number): number {
    return (
      (must(this.#records[portOf(requester)]) + this.#record(requester) * this.#recordLayout(requester).sizeBytes) / 4
    );
  }

  #record(requester: number): number {
    return must(must(this.#ports[portOf(requester)]).records.rowOf(requester));
  }

  #row(requester: number): number {
    const before = this.#ports.slice(0, portOf(requester));
    return serviceRows(before.map(({ shape }) => shape)) + this.#record(requester);
  }

  #function(requester: number): ModelFunction {
    return must(this.#options.functions.find((one) => one.requester === requester));
  }

  #number(requester: number): number {
    return this.#options.functions.findIndex((one) => one.requester === requester);
  }

  #indexOf(port: InterruptPort, field: 'indicator' | 'message' | 'wire' | 'unknown'): number {
    const layout = portLayout(port.shape);
    const i = this.#ports.indexOf(port);
    return (must(this.#records[i]) - layout.offset.records) / 4 + wordOffsets(layout)[field];
  }

  /** What is guarded by the service's lock, what is counted, and names for people. */
  #quiet(rows: number): void {
    const { words } = this;
    const service = wordOffsets(serviceLayout(rows));
    const at = this.#serviceAt / 4;
    const statistics = { kind: 'statistics' } as const;
    const guarded = { kind: 'guarded', lock: at + service.lock } as const;
    words.quiet(at + service.armed, serviceLayout(rows).sizeBytes / 4 - service.armed, guarded);
    words.quiet(at + service.handedOver, 2, statistics);
    words.quiet(at + service.polls, service.deferred - service.polls, statistics);
    for (let row = 0; row < rows; row++) {
      const counters = this.service.table.index(row, 'rateAt');
      words.quiet(
        counters,
        functionRow.sizeBytes / 4 - (counters - this.service.table.index(row, 'partition')),
        statistics,
      );
    }
    words.quiet(WORDS.sent, WORDS.lines - WORDS.sent, statistics);
    words.quiet(WORDS.lines, WORDS.END - WORDS.lines, { kind: 'free' });
    words.quiet(WORDS.time, 1, { kind: 'free' });
    words.name(at + service.lock, 'lock');
    words.name(at + service.rung, 'rung');
    words.name(WORDS.alarm, 'alarm');
    for (const [number, port] of this.#ports.entries()) {
      for (const field of ['message', 'wire', 'indicator'] as const)
        words.name(this.#indexOf(port, field), `${field} ${number}`);
      // With the relay the wire is read for a count alone.
      if (this.#options.relay) words.quiet(this.#indexOf(port, 'wire'), 1, statistics);
      const record = recordLayout(port.shape.identifiers ?? 64);
      const first = must(this.#records[number]) / 4 + wordOffsets(record).requester;
      for (let row = 0; row < port.shape.functions; row++)
        words.quiet(first + (row * record.sizeBytes) / 4, 1, { kind: 'free' });
    }
    for (const { requester } of this.#options.functions) {
      const record = this.#recordAt(requester);
      const offset = wordOffsets(this.#recordLayout(requester));
      words.name(WORDS.work + this.#number(requester), `work of ${requester}`);
      for (let i = 0; i < 3; i++) words.name(record + offset.messages + i, `message of ${requester}`);
      for (const field of ['pins', 'pending', 'held'] as const)
        words.name(record + offset[field], `${field} of ${requester}`);
      for (const field of ['interrupts', 'merged', 'overflows', 'garbage'] as const)
        words.quiet(record + offset[field], 2, statistics);
      words.quiet(record + offset.since, 1, statistics);
    }
  }
}

/** Requesters are numbered so that this is the number of their port. */
function portOf(requester: number): number {
  return requester >> 8;
}

function bytesOf(shape: PortShape): number {
  return Math.ceil(portLayout(shape).sizeBytes / 8) * 8;
}
