/** The shape of what a machine tells of its balloon (machine/balloon.ts), for the protocol. */
import type { BalloonReport } from '../../machine/index.ts';
import { integer, mapOf, number, record, type Shape, truth } from './shape.ts';

const bytes = integer(0, Number.MAX_SAFE_INTEGER);

export const balloonReport: Shape<BalloonReport> = record({
  memoryBytes: bytes,
  targetBytes: integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  balloonBytes: bytes,
  touchedBytes: bytes,
  inflatedBytes: bytes,
  reportedBytes: bytes,
  hasDriver: truth,
  guest: mapOf(number(0, Number.MAX_VALUE), 64),
});
