/** What the interrupt service (interrupt-service.ts) asks of its surroundings: ports, and the partitions' interrupt controllers. */

/** What functions asked for and was not delivered yet, by row: in a relay, or as the functions show it when they are polled. */
export interface Requests {
  /** The record of a requester; undefined: it has none. */
  rowOf(requester: number): number | undefined;
  /** A record for a requester that has none; undefined: there is no room. */
  attach(requester: number): number | undefined;
  detach(row: number): void;
  /** Whose record it is; undefined: nobody's. */
  requesterOf(row: number): number | undefined;
  /** Index of the first word of what is counted of it, in the words that the service has, too. */
  countersAt(row: number): number;
  counters(row: number): { readonly interrupts: number; readonly merged: number; readonly dropped: number };
  readonly pendingWords: number;
  /** Bit n: pin n + 1 is asserted. Bit 4 + n: it rose since that was last taken. Reading changes nothing. */
  pins(row: number): number;
  /** That the pin, from 0 on, rose is the VMM's; whether it is asserted at that moment. */
  takeRise(row: number, pin: number): boolean;
  /** Bits of places with a message that waits, 32 x `word` and on. Reading changes nothing. */
  waiting(row: number, word: number): number;
  addressOf(row: number, place: number): number;
  dataOf(row: number, place: number): number;
  /** The message is the VMM's. */
  take(row: number, place: number): void;
  /**
   * Bit n: the VMM is not told of pin n + 1 for now, it looks by itself; bit 4: nor of messages. What is noted after this is
   * told of, where the bits say so, or was noted before. A plain wire tells of all.
   */
  hold(row: number, kinds: number): void;
  /** When the oldest came, in 100 ns; 0: there is none. */
  takeSince(row: number): number;
  putSince(row: number, since: number): void;
}

/** A port as the service has it. */
export interface ServedPort {
  readonly shape: { readonly functions: number };
  readonly records: Requests;
  /** Requesters with something new, 32 x `word` and on; they are taken. Absent: the wire is plain. */
  readonly relay: { take(word: number): number } | undefined;
  readonly hasMessage: boolean;
  clearMessage(): boolean;
  /** What a plain wire tells: bits of lines, and, above them, that there was a message. It is taken. */
  takeWire(): number;
}

export interface ServicePorts {
  /** In 100 ns, modulo 2^32. */
  ticks(): number;
  /** A line of a partition's interrupt controller. */
  setLine(partition: number, source: number, level: boolean): void;
  /** A guest's message; false: nothing is there that takes it. */
  message(partition: number, address: number, data: number): boolean;
  /** Has `look` called on some thread when so much time has passed, or later. */
  lookAfter(ticks: number): void;
}
