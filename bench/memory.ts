/**
 * Where resident memory goes: `node bench/memory.ts [--only WORDS] [--permille N] [--code-memory N] [--boot]
 * [--no-translate] [--side qemu|ours] [--document]`. Runs the bench's guest (with --boot the stock image, to its shell)
 * in QEMU and in our machine as `npm run bench` does, and takes apart what /proc says of the two processes, at the
 * highest that was seen and when the guest had finished. `--document` writes the table of docs/PERFORMANCE.md. Needs
 * Linux.
 */
import { parseArgs } from 'node:util';
import { HostError } from '../src/base/errors.ts';
import { pullDebianImage } from '../src/host/images/index.ts';
import { allWorkloads, selectWorkloads } from './classes.ts';
import { benchGuest, benchInitrd, bootGuest, type Guest, prompt, provideTools } from './guest.ts';
import type { MachineProcessMessage } from './machine-process.ts';
import { measure, memoryBytes, type Side } from './measure.ts';
import type { MemoryAccount } from './memory-account.ts';
import { describeSetting, settingLines, writeDocument } from './report.ts';
import { mappingsOf, presentBytes, statusBytes } from './resident.ts';

/** Looks at a process are this far apart; a new peak is taken apart when it is by so much above the last one. */
const LOOK_MS = 50;
const PEAK_STEP_BYTES = 2 ** 20;
const MiB = 2 ** 20;
const SIDES = ['qemu', 'ours'] as const;

/** Bytes that are resident, by what they are for. */
type Picture = ReadonlyMap<string, number>;

interface Portrait {
  readonly side: Side;
  readonly hwmBytes: number;
  readonly peak: Picture;
  readonly end: Picture;
  /** What our machine said last of itself. */
  readonly account: MemoryAccount | undefined;
}

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    permille: { type: 'string', default: '200' },
    'code-memory': { type: 'string', default: '64' },
    boot: { type: 'boolean', default: false },
    'no-translate': { type: 'boolean', default: false },
    side: { type: 'string' },
    document: { type: 'boolean', default: false },
  },
});

await provideTools(say);
const image = await pullDebianImage();
const guest = values.boot ? bootGuest(image) : await programs(image.kernel);
const portraits: Portrait[] = [];
for (const side of SIDES) {
  if (values.side === undefined || values.side === side) portraits.push(await portray(side, guest));
}
for (const portrait of portraits) process.stdout.write(`${rowsOf(portrait).map(textRow).join('\n')}\n\n`);
if (values.document) {
  const [kernel] = image.manifest.packages;
  const setting = describeSetting({
    ...{ command: 'node bench/memory.ts --document', runs: 1, permille: Number(values.permille) },
    kernel: `Debian ${image.manifest.release}, ${kernel?.name} ${kernel?.version}`,
  });
  const tables = portraits.map((portrait) => {
    const [head = [], ...rows] = rowsOf(portrait);
    return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  });
  await writeDocument(
    [
      settingLines(setting)
        .map((line) => `- ${line}`)
        .join('\n'),
      ...tables,
    ].join('\n\n'),
    'memory',
  );
}

async function programs(kernel: string): Promise<Guest> {
  const all = (await allWorkloads()).filter((workload) => workload !== 'boot/shell');
  const wanted = values.only === undefined ? all : selectWorkloads(all, values.only);
  return benchGuest({ kernel, initrd: await benchInitrd() }, { all, wanted, permille: Number(values.permille) });
}

/** Runs the guest, and looks at the process meanwhile. */
async function portray(side: Side, guest: Guest): Promise<Portrait> {
  let hwmBytes = 0;
  let highest = 0;
  let peak: Picture | undefined;
  let end: Picture | undefined;
  let account: MemoryAccount | undefined;
  let console = '';
  await measure(side, guest, {
    limitMs: 1_800_000,
    translate: !values['no-translate'],
    codeMemoryBytes: Number.parseInt(values['code-memory'], 10) * MiB,
    onStart: (child) => {
      const { pid } = child;
      if (pid === undefined) return;
      const look = (): Picture => {
        if (side === 'ours' && child.connected) child.send('memory');
        return take(side, pid, account);
      };
      const timer = setInterval(() => {
        hwmBytes = Math.max(hwmBytes, statusBytes(pid, 'VmHWM'));
        const now = statusBytes(pid, 'VmRSS');
        if (now < highest + PEAK_STEP_BYTES) return;
        highest = now;
        peak = look();
      }, LOOK_MS);
      child.on('close', () => clearInterval(timer));
      child.on('message', (message: MachineProcessMessage) => {
        if (message.kind === 'memory') account = message.account;
      });
      child.stdout?.on('data', (bytes: Buffer) => {
        console = (console + bytes.toString('latin1')).slice(-4096);
        if (console.includes('bench: done') || console.includes(prompt)) end ??= look();
      });
    },
  });
  if (peak === undefined || end === undefined)
    throw new HostError('bench-run', 'the machine ended before anything was seen of it');
  return { side, hwmBytes, peak, end, account };
}

function take(side: Side, pid: number, account: MemoryAccount | undefined): Picture {
  const parts = new Map<string, number>();
  for (const { name, rights, residentBytes, start, end } of mappingsOf(pid)) {
    const add = (part: string, bytes: number): void => void parts.set(part, (parts.get(part) ?? 0) + bytes);
    const isGuests = end - start === (side === 'qemu' ? memoryBytes : account?.sizeBytes);
    if (isGuests && side === 'qemu') add("the guest's memory", residentBytes);
    else if (isGuests) {
      for (const { name: part, start: from, end: to } of account?.areas ?? []) {
        add(`machine's memory: ${part}`, presentBytes(pid, start + from, start + to));
      }
    } else if (name.startsWith('/')) add('program and libraries', residentBytes);
    else if (rights.includes('x')) add('machine code', residentBytes);
    else add('heaps and all else', residentBytes);
  }
  return parts;
}

function rowsOf({ side, hwmBytes, peak, end, account }: Portrait): string[][] {
  const sum = (picture: Picture): number => [...picture.values()].reduce((total, bytes) => total + bytes, 0);
  const rows = [
    [side === 'qemu' ? 'QEMU, MiB' : 'ours, MiB', 'at the peak', 'at the end'],
    ...[...new Set([...peak.keys(), ...end.keys()])]
      .sort()
      .map((name) => [name, mib(peak.get(name)), mib(end.get(name))]),
    ['all', mib(sum(peak)), mib(sum(end))],
    ['highest that the kernel saw (VmHWM)', mib(hwmBytes), ''],
  ];
  if (account === undefined) return rows;
  const { heaps, frames, code } = account;
  return [
    ...rows,
    ...heaps.flatMap(({ thread, residentBytes, usedBytes, mallocedBytes, peakMallocedBytes }) => [
      [`of which heap of the thread ${thread}; in use`, mib(residentBytes), mib(usedBytes)],
      [`compilers' memory of that thread at their peak; now`, mib(peakMallocedBytes), mib(mallocedBytes)],
    ]),
    ['frames handed out; of which all zero', mib(frames.used * 4096), mib(frames.zero * 4096)],
    ['code memory handed out; modules in it', mib(code.usedBytes), mib(code.moduleBytes)],
  ];
}

function textRow([name = '', ...cells]: readonly string[]): string {
  return name.padEnd(56) + cells.map((cell) => cell.padStart(12)).join('');
}

function mib(bytes = 0): string {
  return (bytes / MiB).toFixed(1);
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
