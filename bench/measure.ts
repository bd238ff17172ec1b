/**
 * Runs one guest in one machine and reads what it says: QEMU and ours alike as child processes, with the same
 * console, the same clock (the guest's own for workloads, the host's for the way to the shell), the same source for
 * the peak of resident memory (VmHWM in /proc, which is absent where the host is no Linux).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { HostError } from '../src/base/errors.ts';
import { MACHINE_ENVIRONMENT, MACHINE_FLAGS } from '../src/cli/machine-flags.ts';
import type { MachineStats } from '../src/host/machine/index.ts';
import type { PromotionMode, ShadowModel } from '../src/machine/index.ts';
import { programPath } from '../test/toolbox.ts';
import { ioClasses, programs } from './classes.ts';
import type { Guest } from './guest.ts';
import type { MachineProcessMessage, MachineProcessStart } from './machine-process.ts';
import { machineProgram } from './machine-program.ts';
import { statusBytes } from './resident.ts';

export type Side = 'qemu' | 'ours';

/** What one workload said in one run. */
export interface Sample {
  readonly workload: string;
  readonly iterations: number;
  readonly checksum: string;
  readonly seconds: number;
  /** Instructions that our machine executed meanwhile, preparation included. */
  readonly instructions?: number;
  /** Misses of our machine's translation buffers meanwhile, and walks of page tables among these. */
  readonly refills?: number;
  readonly walks?: number;
  /** Seconds from its beginning to its result, preparation included. */
  readonly wholeSeconds: number;
  /** What the process had of the processors meanwhile, all threads: the sturdier figure on a busy host. */
  readonly cpuSeconds: number;
}

export interface Session {
  readonly samples: readonly Sample[];
  readonly peakBytes: number;
  /** Our machines' counters at their ends. */
  readonly stats: readonly MachineStats[];
}

export interface MeasureOptions {
  readonly limitMs: number;
  readonly codeMemoryBytes?: number;
  /** False: our machine interprets everything. */
  readonly translate?: boolean;
  readonly promotion?: PromotionMode;
  readonly hotThreshold?: number;
  readonly shadows?: number;
  readonly asidBits?: number;
  readonly shadowModel?: ShadowModel;
  /** False: without protection tables. */
  readonly protection?: boolean;
  /** The hypervisor extension, in our machine; false: both stages of a guest's translation are walked each time. */
  readonly nested?: boolean;
  readonly combinedShadows?: boolean;
  readonly onSample?: (sample: Sample) => void;
  /** Told of the machine's process when it was started, for who wants to look at it further. */
  readonly onStart?: (child: ChildProcess) => void;
}

export const memoryBytes = 512 * 1024 * 1024;
const consoleMostBytes = 1 << 20;
/** What a program may be called that prints results. */
const known: readonly string[] = [...programs, ...ioClasses.map((one) => one.name), 'exits', 'boot'];

