/** Boots a guest in the reference QEMU with an agent port, to prove images without our own machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentSession } from '../agent/index.ts';
import { fetchQemu } from '../debian/index.ts';

export interface QemuGuest {
  session: AgentSession;
  process: ChildProcess;
  /** What the guest wrote to its serial console so far. */
  console(): string;
  /** Types on the serial console. */
  type(text: string): void;
  /** Resolves when the console has shown the pattern. */
  shows(pattern: RegExp): Promise<void>;
  /** QEMU's exit code. */
  ended: Promise<number>;
  /** Ends QEMU at once, if it has not ended. */
  kill(): Promise<void>;
}

export interface QemuOptions {
  kernel: string;
  initrd?: string;
  commandLine: string;
  /** Raw disk images, in order. */
  disks?: readonly string[];
  memory?: string;
  /** Of `-M virt`: `aia=aplic-imsic`. */
  machine?: string;
  /** More devices, as `-device` takes them. */
  devices?: readonly string[];
  /** QEMU is killed after this time. */
  limitMs: number;
}

export async function bootInQemu(options: QemuOptions): Promise<QemuGuest> {
  const { command } = await fetchQemu();
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-qemu-'));
  const agent = join(folder, 'agent');
  const args = [
    ...[
      '-M',
      ['virt', ...(options.machine === undefined ? [] : [options.machine])].join(','),
      '-nographic',
      '-no-reboot',
      '-m',
      options.memory ?? '512M',
    ],
    ...['-kernel', options.kernel, '-append', options.commandLine],
    ...(options.initrd === undefined ? [] : ['-initrd', options.initrd]),
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-device', 'virtio-serial-device', '-chardev', `socket,id=agent,path=${agent},server=on,wait=on`],
    ...['-device', 'virtserialport,chardev=agent,name=org.kagemusha.agent.0'],
    ...['-netdev', 'user,id=net', '-device', 'virtio-net-device,netdev=net', '-device', 'virtio-rng-device'],
    ...(options.devices ?? []).flatMap((device) => ['-device', device]),
    ...(options.disks ?? []).flatMap((disk, index) => [
      ...[
        '-drive',
        `if=none,id=disk${index},file=${disk},format=raw`,
        '-device',
        `virtio-blk-device,drive=disk${index}`,
      ],
    ]),
  ];
  const [program = '', ...words] = command;
  const child = spawn(program, [...words, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  let heard = (): void => {};
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      heard();
    });
  }
  const limit = setTimeout(() => child.kill('SIGKILL'), options.limitMs);
  const ended = new Promise<number>((resolve) => {
    child.on('close', (code) => {
      clearTimeout(limit);
      rmSync(folder, { recursive: true, force: true });
      heard();
      resolve(code ?? 128);
    });
  });
  while (!existsSync(agent) && child.exitCode === null) await sleep(20);
  const socket: Socket = connect(agent);
  const clock = {
    after(delayMs: number, callback: () => void): () => void {
      const timer = setTimeout(callback, delayMs);
      return () => clearTimeout(timer);
    },
  };
  const session = new AgentSession({ write: (bytes) => socket.write(bytes) }, { clock, nonce: 'qemu' });
  socket.on('data', (bytes: Buffer) => session.onData(bytes));
  socket.on('error', () => {});
  socket.on('close', () => session.close());
  return {
    session,
    process: child,
    ended,
    console: () => text,
    type: (line) => child.stdin.write(line),
    shows: async (pattern) => {
      while (!pattern.test(text)) {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`no ${pattern} on the console:\n${text.slice(-2000)}`);
        await new Promise<void>((resolve) => {
          heard = resolve;
        });
      }
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
