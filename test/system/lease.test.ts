/**
 * A Debian guest with a deadline, in a process of its own: it sends numbered frames through a stream socket and writes the same
 * numbers to a raw disk. Behind its deadline no frame comes and no number is written: because it was not renewed, and when its
 * process was stopped across the deadline and goes on. With a later deadline it goes on.
 */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectMachine, type RemoteMachine, startDetached } from '../../src/host/control/index.ts';
import { leaseClock } from '../../src/host/machine/lease-clock.ts';
import { FrameDecoder } from '../../src/network/index.ts';
import { requires } from '../capability.ts';
import { debianImage } from './guest.testing.ts';
import { executable } from './guest-program.testing.ts';

const program = { entry: new URL('../../src/cli/detached.ts', import.meta.url), flags: [], environment: {} };
/** Frames of experiments (IEEE 802): nobody else sends them. */
const ETHERTYPE = 0x88b5;
const COUNTER_AT = 16;
const LEASE_MS = 2000;
const INCARNATION = 3;

/** Sends a frame with the next number, and writes that to the disk, each two milliseconds. */
const counter = (ifindex: number): Uint8Array =>
  executable(`
    li a0, 17
    li a1, 3
    li a2, 0
    li a7, 198
    ecall
    mv s0, a0
    bltz a0, failed
    li a0, -100
    la a1, disk
    li a2, 0x4001
    li a3, 0
    li a7, 56
    ecall
    mv s1, a0
    bltz a0, failed
    li t0, -12288
    add sp, sp, t0
    li t0, -4096
    and s2, sp, t0
    li t1, 4096
    add s2, s2, t1
    mv s4, sp
    li t0, -1
    sd t0, 0(s4)
    sw t0, 8(s4)
    li t0, 0x52
    sb t0, 6(s4)
    li t0, ${ETHERTYPE >> 8}
    sb t0, 12(s4)
    li t0, ${ETHERTYPE & 255}
    sb t0, 13(s4)
    li t0, 17
    sh t0, 64(s4)
    sh zero, 66(s4)
    li t0, ${ifindex}
    sw t0, 68(s4)
    li t0, 0x06000000
    sw t0, 72(s4)
    sd zero, 76(s4)
    sd zero, 96(s4)
    li t0, 2000000
    sd t0, 104(s4)
    li s3, 1
next:
    sd s3, ${COUNTER_AT}(s4)
    sd s3, 0(s2)
    mv a0, s0
    mv a1, s4
    li a2, 60
    li a3, 0
    addi a4, s4, 64
    li a5, 20
    li a7, 206
    ecall
    bltz a0, failed
    mv a0, s1
    mv a1, s2
    li a2, 512
    li a3, 0
    li a7, 68
    ecall
    bltz a0, failed
    addi a0, s4, 96
    li a1, 0
    li a7, 101
    ecall
    addi s3, s3, 1
    j next
failed:
    sub a0, zero, a0
    li a7, 93
    ecall
disk:
    .asciz "/dev/vda"`);

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-leases-'));
const disk = join(folder, 'disk');
let server: Server | undefined;
/** All frames that came, whoever sent them; and the last number. */
let frames = 0;
let last = 0;

