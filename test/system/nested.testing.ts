/**
 * A session in two levels, the same for whatever machine the first level runs in: it loads KVM, boots a second Linux by
 * our small VMM (guest/vmm), works in its shell, switches it off, and then itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { nestedCommandLine } from '../../src/host/images/index.ts';
import { programPath } from '../toolbox.ts';

/** The first level as a session needs it; Guest (guest.testing.ts) is one. */
export interface FirstLevel {
  type(text: string): void;
  /** Waits for what the console says behind what was waited for before; returns what it said up to there. */
  shows(pattern: RegExp): Promise<string>;
}

export interface NestedOptions {
  readonly cpus?: number;
  /** As the VMM's --aia has it. */
  readonly aia?: 'off' | 'emulated' | 'hardware' | 'auto';
  /** Further options of the VMM. */
  readonly vmm?: string;
  readonly append?: string;
}

/** What the second level said. */
export interface NestedReport {
  readonly cpus: number;
  /** /proc/interrupts. */
  readonly interrupts: string;
  /** The line of riscv,isa in /proc/cpuinfo. */
  readonly isa: string;
  /** Exits that reached the VMM. */
  readonly exits: { readonly mmio: number; readonly sbi: number };
}

const promptOf = (level: 1 | 2): RegExp => new RegExp(`root@l${level}:~# `);

/** The kernel's words for a first level that types its prompt as a session expects it. */
export const firstLevelWords = 'kage.hostname=l1';

/** Boots the second level to its shell. */
export async function bootSecondLevel(level: FirstLevel, options: NestedOptions = {}): Promise<void> {
  await level.shows(promptOf(1));
  level.type('modprobe kvm; echo "modprobe: $?"; ls -l /dev/kvm\n');
  await level.shows(/modprobe: 0.*\/dev\/kvm\r?\n/s);
  await level.shows(promptOf(1));
  const words = [
    ...['/nested/vmm', '--stats', '--kernel', '/nested/kernel', '--initrd', '/nested/initrd', '--memory', '160M'],
    ...['--cpus', String(options.cpus ?? 1), '--aia', options.aia ?? 'off'],
    ...(options.vmm === undefined ? [] : [options.vmm]),
    ...['--append', `'${nestedCommandLine} kage.hostname=l2 ${options.append ?? ''}'`],
  ];
  level.type(`${words.join(' ')}; echo "vmm: ended $?"\n`);
  await level.shows(promptOf(2));
}

/** Asks the second level what it is, and has it work. */
export async function workInSecondLevel(level: FirstLevel): Promise<Omit<NestedReport, 'exits'>> {
  const run = async (command: string): Promise<string> => {
    // Marks that differ from what is typed, which the shell shows in lines of its terminal's width.
    level.type(`echo '<''<'; ${command}; echo '>''>'\n`);
    const [, said = ''] = (await level.shows(/<<\r?\n.*>>\r?\n/s)).replaceAll('\r', '').split('<<\n');
    await level.shows(promptOf(2));
    return said.slice(0, said.lastIndexOf('\n>>')).trim();
  };
  const cpus = Number(await run('nproc'));
  const isa = await run('grep -m 1 isa /proc/cpuinfo');
  // Processes, pipes, files, arithmetic, floating point (awk), and a timer.
  const worked = await run(
    'for i in 1 2 3; do seq 1 2000 | sort -n | tail -1; done; echo 3 | awk "{print 1/\\$1}"; sleep 0.2; echo slept',
  );
  if (worked !== '2000\n2000\n2000\n0.333333\nslept') throw new Error(`the second level said: ${worked}`);
  return { cpus, isa, interrupts: await run('cat /proc/interrupts') };
}

/** Switches the second level off; what its VMM counted. */
export async function endSecondLevel(level: FirstLevel): Promise<NestedReport['exits']> {
  level.type('poweroff -f\n');
  const said = await level.shows(/vmm: ended 0\r?\n/);
  const [, mmio, sbi] = /exits to us: (\d+) mmio, (\d+) sbi/.exec(said) ?? [];
  await level.shows(promptOf(1));
  return { mmio: Number(mmio), sbi: Number(sbi) };
}

/** The whole session, up to the first level's own end. */
export async function nestedSession(level: FirstLevel, options: NestedOptions = {}): Promise<NestedReport> {
  await bootSecondLevel(level, options);
  const report = await workInSecondLevel(level);
  const exits = await endSecondLevel(level);
  level.type('poweroff -f\n');
  return { ...report, exits };
}

/** The reference machine with the H extension: the oracle of these sessions. */
export class QemuFirstLevel implements FirstLevel, AsyncDisposable {
  readonly process: ChildProcess;
  /** Its exit code. */
  readonly ended: Promise<number>;
  #text = '';
  #seen = 0;
  #isOver = false;
  #heard: () => void = () => {};

  constructor(options: {
    readonly kernel: string;
    readonly initrd: string;
    readonly append: string;
    readonly cpus?: number;
    readonly aia?: 'none' | 'aplic' | 'aplic-imsic';
    /** Guest interrupt files of each hart's IMSIC. */
    readonly guestFiles?: number;
    readonly memory?: string;
    readonly limitMs?: number;
    /** Further words, such as drives. */
    readonly more?: readonly string[];
  }) {
    const aia = options.aia === undefined ? '' : `,aia=${options.aia},aia-guests=${options.guestFiles ?? 0}`;
    const args = [
      ...['-machine', `virt${aia}`, '-cpu', 'rv64,h=true', '-smp', String(options.cpus ?? 1)],
      ...['-m', options.memory ?? '512M', '-nographic', '-no-reboot'],
      ...['-kernel', options.kernel, '-initrd', options.initrd, '-append', options.append],
      ...(options.more ?? []),
    ];
    this.process = spawn(programPath('qemu-system-riscv64'), args, { stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        this.#text += bytes.toString('latin1');
        this.#heard();
      });
    }
    this.process.stdin?.on('error', () => {});
    const limit = setTimeout(() => this.process.kill('SIGKILL'), options.limitMs ?? 300_000);
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code) => {
        clearTimeout(limit);
        this.#isOver = true;
        this.#heard();
        resolve(code ?? 128);
      });
    });
  }

  type(text: string): void {
    this.process.stdin?.write(text);
  }

  get console(): string {
    return this.#text;
  }

  async shows(pattern: RegExp): Promise<string> {
    for (;;) {
      const rest = this.#text.slice(this.#seen);
      const match = pattern.exec(rest);
      if (match) {
        const end = match.index + match[0].length;
        this.#seen += end;
        return rest.slice(0, end);
      }
      if (this.#isOver) throw new Error(`no ${pattern} on the console:\n${this.#text.slice(-3000)}`);
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}
