/** What a source says first, and what it says of the guest with each whole round; the checks of both. */
import type { GuestAddress } from '../../network/index.ts';
import { badStream, jsonOf } from '../../replication/index.ts';
import {
  integer,
  listOf,
  number,
  oneOf,
  optional,
  record,
  type Shape,
  ShapeError,
  text,
  truth,
} from '../control/shape.ts';
import { type SnapshotState, snapshotHead, snapshotState } from '../snapshots/index.ts';

export const helloShape = record({
  mode: oneOf('standby', 'migration'),
  /** Of the guest, as long as it lives: another connection speaks of the same by it. */
  guest: text(64),
  head: snapshotHead,
  /** The machine's clock. */
  ticks: number(0, Number.MAX_SAFE_INTEGER),
  /** Number of the next command that the agent is told. */
  nextCommand: integer(1, 999_999_999),
  /** Of its network; 0: it has none. */
  mtuBytes: integer(0, 65_535),
  /** For each drive: whether the device offers these. */
  drives: listOf(record({ discards: truth, zeroes: truth }), 64),
});
export type Hello = ReturnType<typeof helloShape>;

const address = record({
  kind: oneOf('ipv4', 'ipv6'),
  mac: integer(0, 2 ** 48 - 1),
  vlan: integer(0, 4095),
  address: (value: unknown, at: string): string | number =>
    typeof value === 'number' ? integer(0, 2 ** 32 - 1)(value, at) : text(32)(value, at),
});

export interface GuestState {
  readonly state: SnapshotState;
  /** What the console said since the last whole round. */
  readonly console: Uint8Array;
  readonly addresses: readonly GuestAddress[];
}

const MOST_CONSOLE_TEXT = 8 << 20;
const more = record({ console: text(MOST_CONSOLE_TEXT), addresses: optional(listOf(address, 64)) });

/** Throws OperatorError `stream-damaged`. */
export function readGuestState(bytes: Uint8Array): GuestState {
  return checkedValue(jsonOf({ data: bytes }), (value, at) => {
    const { console, addresses = [] } = more(value, at);
    const known = addresses.filter(({ kind, address }) => (kind === 'ipv4') === (typeof address === 'number'));
    return {
      state: snapshotState(value, at),
      console: new Uint8Array(Buffer.from(console, 'base64')),
      addresses: known as readonly GuestAddress[],
    };
  });
}

/** Of a value that came as JSON. Throws OperatorError `stream-damaged`. */
export function checkedValue<T>(value: unknown, shape: Shape<T>): T {
  try {
    return shape(value, 'it');
  } catch (error) {
    if (error instanceof ShapeError) throw badStream(error.message);
    throw error;
  }
}
