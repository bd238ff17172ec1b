/**
 * Debian's gdb on a machine of ours with two harts: registers, CSRs, memory, breakpoints, steps, an interrupt, the end.
 */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, test } from 'node:test';
import { assemble } from '../../src/isa/index.ts';
import { requires } from '../capability.ts';
import { programPath } from '../toolbox.ts';
import { freePort } from './free-port.testing.ts';
import { Wire } from './gdb-wire.testing.ts';
import { Guest } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-gdb-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Each hart counts in a0 and stores its count at 0x80001000 + 8 * hart; `tick` is at 0x80000100. */
const start = 0x8000_0000n;
const tick = 0x8000_0100n;
const main = `
    csrr s0, mhartid
    slli s0, s0, 3
    li s1, 0x80001000
    add s1, s1, s0
    li s2, 0x80000100
    li a0, 0
again:
    addi a0, a0, 1
    jalr ra, 0(s2)
    j again`;
const ticking = `
    sd a0, 0(s1)
    ret`;

const counting = new Uint8Array(0x200);
counting.set(assemble(main, start).bytes);
counting.set(assemble(ticking, tick).bytes, Number(tick - start));

function programFile(bytes: Uint8Array): string {
  const path = join(folder, 'program.bin');
  writeFileSync(path, bytes);
  return path;
}

/** What gdb says, and its end: it ends the test, however it comes. */
class Gdb implements AsyncDisposable {
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  readonly #ended: Promise<string>;
  #output = '';
  #heard: () => void = () => {};

  constructor(port: number, script: readonly string[]) {
    const commands = ['set pagination off', 'set confirm off', 'set architecture riscv:rv64'];
    const args = [...commands, `target remote 127.0.0.1:${port}`, ...script].flatMap((command) => ['-ex', command]);
    // The limit ends what hangs; what works needs a fraction of it even on a busy machine.
    const process = spawn(programPath('gdb-multiarch'), ['-nx', '-batch', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
      killSignal: 'SIGKILL',
    });
    this.#process = process;
    for (const stream of [process.stdout, process.stderr]) {
      stream.on('data', (bytes: Buffer) => {
        this.#output += bytes.toString();
        this.#heard();
      });
    }
    this.#ended = once(process, 'close').then(([code, signal]) => {
      this.#heard();
      return signal ?? String(code);
    });
    this.#ended.catch(() => {});
  }

  /** Waits until gdb has said `pattern`; rejects when it ends before. */
  async says(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.#output)) {
      await this.stillThere();
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  /** Rejects when it has ended. */
  async stillThere(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) return;
    assert.fail(`gdb ended (${await this.#ended}) early:\n${this.#output}`);
  }

  /** As Ctrl-C does. */
  interrupt(): void {
    this.#process.kill('SIGINT');
  }

  /** All that it said; rejects unless it ended well. */
  async finished(): Promise<string> {
    assert.equal(await this.#ended, '0', this.#output);
    return this.#output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended.catch(() => {});
  }
}

async function startStill(program = counting, cpus = 2): Promise<{ guest: Guest; port: number }> {
  const port = await freePort();
  const options = { bios: programFile(program), cpus, memoryBytes: 16 << 20, network: false };
  return { guest: await Guest.start({ ...options, gdbPort: port, startPaused: true }), port };
}

test('gdb on a machine that started still', requires('gdb'), async () => {
  const { guest, port } = await startStill();
  await using _ = guest;
  await using gdb = new Gdb(port, [
    'info threads',
    `break *${tick}`,
    'continue',
    'p/x $pc',
    'p $a0 > 0',
    // From here on one hart alone: the other one would change what is looked at.
    'set $a0 = 4096',
    'stepi',
    'p/x $pc',
    'p *(long *)$s1',
    'set *(long *)$s1 = 77',
    'p *(long *)$s1',
    'set $s5 = 0x1122334455667788',
    'p/x $s5',
    'set $mscratch = 0x1234',
    'p/x $mscratch',
    'set $ft0 = 2.5',
    'p $ft0',
    'p $misa != 0',
    'x/wx 0x7',
    'delete',
    'echo now running\\n',
    'continue',
    'thread 2',
    'p $mhartid',
    'detach',
  ]);
  await gdb.says(/now running/);
  await runs(guest, gdb);
  gdb.interrupt();
  const output = await gdb.finished();
  for (const line of [
    /Thread 1.*hart 0/,
    /Thread 2.*hart 1/,
    /\$1 = 0x80000100\n/,
    /\$2 = 1\n/,
    /\$3 = 0x80000104\n|\$3 = 0x80000102\n/,
    /\$4 = 4096\n/,
    /\$5 = 77\n/,
    /\$6 = 0x1122334455667788\n/,
    /\$7 = 0x1234\n/,
    /\$8 = .*2\.5/,
    /\$9 = 1\n/,
    /Cannot access memory at address 0x7\n/,
    /SIGINT/,
    /\$10 = 1\n/,
  ]) {
    assert.match(output, line);
  }
  await runs(guest); // detached: it goes on
});

test('gdb hears how the machine ended', requires('gdb'), async () => {
  const off = `
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
    j .`;
  const { guest, port } = await startStill(new Uint8Array(assemble(off, start).bytes), 1);
  await using _ = guest;
  await using gdb = new Gdb(port, ['stepi', 'p/x $pc', 'continue']);
  const output = await gdb.finished();
  assert.match(output, /\$1 = 0x1004\n/);
  assert.match(output, /\[Inferior 1 \(Remote target\) exited normally\]/);
  assert.equal((await guest.machine.exited).reason, 'poweroff');
});

test('one stop reply for each resume, of a hart that was let go, and the others stood still', async () => {
  const { guest, port } = await startStill();
  await using _ = guest;
  await using wire = new Wire(port);
  assert.equal(await wire.ask(`Z0,${tick.toString(16)},2`), 'OK');
  for (let round = 0; round < 300; round++) {
    const [hart, other] = round % 2 === 0 ? [0, 1] : [1, 0];
    // Both harts run into the breakpoint, at about the same time; who comes second meets it in the next round.
    assert.match(await wire.ask('vCont;c'), /^T05thread:[12];swbreak:;$/);
    const before = await wire.registers(other);
    const own = await wire.registers(hart);
    assert.equal(await wire.ask(`vCont;s:${hart + 1}`), `T05thread:${hart + 1};`);
    assert.notEqual(await wire.registers(hart), own);
    wire.say(`vCont;c:${hart + 1}`);
    wire.interrupt();
    assert.match(await wire.hears(), new RegExp(`^T(02thread:${hart + 1};|05thread:${hart + 1};swbreak:;)$`));
    assert.equal(await wire.ask(`vCont;c:${hart + 1}`), `T05thread:${hart + 1};swbreak:;`);
    assert.equal(await wire.registers(other), before);
  }
  assert.equal(await wire.ask(`z0,${tick.toString(16)},2`), 'OK');
  for (let round = 0; round < 100; round++) {
    wire.say('vCont;c');
    wire.interrupt();
    assert.match(await wire.hears(), /^T02thread:[12];$/);
    const before = [await wire.registers(0), await wire.registers(1)];
    assert.deepEqual([await wire.registers(0), await wire.registers(1)], before);
  }
});

/** Waits until the machine runs; rejects when it or gdb ends before. */
async function runs(guest: Guest, gdb?: Gdb): Promise<void> {
  while (guest.machine.info.state !== 'running') {
    assert.notEqual(guest.machine.info.state, 'ended');
    await gdb?.stillThere();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
