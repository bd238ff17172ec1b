import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { generateEngine, Processor } from '../engine/index.ts';
import { assemble } from '../isa/index.ts';
import { Board } from './board.ts';
import { boardConfig, extensionsOf } from './board-config.ts';
import { boardRunner, SLICE_STEPS, tellOfFrames } from './board-runner.ts';
import { type ExitStatus, exitStatus } from './exit-status.ts';
import type { HostPorts } from './host-ports.ts';
import { IoSlots } from './io-slots.ts';
import { IoThread } from './io-thread.ts';
import { slotLayout } from './slots.ts';
import { TurnLoop } from './turn-loop.ts';
import { planVirtBoot } from './virt-boot.ts';
import { TICKS_PER_MS } from './virt-map.ts';

const host: HostPorts = {
  wallMs: () => Date.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  defer: () => assert.fail('the loop keeps what is put off to itself'),
  fillRandom: (into) => void randomFillSync(into),
};

interface Running {
  readonly board: Board;
  readonly io: IoThread;
  readonly loop: TurnLoop;
  /** What the console has said. */
  readonly said: () => string;
  readonly ended: Promise<ExitStatus>;
  /** Console bytes, as a host's event would bring them. */
  type(text: string): void;
}

/** The program in the place of firmware, in memory that is not shared, on this thread. */
function start(program: string): Running {
  const options = { bios: 'program', memoryBytes: 16 << 20, network: false };
  const config = boardConfig(options, false);
  const loop = new TurnLoop(host, () => new Promise((resolve) => setImmediate(resolve)));
  const epoch = performance.now();
  const ticks = (): number => (performance.now() - epoch) * TICKS_PER_MS;
  const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => Date.now() };
  const slots = new IoSlots({ board: () => board, backends: [], network: undefined, host: loop.host });
  const board: Board = Board.create(config, {
    clock,
    slotLayout,
    slot: (slot, wiring) => slots.make(slot, wiring, clock),
  });
  assert.ok(board.memory.buffer instanceof ArrayBuffer);
  const io = new IoThread(board, loop.host);
  const unused = (): never => assert.fail('nothing is compressed');
  board.load(
    planVirtBoot({
      memoryBytes: config.memoryBytes,
      harts: 1,
      extensions: extensionsOf(options),
      firmware: { role: 'firmware', name: 'program', bytes: assemble(program, 0x8000_0000n).bytes },
      decompress: { gunzip: unused },
      seed: new Uint8Array(64),
    }),
  );
  const code = generateEngine(board.memory.shape.description, extensionsOf(options));
  code.tables.write(board.memory.buffer);
  const processor = new Processor(new WebAssembly.Module(code.bytes), board.memory.memory, { width: 32, ticks });
  tellOfFrames(processor, () => board);
  const runner = boardRunner(
    board,
    processor,
    { ticks, stopped: () => assert.fail('no debugger') },
    { budget: SLICE_STEPS, clock: 'real' },
    code.signatures,
  );
  for (const vcpu of board.vcpus) processor.contextChanged(vcpu.at);
  let said = '';
  io.onConsole((bytes) => {
    said += Buffer.from(bytes).toString('latin1');
  });
  return {
    board,
    io,
    loop,
    said: () => said,
    ended: loop.run({ board, runner, io, ticks }).then(() => exitStatus(board.world)),
    type: (text) => {
      io.writeConsole(new TextEncoder().encode(text));
      loop.poke();
    },
  };
}

const powerOff = `
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
1:  j 1b`;

describe('a machine of one hart, in memory that is not shared, on a thread that does not block', () => {
  test('runs, speaks, and ends; atomics work', async () => {
    const machine = start(`
    li s2, 0x10000000
    li s1, 0x80100000
    li t0, 100000
again:
    amoadd.d t2, t0, (s1)
    lr.d t3, (s1)
    addi t3, t3, 1
    sc.d t4, t3, (s1)
    bnez t4, again
    addi t0, t0, -1
    bnez t0, again
    li t1, 72
    sb t1, 0(s2)
    ld t1, (s1)
    li t2, 5000150000       # 100000 + ... + 1, and one for each
    bne t1, t2, wrong
    li t1, 105
    sb t1, 0(s2)
wrong:${powerOff}`);
    assert.deepEqual(await machine.ended, { reason: 'poweroff', code: 0 });
    assert.equal(machine.said(), 'Hi');
  });

  test('sleeps until its timer, 50 ms from now, and sees that the time has come', async () => {
    const machine = start(`
    li t0, 0x02004000       # mtimecmp
    rdtime s0
    li t2, 500000
    add s0, s0, t2
    sd s0, 0(t0)
    li t0, 128
    csrw mie, t0
    wfi
    rdtime t1
    bltu t1, s0, wrong
    li t0, 0x10000000
    li t1, 33
    sb t1, 0(t0)
wrong:${powerOff}`);
    assert.deepEqual(await machine.ended, { reason: 'poweroff', code: 0 });
    assert.equal(machine.said(), '!');
    assert.ok((machine.board.vcpus[0]?.hart.exits[3] ?? 0) >= 1, 'it waited');
  });

  test('is woken from a sleep without end by what is typed, and echoes it', async () => {
    const machine = start(`
    li s2, 0x10000000
    li s3, 0x0c000000
    li t0, 7                # PLIC: the UART's priority, enabled for the hart's machine mode
    sw t0, 40(s3)
    li t1, 0x0c002000
    li t0, 1024
    sw t0, 0(t1)
    li t0, 1
    sb t0, 1(s2)            # UART: received data interrupts
    li t0, 2048             # mie.MEIE
    csrw mie, t0
    li t1, 62
    sb t1, 0(s2)
wait:
    wfi
    lbu t0, 5(s2)
    andi t0, t0, 1
    beqz t0, wait
    lbu t1, 0(s2)
    sb t1, 0(s2)
    li t2, 0x0c200004       # claim and complete
    lw t3, 0(t2)
    sw t3, 0(t2)
    li t2, 46
    bne t1, t2, wait${powerOff}`);
    while (machine.said() !== '>') await new Promise((resolve) => setImmediate(resolve));
    for (const key of ['a', 'b']) {
      machine.type(key);
      while (!machine.said().endsWith(key)) await new Promise((resolve) => setImmediate(resolve));
    }
    machine.type('.');
    assert.deepEqual(await machine.ended, { reason: 'poweroff', code: 0 });
    assert.equal(machine.said(), '>ab.');
  });

  test('a guest that never rests leaves the host its turns', async () => {
    const machine = start('here: j here');
    for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
    machine.board.finish({ kind: 'failure', code: 3 });
    assert.deepEqual(await machine.ended, { reason: 'failure', code: 3 });
  });

  test('a loop that is paused comes back when it is poked', async () => {
    const machine = start(`
    li s2, 0x10000000
    li t1, 62
    sb t1, 0(s2)
    li t0, 20000000
2:  addi t0, t0, -1
    bnez t0, 2b${powerOff}`);
    machine.board.world.setPaused(true);
    for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
    machine.board.world.setPaused(false);
    machine.loop.poke();
    assert.deepEqual(await machine.ended, { reason: 'poweroff', code: 0 });
    assert.equal(machine.said(), '>');
  });
});
