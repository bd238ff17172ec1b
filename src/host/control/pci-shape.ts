/** A machine's PCI Express option as a peer, or a file, says it: yes or no, or root ports and places of devices. */
import type { PciOptions } from '../../machine/index.ts';
import { integer, listOf, oneOf, optional, record, type Shape, text, truth } from './shape.ts';

const ports = record({
  id: text(64),
  device: integer(0, 31),
  func: integer(0, 7),
  slot: optional(integer(0, 8191)),
  isPlugged: optional(truth),
});
const functions = record({
  id: text(64),
  kind: optional(oneOf('rng')),
  port: optional(text(64)),
  device: integer(0, 31),
  func: integer(0, 7),
  queues: optional(integer(1, 15)),
});
const plan: Shape<PciOptions> = record({ ports: listOf(ports, 31), functions: listOf(functions, 64) });

export const pciOptions: Shape<boolean | PciOptions> = (value, at) =>
  typeof value === 'boolean' ? value : plan(value, at);