/** Runs `guest` to its end. Throws HostError `bench-run`. */
export async function measure(side: Side, guest: Guest, options: MeasureOptions): Promise<Session> {
  const program = side === 'ours' ? machineProgram((line) => process.stderr.write(`${line}\n`)) : '';
  const began = performance.now();
  const child = side === 'qemu' ? startQemu(guest) : startOurs(program, guest, options);
  const reader = new ResultReader(options.onSample);
  options.onStart?.(child);
  if (guest.begins !== undefined) reader.line(`begin ${guest.begins}`, { wallMs: began, cpuMs: 0 });
  let text = '';
  let partial = '';
  let isAnswered = false;
  const stats: MachineStats[] = [];
  let peakBytes = 0;
  let errors = '';
  child.stdout?.on('data', (bytes: Buffer) => {
    const piece = bytes.toString('latin1');
    text = (text + piece).slice(-consoleMostBytes);
    const lines = (partial + piece).split('\n');
    partial = lines.pop() ?? '';
    // Ours tells its lines over the channel, with the instructions.
    if (side === 'qemu') for (const line of lines) reader.line(line.trim(), clocks(child.pid));
    const answer = isAnswered ? undefined : guest.answer?.(text);
    if (answer === undefined) return;
    isAnswered = true;
    reader.shell((performance.now() - began) / 1000, clocks(child.pid));
    child.stdin?.write(answer);
  });
  child.stderr?.on('data', (bytes: Buffer) => {
    errors = (errors + bytes.toString()).slice(-2000);
  });
  child.stdin?.on('error', () => {}); // the guest may be gone before the answer arrives
  child.on('message', (message: MachineProcessMessage) => {
    if (message.kind === 'line') reader.line(message.text, clocks(child.pid), message);
    else if (message.kind === 'end') stats.push(message.stats);
  });
  const watch = setInterval(() => {
    peakBytes = Math.max(peakBytes, statusBytes(child.pid, 'VmHWM'));
  }, 50);
  const limit = setTimeout(() => child.kill('SIGKILL'), options.limitMs);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  clearInterval(watch);
  clearTimeout(limit);
  const done = guest.answer ? isAnswered : reader.isDone;
  if (code !== 0 || !done || reader.failure !== undefined) {
    const why = reader.failure ?? (code === null ? `nothing came of it in ${options.limitMs} ms` : `exit code ${code}`);
    const end = [text.slice(-600), errors].join('\n').trim();
    throw new HostError('bench-run', `the guest in ${side === 'qemu' ? 'QEMU' : 'our machine'} failed: ${why}\n${end}`);
  }
  return { samples: reader.samples, peakBytes, stats };
}

/** What our machine had counted when a line came. */
interface Counts {
  readonly instructions?: number;
  readonly refills: number;
  readonly walks: number;
}
const NO_COUNTS: Counts = { refills: 0, walks: 0 };

/** When a line came: the host's clock, and what the process had used of the processors. */
export interface Clocks {
  readonly wallMs: number;
  readonly cpuMs: number;
}

/**
 * Understands what init.c and bench.c print: `program CLASS`, `begin NAME`, `NAME iterations checksum seconds`, `failed ...`.
 * Where a session has several levels, `level N` goes before, and the workloads of level 2 are called `2/CLASS/NAME`.
 */
export class ResultReader {
  readonly samples: Sample[] = [];
  isDone = false;
  failure: string | undefined;
  #program = '';
  #level = '';
  #begun: { at: Clocks; counts: Counts } | undefined;
  #instructions: number | undefined;
  readonly #onSample: ((sample: Sample) => void) | undefined;

  constructor(onSample?: (sample: Sample) => void) {
    this.#onSample = onSample;
  }

