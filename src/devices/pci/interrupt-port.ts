/**
 * A port as interrupts see it: what its functions send arrives here, by way of the relay or of a plain wire, and the VMM is
 * told by the port's one message. The message says that something came; `wire` says what every port knows of it, by
 * which line or that it was a message, but not from whom.
 *
 *     function --> relay: indicator[requester]      --> port: wire, message --> VMM     takes the indicator
 *     function's own registers --> plain wire       --> port: wire, message --> VMM     takes the wire, polls functions
 *
 * Order, of whoever sends: data, then indicator, then message. Whoever serves clears the message before it takes the
 * indicator or the wire. So what is noted after the taking finds a message that is clear, and sets it.
 */
import { assert } from '../../base/assert.ts';
import { array, type Layout, struct, structs } from '../../base/struct.ts';
import { counted, type Words, wordOffsets } from '../../base/words.ts';
import { InterruptRecords, kindOf, MOST_IDENTIFIERS, recordLayout } from './interrupt-records.ts';
import { PlainWire, Relay } from './relay.ts';
import type { InterruptTransaction, TransactionPort } from './transaction.ts';

export interface PortShape {
  /** Functions that it has records for, at most 256. */
  readonly functions: number;
  /** Different messages of a function that may wait, 1 to 64; absent: 64. */
  readonly identifiers?: number;
}

function fields({ functions, identifiers = MOST_IDENTIFIERS }: PortShape) {
  return {
    /** 1: the port has a message for the VMM. */
    message: 'u32',
    wire: 'u32',
    /** Transactions of requesters that the port has no record for. */
    unknown: 'u64',
    /** The relay's indicator: a bit for each record that changed. */
    indicator: array('u32', Math.ceil(functions / 32)),
    records: structs(recordLayout(identifiers), functions),
  } as const;
}

export function portLayout(shape: PortShape): Layout<ReturnType<typeof fields>> {
  return struct('interruptPort', fields(shape));
}

export interface PortParts {
  readonly words: Words;
  /** Bytes, a zeroed block of `portLayout`. */
  readonly at: number;
  readonly relay: boolean;
  /** The time in 100 ns, modulo 2^32. */
  ticks(): number;
  /**
   * The port has a message: called after it was set, on the thread of whoever sent. `isFall`: it is that a pin fell, and the
   * guest that made it fall is not to find its line up when this returns.
   */
  raise(isFall: boolean): void;
}

export class InterruptPort implements TransactionPort {
  readonly shape: PortShape;
  /** What functions asked for; in the relay, or in the functions. */
  readonly records: InterruptRecords;
  /** Absent where the wire is plain. */
  readonly relay: Relay | undefined;
  /** Where the functions' transactions go. */
  readonly line: TransactionPort;
  readonly #words: Words;
  readonly #message: number;
  readonly #wire: number;
  readonly #unknown: number;
  readonly #raise: (isFall: boolean) => void;

  constructor(shape: PortShape, { words, at, relay, ticks, raise }: PortParts) {
    const { functions, identifiers = MOST_IDENTIFIERS } = shape;
    assert(
      functions >= 1 && functions <= 256 && identifiers >= 1 && identifiers <= MOST_IDENTIFIERS,
      'a shape of a port',
    );
    const layout = portLayout(shape);
    const index = (field: keyof typeof layout.offset): number => at / 4 + wordOffsets(layout)[field];
    this.shape = shape;
    this.records = new InterruptRecords(words, at + layout.offset.records, functions, identifiers);
    const parts = { words, records: this.records, unknown: index('unknown'), ticks };
    this.relay = relay ? new Relay({ ...parts, indicator: index('indicator') }, this) : undefined;
    this.line = this.relay ?? new PlainWire(parts, this);
    this.#words = words;
    this.#message = index('message');
    this.#wire = index('wire');
    this.#unknown = index('unknown');
    this.#raise = raise;
  }

  /** What arrives at the port's end. */
  send(transaction: InterruptTransaction): void {
    this.#words.setBits(this.#wire, kindOf(transaction));
    this.#words.store(this.#message, 1);
    this.#raise(transaction.kind === 'deassert');
  }

  get hasMessage(): boolean {
    return this.#words.load(this.#message) !== 0;
  }

  /** True: there was one. */
  clearMessage(): boolean {
    return this.#words.exchange(this.#message, 0) !== 0;
  }

  /** Transactions of requesters that it has no record for. */
  get unknown(): number {
    return counted(this.#words, this.#unknown);
  }

  takeWire(): number {
    return this.#words.exchange(this.#wire, 0);
  }
}
