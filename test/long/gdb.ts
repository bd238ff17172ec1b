/** Debian's gdb on a machine of ours with two harts: registers, CSRs, memory, breakpoints, steps, an interrupt. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { assemble } from '../../src/isa/index.ts';
import { requires } from '../capability.ts';
import { Guest } from '../system/guest.testing.ts';
import { programPath } from '../toolbox.ts';

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

function programFile(): string {
  const bytes = new Uint8Array(0x200);
  bytes.set(assemble(main, start).bytes);
  bytes.set(assemble(ticking, tick).bytes, Number(tick - start));
  const path = join(folder, 'program.bin');
  writeFileSync(path, bytes);
  return path;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

test('gdb on a machine that started still', requires('gdb'), async () => {
  const gdbPort = await freePort();
  await using guest = await Guest.start({
    bios: programFile(),
    cpus: 2,
    memoryBytes: 16 << 20,
    network: false,
    gdbPort,
    startPaused: true,
  });
  const script = [
    ...['set pagination off', 'set confirm off', 'set architecture riscv:rv64'],
    `target remote 127.0.0.1:${gdbPort}`,
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
  ];
  const args = ['-nx', '-batch', ...script.flatMap((command) => ['-ex', command])];
  const gdb = spawn(programPath('gdb-multiarch'), args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
  let output = '';
  for (const stream of [gdb.stdout, gdb.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      output += bytes.toString();
    });
  }
  await interruptWhenRunning(gdb, guest, () => output.includes('now running'));
  await once(gdb, 'close');
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
  await until(() => guest.machine.info.state === 'running'); // detached: it goes on
});

/** gdb passes its own SIGINT on to the machine, once the machine runs. */
async function interruptWhenRunning(gdb: ChildProcess, guest: Guest, isNear: () => boolean): Promise<void> {
  const hasEnded = (): boolean => gdb.exitCode !== null || gdb.signalCode !== null;
  await until(() => hasEnded() || (isNear() && guest.machine.info.state === 'running'));
  // gdb takes a moment from sending its command to waiting for the answer; a SIGINT in between makes it abort itself.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  if (!hasEnded()) gdb.kill('SIGINT');
}

/** Waits for a condition that other events bring about; the guest's own limit ends a wait in vain. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
