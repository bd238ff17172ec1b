/** `kage balloon`: memory that a guest gives back to its machine. */
import { type BalloonReport, connectMachine } from '../host/index.ts';
import type { Io } from './io.ts';
import { type Format, print, table } from './output.ts';
import { parseSize } from './values.ts';

export const balloonHelp = `
Examples:
  kage balloon web            what the guest has given back, and what it says of its memory
  kage balloon web 128M       it is to make do with 128 MiB of what it was started with
  kage balloon web all        it may have all of it again

Pages that a guest gives back serve the machine's other partitions. The host does not get them back: a machine's
memory never shrinks, but it grows no further while there are some.
`;

export async function balloon(
  io: Io,
  name: string,
  size: string | undefined,
  { format }: { readonly format: Format },
): Promise<number> {
  await using machine = await connectMachine(name);
  if (size === undefined) {
    const report = await machine.balloon();
    print(io, format, report, () => reportText(report));
    return 0;
  }
  await machine.setBalloon(size === 'all' ? (await machine.info()).memoryBytes : parseSize(size, 'SIZE'));
  return 0;
}

function reportText(report: BalloonReport): string {
  const row = (what: string, bytes: number): string[] => [what, `${(bytes / 2 ** 20).toFixed(1)} MiB`];
  const { guest } = report;
  return table(
    ['memory', 'size'],
    [
      row('made with', report.memoryBytes),
      row('asked to make do with', report.targetBytes),
      row('in the balloon', report.balloonBytes),
      row('given back as free, so far', report.reportedBytes),
      row('in use of the machine', report.touchedBytes),
      ...(report.hasDriver ? [] : [['driver', 'not there']]),
      ...Object.entries(guest)
        .filter(([what]) => what.endsWith('Bytes'))
        .map(([what, bytes]) => row(`the guest says: ${what.slice(0, -'Bytes'.length)}`, bytes)),
    ],
  );
}
