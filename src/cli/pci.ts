/** `kage pci`: what is in the slots of a machine, and what is put in and taken out. */
import { OperatorError } from '../base/errors.ts';
import { connectMachine, type PciFunctionReport, type PciReport } from '../host/index.ts';
import type { Io } from './io.ts';
import { type Format, print, table } from './output.ts';

export const pciHelp = `
Examples:
  kage pci web                root ports, cards, functions, and how they interrupt
  kage pci web unplug rp2     asks the guest to let the card in that port go
  kage pci web pull rp2       takes it out at once, whatever the guest does with it
  kage pci web plug rp2       puts it in again

A machine has PCI Express with "kage run --pci on".
`;

const ACTIONS = ['plug', 'unplug', 'pull'] as const;

export async function pci(
  io: Io,
  name: string,
  action: string | undefined,
  port: string | undefined,
  { format }: { readonly format: Format },
): Promise<number> {
  const known = ACTIONS.find((one) => one === action);
  if (action !== undefined && known === undefined)
    throw new OperatorError('bad-action', `${action} is nothing to do with a slot`, `Say ${ACTIONS.join(', ')}.`);
  if (known !== undefined && port === undefined)
    throw new OperatorError('no-port', 'which slot is not said', 'Name a root port; "kage pci NAME" lists them.');
  await using machine = await connectMachine(name);
  if (known !== undefined && port !== undefined) {
    await machine.changeSlot(port, known);
    return 0;
  }
  const report = await machine.pci();
  print(io, format, report, () => reportText(report));
  return 0;
}

function reportText({ ports, functions }: PciReport): string {
  const row = ({ place, id, kind, interrupts, messages, asserts }: PciFunctionReport, at = '') => [
    ...[`${at}${place}`, id, kind, '', interrupts, `${messages + asserts}`],
  ];
  return table(
    ['place', 'id', 'kind', 'slot', 'interrupts', 'sent'],
    [
      ...ports.flatMap(({ id, place, slot, card, power, functions: behind }) => [
        [place, id, 'root port', `${slot}, card ${card}, power ${power}`, '', ''],
        ...behind.map((one) => row(one, '  ')),
      ]),
      ...functions.map((one) => row(one)),
    ],
  );
}