before(() => {
  process.env['XDG_RUNTIME_DIR'] = folder;
  writeFileSync(disk, new Uint8Array(1 << 20));
  server = createServer((socket) => {
    const decoder = new FrameDecoder((frame) => {
      frames++;
      const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
      if (view.getUint16(12) === ETHERTYPE) last = Number(view.getBigUint64(COUNTER_AT, true));
    });
    socket.on('data', (bytes: Buffer) => decoder.push(new Uint8Array(bytes)));
    socket.on('error', () => {});
  }).listen(join(folder, 'wire'));
});
after(() => {
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

function written(): number {
  const file = openSync(disk, 'r');
  try {
    const bytes = new DataView(new ArrayBuffer(8));
    readSync(file, bytes, 0, 8, 0);
    return Number(bytes.getBigUint64(0, true));
  } finally {
    closeSync(file);
  }
}

/** Renews the machine's lease until it is told not to; resolves with the deadline that is left then. */
function renewing(machine: RemoteMachine, leaseMs: number): () => Promise<number> {
  let isOver = false;
  const renewals = (async () => {
    for (;;) {
      const deadlineMs = leaseClock().nowMs() + leaseMs;
      const answer = await machine.lease({ incarnation: INCARNATION, deadlineMs });
      if (isOver) return answer.deadlineMs;
      await sleep(200);
    }
  })();
  renewals.catch(() => {}); // whoever ends it is told
  return async () => {
    isOver = true;
    return await renewals;
  };
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 3000 && !(await holds()); i++) await sleep(10);
  assert.ok(await holds(), what);
}

async function checkActive(): Promise<void> {
  const [frame, number] = [last, written()];
  await until(() => last > frame + 20 && written() > number + 20, 'it sends and writes');
}

async function checkStill(machine: RemoteMachine): Promise<void> {
  const { state, lease } = await machine.info();
  assert.deepEqual([state, lease?.isExpired], ['paused', true]);
  // What it had sent in time has come by then.
  await sleep(100);
  const seen = [frames, written()];
  await sleep(300);
  assert.deepEqual([frames, written()], seen);
}

test('a guest does nothing behind its deadline, though its process was stopped across it, and goes on with a later one', {
  ...requires('apt'),
  timeout: 300_000,
}, async () => {
  const { kernel, initrd, commandLine } = await debianImage();
  const { pid } = await startDetached(
    program,
    {
      kind: 'start',
      options: {
        ...{ name: 'leased', kernel, initrd, append: commandLine, memoryBytes: 192 << 20 },
        drives: [{ file: disk, format: 'raw' }],
        netdevs: [{ kind: 'stream', path: join(folder, 'wire') }],
        lease: { incarnation: INCARNATION, generation: 7, deadlineMs: leaseClock().nowMs() + LEASE_MS },
      },
    },
    AbortSignal.timeout(120_000),
  );
  await using machine = await connectMachine('leased');
  try {
    const inGuest = async (script: string, stdin: Uint8Array = new Uint8Array()): Promise<string> => {
      const { code, stdout } = await machine.exec(['sh', '-c', script], { stdin });
      assert.equal(code, 0, script);
      return Buffer.from(stdout).toString();
    };
    // The whole boot is longer than one lease.
    let stop = renewing(machine, LEASE_MS);
    await machine.ready();
    const ifindex = Number(await inGuest('ip link set eth0 up; cat /sys/class/net/eth0/ifindex'));
    await inGuest('cat > /tmp/counter && chmod +x /tmp/counter', counter(ifindex));
    await inGuest('/tmp/counter > /dev/null 2>&1 &');
    await checkActive();

    await stop();
    await until(async () => (await machine.info()).lease?.isExpired === true, 'the deadline passes');
    await checkStill(machine);
    await machine.resume();
    await checkStill(machine);
    stop = renewing(machine, LEASE_MS);
    await checkActive();

    for (let round = 0; round < 3; round++) {
      await stop();
      const deadlineMs = leaseClock().nowMs() + LEASE_MS;
      const left = await machine.lease({ incarnation: INCARNATION, deadlineMs });
      await checkActive();
      process.kill(pid, 'SIGSTOP');
      await sleep(left.deadlineMs - leaseClock().nowMs() + 100);
      const [before, number] = [frames, written()];
      process.kill(pid, 'SIGCONT');
      await checkStill(machine);
      assert.equal(frames, before, 'no frame has left late');
      // One that was under way when the process was stopped, at most: the guest has no more than one.
      assert.ok(written() <= number + 1, `${written()}, and ${number} at the deadline`);
      stop = renewing(machine, LEASE_MS);
      await checkActive();
    }
    await stop();
  } finally {
    process.kill(pid, 'SIGCONT');
    await machine.kill();
  }
});