  line(text: string, at: Clocks, counts: Counts = NO_COUNTS): void {
    const { instructions, refills, walks } = counts;
    this.#instructions = instructions;
    const program = /^program (\S+)$/.exec(text)?.[1];
    if (program !== undefined && known.includes(program)) this.#program = program;
    const level = /^level (\d)$/.exec(text)?.[1];
    if (level !== undefined) this.#level = `${level}/`;
    if (text.startsWith('failed ')) this.failure ??= text;
    // A second level has its own end, behind which the first goes on.
    if (text === 'bench: done' && this.#level !== '2/') this.isDone = true;
    if (text.startsWith('begin ')) this.#begun = { at, counts };
    const [, name, iterations, checksum, seconds] = /^([a-z0-9-]+) (\d+) ([0-9a-f]{16}) ([\d.]+)$/.exec(text) ?? [];
    if (name === undefined || checksum === undefined || this.#begun === undefined) return;
    const sample: Sample = {
      workload: `${this.#level}${this.#program}/${name}`,
      iterations: Number(iterations),
      checksum,
      seconds: Number(seconds),
      wholeSeconds: (at.wallMs - this.#begun.at.wallMs) / 1000,
      cpuSeconds: (at.cpuMs - this.#begun.at.cpuMs) / 1000,
      ...(instructions === undefined ? {} : { instructions: instructions - (this.#begun.counts.instructions ?? 0) }),
      refills: refills - this.#begun.counts.refills,
      walks: walks - this.#begun.counts.walks,
    };
    this.#begun = undefined;
    this.#add(sample);
  }

  /** The shell has asked for a command, `seconds` after the machine's process was started. */
  shell(seconds: number, at: Clocks): void {
    this.#add({
      ...{ workload: 'boot/shell', iterations: 1, checksum: '0', seconds, wholeSeconds: seconds },
      cpuSeconds: at.cpuMs / 1000,
      ...(this.#instructions === undefined ? {} : { instructions: this.#instructions }),
    });
  }

  #add(sample: Sample): void {
    this.samples.push(sample);
    this.#onSample?.(sample);
  }
}

function startQemu(guest: Guest): ChildProcess {
  const machine = [
    '-M',
    'virt',
    '-cpu',
    'rv64',
    '-accel',
    'tcg',
    '-smp',
    '1',
    '-m',
    '512M',
    '-nographic',
    '-no-reboot',
  ];
  const files = ['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', guest.append];
  const all = [...machine, ...qemuDevices(guest.io), ...files];
  return spawn(programPath('qemu-system-riscv64'), all, { stdio: ['pipe', 'pipe', 'pipe'] });
}

/** As virtio 1.2 has them, which ours are; otherwise QEMU's defaults: one queue, the host's page cache, threads. */
function qemuDevices(io: Guest['io']): string[] {
  if (io === undefined) return [];
  const isPci = io.transport === 'pci';
  const suffix = isPci ? 'pci' : 'device';
  const modern = isPci ? ',disable-legacy=on' : '';
  return [
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-netdev', 'user,id=net0', '-device', `virtio-net-${suffix},netdev=net0${modern}${isPci ? ',romfile=' : ''}`],
    ...['-drive', `if=none,id=disk0,format=raw,file=${io.disk}`],
    ...['-device', `virtio-blk-${suffix},drive=disk0${modern}`],
  ];
}

function startOurs(program: string, guest: Guest, options: MeasureOptions): ChildProcess {
  const start: MachineProcessStart = {
    kernel: guest.kernel,
    initrd: guest.initrd,
    append: guest.append,
    memoryBytes,
    ...(guest.io === undefined
      ? {}
      : { network: true, drives: [{ file: guest.io.disk }], pci: guest.io.transport === 'pci' }),
    ...(options.codeMemoryBytes === undefined ? {} : { codeMemoryBytes: options.codeMemoryBytes }),
    ...(options.translate === undefined ? {} : { translate: options.translate }),
    ...(options.promotion === undefined ? {} : { promotion: options.promotion }),
    ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
    ...(options.shadows === undefined ? {} : { shadows: options.shadows }),
    ...(options.asidBits === undefined ? {} : { asidBits: options.asidBits }),
    ...(options.shadowModel === undefined ? {} : { shadowModel: options.shadowModel }),
    ...(options.protection === undefined ? {} : { protection: options.protection }),
    ...(options.nested === undefined ? {} : { nested: options.nested }),
    ...(options.combinedShadows === undefined ? {} : { combinedShadows: options.combinedShadows }),
  };
  return spawn(process.execPath, [...MACHINE_FLAGS, program, JSON.stringify(start)], {
    env: { ...MACHINE_ENVIRONMENT, ...process.env },
    stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
  });
}

/** The time of the processors is the sum over the threads that live (schedstat, nanoseconds); 0 where there is no /proc. */
function clocks(pid: number | undefined): Clocks {
  let ns = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    }
  } catch {
    // A thread or the process has just ended.
  }
  return { wallMs: performance.now(), cpuMs: ns / 1e6 };
}
