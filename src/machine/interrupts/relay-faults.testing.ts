/**
 * Faults for the model of the relay: two steps of the protocol in the other order, or one left out, put there from outside.
 * The code itself is not touched.
 */
import { must } from '../../base/assert.ts';
import type { Words } from '../../base/words.ts';
import type { InterruptPort, TransactionPort } from '../../devices/index.ts';
import type { Requests, ServedPort } from '../../hypervisor/index.ts';

/** Steps that come in the other order, or are not there. */
export type Fault =
  | 'data after indicator'
  | 'indicator after message'
  | 'take before clear'
  | 'no second look'
  | 'take in two steps'
  | 'read after taking'
  | 'requester before identifier'
  | 'lifted after taking'
  | 'falls are left to others';

/** Where functions' transactions go. `indicator`: index of its word. */
export function faultyLine(
  port: InterruptPort,
  words: Words,
  indicator: number,
  fault: Fault | undefined,
): TransactionPort {
  const { relay } = port;
  if (fault === 'indicator after message' && relay) {
    return {
      send: (transaction) => {
        relay.forward(transaction);
        relay.note(transaction);
      },
    };
  }
  if (fault === 'requester before identifier' && relay) {
    return {
      send: (transaction) => {
        const row = must(port.records.rowOf(transaction.requester));
        words.setBits(indicator, 1 << row);
        port.records.note(row, transaction, 0);
        relay.forward(transaction);
      },
    };
  }
  return port.line;
}

/** The same records, but for `others`. */
function recordsWith(records: Requests, others: Partial<Requests>): Requests {
  return {
    pendingWords: records.pendingWords,
    rowOf: (requester) => records.rowOf(requester),
    attach: (requester) => records.attach(requester),
    detach: (row) => records.detach(row),
    requesterOf: (row) => records.requesterOf(row),
    countersAt: (row) => records.countersAt(row),
    counters: (row) => records.counters(row),
    pins: (row) => records.pins(row),
    takeRise: (row, pin) => records.takeRise(row, pin),
    waiting: (row, word) => records.waiting(row, word),
    addressOf: (row, place) => records.addressOf(row, place),
    dataOf: (row, place) => records.dataOf(row, place),
    take: (row, place) => records.take(row, place),
    hold: (row, kinds) => records.hold(row, kinds),
    takeSince: (row) => records.takeSince(row),
    putSince: (row, since) => records.putSince(row, since),
    ...others,
  };
}

/** The port as the service sees it, as far as it is at fault. */
export function faultyPort(port: InterruptPort, words: Words, indicator: number, fault: Fault | undefined): ServedPort {
  const { records } = port;
  const seen = (more: Partial<ServedPort>): ServedPort => ({
    shape: port.shape,
    records,
    relay: port.relay,
    get hasMessage() {
      return port.hasMessage;
    },
    clearMessage: () => port.clearMessage(),
    takeWire: () => port.takeWire(),
    ...more,
  });
  switch (fault) {
    case 'take before clear': {
      let taken = 0;
      return seen({
        clearMessage: () => {
          taken = port.relay ? port.relay.take(0) : port.takeWire();
          const wasSet = port.clearMessage();
          return wasSet || taken !== 0;
        },
        relay: port.relay && { take: () => taken },
        takeWire: () => (port.relay ? port.takeWire() : taken),
      });
    }
    case 'no second look':
      return { ...seen({}), hasMessage: false };
    case 'take in two steps':
      return seen({
        relay: {
          take: () => {
            const bits = words.load(indicator);
            words.store(indicator, 0);
            return bits;
          },
        },
      });
    case 'read after taking':
      return seen({
        records: recordsWith(records, {
          addressOf: (row, place) => {
            records.take(row, place);
            return records.addressOf(row, place);
          },
          take: () => {},
        }),
      });
    case 'lifted after taking':
      return seen({
        records: recordsWith(records, {
          hold: (row, kinds) => (kinds === 0 ? undefined : records.hold(row, kinds)),
          takeRise: (row, pin) => {
            const level = records.takeRise(row, pin);
            records.hold(row, 0);
            return level;
          },
          take: (row, place) => {
            records.take(row, place);
            records.hold(row, 0);
          },
        }),
      });
    default:
      return port;
  }
}
