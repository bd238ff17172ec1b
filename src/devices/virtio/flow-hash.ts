/**
 * Flows as numbers: what steering tells them apart by. Both directions of a flow have the same; who chooses addresses and
 * ports can choose flows that share one, and gains nothing but a shared queue.
 */
import { layersOf, wordAt } from '../../base/frame-layers.ts';

/**
 * A number of 32 bits that both directions of a flow have in common and that differs between flows as chance would have
 * it: of addresses and ports, or of hardware addresses where there are none.
 */
export function flowHash(frame: Uint8Array): number {
  const layers = layersOf(frame);
  if (layers === undefined) return mix(spread(frame, 0, 6) ^ spread(frame, 6, 6));
  const { version, ipAt, transportAt, protocol } = layers;
  const [at, bytes] = version === 4 ? [ipAt + 12, 4] : [ipAt + 8, 16];
  // Each end by itself, then both, so that their order does not matter; a sum and not only xor, or a == b would cancel out.
  const one = mix(spread(frame, at, bytes) + wordAt(frame, transportAt));
  const other = mix(spread(frame, at + bytes, bytes) + wordAt(frame, transportAt + 2));
  return mix((one + other) ^ protocol);
}

function spread(frame: Uint8Array, at: number, bytes: number): number {
  let hash = 0x811c_9dc5;
  for (let i = at; i < at + bytes; i++) hash = Math.imul(hash ^ (frame[i] ?? 0), 0x0100_0193);
  return hash;
}

function mix(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x7feb_352d);
  value = Math.imul(value ^ (value >>> 15), 0x846c_a68b);
  return (value ^ (value >>> 16)) >>> 0;
}
