/** The shape of what a machine tells of its PCI Express fabric (machine/pci-report.ts), for the protocol. */
import type { PciReport } from '../../machine/index.ts';
import { integer, listOf, oneOf, record, type Shape, text } from './shape.ts';

const count = integer(0, 2 ** 32 - 1);
const indicator = oneOf('on', 'blink', 'off');

const functions = listOf(
  record({
    id: text(64),
    place: text(16),
    kind: text(64),
    interrupts: oneOf('intx', 'msi', 'msix'),
    messages: count,
    asserts: count,
  }),
  256,
);

export const pciReport: Shape<PciReport> = record({
  ports: listOf(
    record({
      id: text(64),
      place: text(16),
      slot: integer(0, 8191),
      card: oneOf('in', 'leaving', 'out'),
      power: oneOf('on', 'off'),
      indicators: record({ power: indicator, attention: indicator }),
      functions,
    }),
    32,
  ),
  functions,
});

export const slotChange = record({ port: text(64), action: oneOf('plug', 'unplug', 'pull') });
