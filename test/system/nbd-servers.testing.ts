/** Real NBD servers over a file, which are killed and come back at the same socket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ProgramName, programPath, toolFile } from '../toolbox.ts';

export class NbdServerProcess implements AsyncDisposable {
  readonly uri: string;
  readonly #socket: string;
  readonly #program: ProgramName;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(program: ProgramName, args: readonly string[], socket: string) {
    this.#program = program;
    this.#args = args;
    this.#socket = socket;
    this.uri = `nbd+unix:///?socket=${socket}`;
  }

  /** nbdkit, which keeps what is not flushed in a cache of its own. */
  static nbdkit(file: string, socket: string, more: readonly string[] = []): NbdServerProcess {
    const filter = toolFile('disks', 'nbdkit-cache-filter.so');
    const plugin = toolFile('disks', 'nbdkit-file-plugin.so');
    const args = ['-f', '-U', socket, `--filter=${filter}`, ...more, plugin, file, 'cache=writeback'];
    return new NbdServerProcess('nbdkit', args, socket);
  }

  /** qemu-nbd, which keeps tables that are not flushed in its memory. */
  static qemuNbd(file: string, format: 'raw' | 'qcow2', socket: string): NbdServerProcess {
    return new NbdServerProcess('qemu-nbd', ['-k', socket, '-f', format, '-t', '--discard=unmap', file], socket);
  }

  /** Answers when this is done. */
  async start(): Promise<void> {
    const child = spawn(programPath(this.#program), this.#args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
    this.#process = child;
    while (!(await this.#listens())) {
      if (child.exitCode !== null) throw new Error(`${this.#program} has ended: ${said}`);
      await sleep(20);
    }
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(this.#socket, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #listens(): Promise<boolean> {
    if (!existsSync(this.#socket)) return false;
    const socket = connect({ path: this.#socket });
    try {
      await once(socket, 'connect');
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }
}
