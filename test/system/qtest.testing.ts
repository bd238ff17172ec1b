/**
 * QEMU's machine without a guest: its test protocol (docs/devel/testing/qtest, as read) reads and writes guest-physical
 * addresses, so that its devices can be compared with ours register by register.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { programPath } from '../toolbox.ts';

const WIDTH = { 1: 'b', 2: 'w', 4: 'l', 8: 'q' } as const;

export class Qtest implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: { resolve(answer: string): void; reject(error: Error): void }[] = [];
  readonly #ended: Promise<void>;

  /** `args`: the machine and its devices, `['-M', 'virt', '-device', ...]`. It stands still. */
  constructor(args: readonly string[]) {
    this.#child = spawn(
      programPath('qemu-system-riscv64'),
      [...args, '-S', '-display', 'none', '-nodefaults', '-qtest', 'stdio', '-qtest-log', '/dev/null'],
      { stdio: 'pipe' },
    );
    let errors = '';
    this.#child.stderr.on('data', (bytes: Buffer) => {
      errors += bytes.toString('utf8');
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      // Interrupts are told in between.
      if (!line.startsWith('IRQ')) this.#waiting.shift()?.resolve(line);
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on('close', () => {
        for (const { reject } of this.#waiting.splice(0)) reject(new Error(`QEMU has ended: ${errors.slice(-500)}`));
        resolve();
      });
    });
    this.#child.stdin.on('error', () => {});
  }

  async read(gpa: number, bytes: 1 | 2 | 4): Promise<number> {
    return Number(await this.#ask(`read${WIDTH[bytes]} 0x${gpa.toString(16)}`));
  }

  async write(gpa: number, bytes: 1 | 2 | 4, value: number): Promise<void> {
    await this.#ask(`write${WIDTH[bytes]} 0x${gpa.toString(16)} 0x${(value >>> 0).toString(16)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async #ask(command: string): Promise<string> {
    const answer = new Promise<string>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#child.stdin.write(`${command}\n`);
    const [status, value = ''] = (await answer).split(' ');
    if (status !== 'OK') throw new Error(`QEMU: ${command}: ${status} ${value}`);
    return value;
  }
}
