/**
 * What a hot standby costs a guest: `npm run bench -- --only replication`. A Debian guest of one hart works, alone and with a
 * standby in another process, at several lengths of epochs; what it gets done is counted by itself. The standby is on the same
 * host, so on two cores it competes with the guest's own threads, as it would not elsewhere; a network between them
 * is not measured.
 *
 *   count     adds numbers: hardly any page is written
 *   memory    writes through 16 MiB again and again
 *   programs  starts programs: kernel and user, new pages all the time
 *   requests  answers one request after the other over TCP: each answer waits for its epoch
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '../src/base/assert.ts';
import type { GuestImage } from '../src/host/images/index.ts';
import { createMachine, type MachineHandle } from '../src/host/index.ts';
import type { ReplicationMeasures } from '../src/replication/index.ts';
import { freePort } from '../test/system/free-port.testing.ts';

/** Epochs as long as that, or as that at most, if output ends them. */
export const EPOCHS = [
  ...[25, 50, 100, 200].map((epochMs) => ({ epochMs, eager: true })),
  ...[25, 50, 100, 200].map((epochMs) => ({ epochMs, eager: false })),
];
export type Epochs = (typeof EPOCHS)[number];
export const WORKS = ['count', 'memory', 'programs', 'requests'] as const;
export type Work = (typeof WORKS)[number];

export interface ReplicationFigures {
  /** Of each workload, done in a second. */
  readonly alone: Readonly<Record<Work, number>>;
  readonly replicated: readonly {
    readonly epochs: Epochs;
    readonly done: Readonly<Record<Work, number>>;
    readonly measures: Readonly<Record<Work, ReplicationMeasures>>;
  }[];
}

const PORT = 7000;
/** What is done so many times, of a shell of busybox. */
const scripts: Readonly<Record<Exclude<Work, 'requests'>, (count: number) => string>> = {
  count: (count) => `awk 'BEGIN { for (i = 0; i < ${count * 1000}; i++) s += i }'`,
  memory: (count) => times(count, 'dd if=/dev/zero of=/memory bs=1M count=16 conv=notrunc 2> /dev/null'),
  programs: (count) => times(count, 'busybox true'),
};
/** To find out how many times a second. */
const FEW = { count: 100, memory: 4, programs: 20 } as const;

function times(count: number, command: string): string {
  return `i=0; while [ $i -lt ${count} ]; do ${command}; i=$((i + 1)); done`;
}

export async function measureReplication(
  image: GuestImage,
  { seconds, say }: { readonly seconds: number; readonly say: (line: string) => void },
): Promise<ReplicationFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'kage-bench-replication-'));
  const address = `unix:${join(folder, 'stream')}`;
  const port = await freePort();
  const { kernel, initrd, commandLine } = image;
  await using machine = await createMachine({
    ...{ kernel, initrd, append: commandLine, memoryBytes: 256 << 20, bootSnapshot: true },
    publish: [`127.0.0.1:${port}:${PORT}`],
  });
  let standby: ChildProcess | undefined;
  try {
    await told(machine, `(setsid nc -ll -p ${PORT} -e cat > /dev/null 2>&1 &)`);
    const listens = `grep -q ':${PORT.toString(16).toUpperCase()} '`;
    await told(machine, `until cat /proc/net/tcp* | ${listens}; do sleep 0.1; done`);
    const all = async (): Promise<{ done: Record<Work, number>; measures: Record<Work, ReplicationMeasures> }> => {
      const done: Partial<Record<Work, number>> = {};
      const measures: Partial<Record<Work, ReplicationMeasures>> = {};
      for (const work of WORKS) {
        done[work] = work === 'requests' ? await requests(port, seconds) : await counted(machine, work, seconds);
        const { measures: told } = await machine.replication();
        if (told !== undefined) measures[work] = told;
      }
      return { done, measures } as { done: Record<Work, number>; measures: Record<Work, ReplicationMeasures> };
    };
    // Hot code is translated.
    await all();
    const before = await all();
    say('alone');
    const replicated = [];
    for (const epochs of EPOCHS) {
      standby = fork(join(import.meta.dirname, 'replication-standby.ts'), [address]);
      await once(standby, 'message');
      await machine.replicate({ to: address, ...epochs });
      replicated.push({ epochs, ...(await all()) });
      await machine.unreplicate();
      await ended(standby);
      standby = undefined;
      say(nameOf(epochs));
    }
    const after = await all();
    const alone = Object.fromEntries(WORKS.map((work) => [work, (before.done[work] + after.done[work]) / 2]));
    return { alone: alone as Record<Work, number>, replicated };
  } finally {
    if (standby !== undefined) await ended(standby);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function ended(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.disconnect();
  await exited;
}

async function told(machine: MachineHandle, script: string): Promise<string> {
  const { code, stdout } = await machine.exec(['sh', '-c', script]);
  assert(code === 0, `the guest answers with ${code}`);
  return Buffer.from(stdout).toString().trim();
}

/** How often in a second, by the guest's own clock. */
async function counted(machine: MachineHandle, work: Exclude<Work, 'requests'>, seconds: number): Promise<number> {
  const rate = async (count: number): Promise<number> => {
    const time = "cut -d' ' -f1 /proc/uptime";
    const [from, to] = (await told(machine, `${time}; ${scripts[work](count)}; ${time}`)).split('\n').map(Number);
    return count / Math.max((to ?? 0) - (from ?? 0), 0.01);
  };
  return await rate(Math.ceil((await rate(FEW[work])) * seconds));
}

async function requests(port: number, seconds: number): Promise<number> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  await once(socket, 'connect');
  let count = 0;
  const late = performance.now() + seconds * 1000;
  while (performance.now() < late) {
    socket.write('request\n');
    await once(socket, 'data');
    count++;
  }
  socket.destroy();
  return count / seconds;
}

function nameOf({ epochMs, eager }: Epochs): string {
  return eager ? `${epochMs} ms at most` : `${epochMs} ms`;
}

/** A table for a document. */
export function replicationMarkdown({ alone, replicated }: ReplicationFigures): string {
  const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
  const ms = (value: number): string => value.toFixed(1);
  const lines = [
    row(['guest’s speed, of alone', ...WORKS]),
    row(['---', ...WORKS.map(() => '---')]),
    ...replicated.map(({ epochs, done }) =>
      row([nameOf(epochs), ...WORKS.map((work) => (done[work] / alone[work]).toFixed(2))]),
    ),
    '',
    row(['ms, pages, KiB', 'of', 'stands still, median', '99 %', 'acknowledged after, median', '99 %', 'pages', 'KiB']),
    row(Array(8).fill('---')),
    ...replicated.flatMap(({ epochs, measures }) =>
      WORKS.map((work) => {
        const { pauseMs, ackMs, pagesEach, bytesEach } = measures[work];
        const sizes = [pagesEach.p50, Math.round(bytesEach.p50 / 1024)];
        return row([nameOf(epochs), work, ms(pauseMs.p50), ms(pauseMs.p99), ms(ackMs.p50), ms(ackMs.p99), ...sizes]);
      }),
    ),
    '',
    `Alone, a second: ${WORKS.map((work) => `${Math.round(alone[work])} ${work}`).join(', ')}.`,
  ];
  return `${lines.join('\n')}\n`;
}
