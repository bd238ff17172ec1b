/**
 * Code overlays under Debian's stock kernel, which rewrites its own text all the time: the harts are without the
 * extensions that a program uses, instructions of the kernel are trapped by policy, and a debugger has a breakpoint in
 * it, so its text and its modules' text are full of substitutes; kprobes, uprobes and ftrace put instructions of theirs
 * between them, and modules come and go. Everything is counted twice: by the kernel, and by the policies.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { assembleInstruction, createDecoder, DEFAULT_EXTENSIONS, disassemble } from '../../src/isa/index.ts';
import { requires } from '../capability.ts';
import { freePort } from './free-port.testing.ts';
import { Wire } from './gdb-wire.testing.ts';
import { debianImage, Guest } from './guest.testing.ts';
import { executable } from './guest-program.testing.ts';

const CPU = 'rv64,b=emulate,zbc=emulate,zicond=emulate';
/** Entered by every trap; atomics of every lock; what ftrace, kprobes and modules cannot do without. */
const TRAPS = ['sscratch', 'amoadd.w', 'amoswap.w', 'mul', 'sfence.vma', 'fence.i', 'ebreak'];
const MASK = (1n << 64n) - 1n;
const STEP = 0x9e3779b97f4a7c15n;
const TURNS = 1000;

/**
 * Each turn five instructions that the hart is without, and a system call whose answer counts: umask. Prints what came
 * of it and a checksum of the program's own text, in hexadecimal.
 */
const worker = executable(`
  start:
    li s0, ${TURNS}
    li s1, 0
    li s2, ${STEP}
    li a0, 0
    li a7, 166
    ecall
  turn:
    sh1add s1, s1, s2
    ror s1, s1, s0
    clmul t0, s1, s2
    xor s1, s1, t0
    binvi s1, s1, 7
    andi t1, s0, 1
    czero.eqz t1, s2, t1
    add s1, s1, t1
    andi a0, s0, 511
    ecall
    add s1, s1, a0
    addi s0, s0, -1
    bnez s0, turn
    mv a0, s1
    jal print
    la t0, start
    la t1, end
    li a0, 0
  sum:
    lw t2, 0(t0)
    add a0, a0, t2
    ror a0, a0, t2
    addi t0, t0, 4
    bltu t0, t1, sum
    jal print
    li a0, 0
    li a7, 93
    ecall
  print:
    addi sp, sp, -32
    li t0, 32
    sb t0, 16(sp)
    addi t1, sp, 16
  digit:
    andi t0, a0, 15
    addi t0, t0, 48
    li t2, 58
    blt t0, t2, put
    addi t0, t0, 39
  put:
    addi t1, t1, -1
    sb t0, 0(t1)
    srli a0, a0, 4
    bne t1, sp, digit
    li a0, 1
    mv a1, sp
    li a2, 17
    li a7, 64
    ecall
    addi sp, sp, 32
    ret
  end:
`);
/** Where the first emulated instruction of a turn is in the file, for uprobes. */
const site = Buffer.from(worker).indexOf(littleEndian(assembleInstruction('sh1add s1, s1, s2')));

function littleEndian(bits: number): Uint8Array {
  return new Uint8Array(new Uint32Array([bits]).buffer);
}

/** What the worker comes to, and its text's checksum. */
const expected = [hexadecimal(workerResult()), hexadecimal(textSum(worker))];

function hexadecimal(value: bigint): string {
  return `${value.toString(16).padStart(16, '0')} `;
}

function rotated(value: bigint, by: bigint): bigint {
  const count = by & 63n;
  return ((value >> count) | (value << (64n - count))) & MASK;
}

function workerResult(): bigint {
  let s1 = 0n;
  let umask = 0n;
  for (let s0 = BigInt(TURNS); s0 > 0n; s0--) {
    s1 = rotated(((s1 << 1n) + STEP) & MASK, s0);
    let product = 0n;
    for (let bit = 0n; bit < 64n; bit++) if ((STEP >> bit) & 1n) product ^= s1 << bit;
    s1 = (s1 ^ (product & MASK) ^ 128n) + ((s0 & 1n) === 0n ? 0n : STEP) + umask;
    s1 &= MASK;
    umask = s0 & 511n;
  }
  return s1;
}

/** Of what the file has behind its headers. */
function textSum(file: Uint8Array): bigint {
  const view = new DataView(file.buffer);
  let sum = 0n;
  for (let at = 120; at < file.length; at += 4) {
    const word = BigInt.asUintN(64, BigInt(view.getInt32(at, true)));
    sum = rotated((sum + word) & MASK, word);
  }
  return sum;
}

/** The worker's file with a uprobe's breakpoint in it. */
const probed = Uint8Array.from(worker);
probed.set(littleEndian(assembleInstruction('c.ebreak')).slice(0, 2), site);
/** A kprobe's breakpoint in the place of an instruction of four bytes, in hexadecimal. */
const EBREAK = Buffer.from(littleEndian(assembleInstruction('ebreak'))).toString('hex');

/** Offsets in a function of the kernel: what follows ftrace's place; its exchange of masks; its end. */
interface Umask {
  readonly at: bigint;
  readonly entry: number;
  readonly exchange: number;
  readonly leave: number;
}

/** Bytes of the kernel, in hexadecimal. A hart that is in a program does not see them: it is let go for a moment. */
async function kernelText(wire: Wire, at: bigint, bytes: number): Promise<string> {
  for (;;) {
    for (const hart of [1, 2]) {
      assert.equal(await wire.ask(`Hg${hart}`), 'OK');
      const answer = await wire.ask(`m${at.toString(16)},${bytes.toString(16)}`);
      if (!answer.startsWith('E')) return answer;
    }
    wire.say('vCont;c');
    wire.interrupt();
    assert.match(await wire.hears(), /^T02/);
  }
}

/** Finds the places of probes in the function, as the debugger sees it. */
async function findUmask(wire: Wire, at: bigint): Promise<Umask> {
  const text = Buffer.from(await kernelText(wire, at, 64), 'hex');
  const decoder = createDecoder(DEFAULT_EXTENSIONS);
  const found: [name: string, offset: number][] = [];
  for (let offset = 0; offset + 4 <= text.length; offset += (text.readUInt16LE(offset) & 3) === 3 ? 4 : 2) {
    const bits = text.readUInt32LE(offset);
    found.push([disassemble(decoder, (bits & 3) === 3 ? bits : bits & 0xffff), offset]);
  }
  const offsetOf = (pattern: RegExp): number =>
    must(
      found.find(([name]) => pattern.test(name)),
      String(pattern),
    )[1];
  return {
    at,
    entry: offsetOf(/^(?!addi zero, zero, 0)/),
    exchange: offsetOf(/^amoswap\.w/),
    leave: offsetOf(/^c\.jr ra/),
  };
}

interface OverlayStats {
  readonly frames: number;
  readonly made: number;
  readonly droppedByWrites: number;
  readonly executions: number;
  readonly substitutes: Record<'emulate' | 'breakpoint' | 'policy', number>;
  readonly traps: Record<string, number>;
}

describe("code overlays under Debian's stock kernel", requires('apt'), () => {
  let guest: Guest;
  let port: number;
  let umask: Umask;

  const overlays = async (): Promise<OverlayStats> =>
    ((await guest.machine.stats()) as unknown as { overlay: OverlayStats }).overlay;
  /** Runs a script that must succeed and say nothing wrong. */
  const run = async (script: string): Promise<string> => {
    const ran = await guest.run(`set -e; cd /sys/kernel/tracing\n${script}`);
    assert.deepEqual([ran.code, ran.stderr], [0, ''], script);
    return ran.stdout;
  };

  before(async () => {
    const image = await debianImage();
    port = await freePort();
    guest = await Guest.start({
      ...{ kernel: image.kernel, initrd: image.initrd, append: image.commandLine, network: false },
      ...{ cpus: 2, cpu: CPU, traps: TRAPS, gdbPort: port },
    });
    await guest.machine.ready();
    const sent = await guest.run('cat > /tmp/worker; chmod +x /tmp/worker', { stdin: worker });
    assert.equal(sent.code, 0);
    const symbol = await guest.run(`
      mount -t tracefs nodev /sys/kernel/tracing
      awk '$3 == "__riscv_sys_umask" { print $1 }' /proc/kallsyms`);
    await using wire = new Wire(port);
    umask = await findUmask(wire, BigInt(`0x${symbol.stdout.trim()}`));
  });

  after(async () => await guest?.machine.kill());

  test('user code with instructions that the harts are without', async () => {
    const before = await overlays();
    assert.ok(before.substitutes.policy > 100, 'the kernel has been running on substitutes');
    assert.equal(await run('grep -c -E "zb[abcs]|zicond" /proc/cpuinfo || true'), '0\n');
    for (let i = 0; i < 3; i++) assert.equal(await run('/tmp/worker'), expected.join(''));
    const now = await overlays();
    assert.ok(now.executions - before.executions > 3 * 4 * TURNS, `${now.executions} executed by substitutes`);
    assert.ok(must(now.traps['amoswap.w']) - must(before.traps['amoswap.w']) >= 3 * (TURNS + 1));
  });

  test('kernel modules come, work and go', async () => {
    const before = await overlays();
    const numbers = createHash('sha256').update(Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join(''));
    const round = `
      modprobe -a loop ext4
      dd if=/dev/zero of=/tmp/disk bs=1M count=8 2> /dev/null
      mke2fs -F /tmp/disk > /dev/null
      mount -t ext4 -o loop /tmp/disk /mnt
      seq 1 20000 > /mnt/numbers
      umount /mnt
      mount -t ext4 -o loop /tmp/disk /mnt
      sha256sum < /mnt/numbers
      umount /mnt
      grep -c -E "^(loop|ext4|jbd2) " /proc/modules
      modprobe -r ext4 loop
      grep -c -E "^(loop|ext4|jbd2) " /proc/modules || true`;
    const said = `${numbers.digest('hex')}  -\n3\n0\n`;
    for (let i = 0; i < 4; i++) assert.equal(await run(`${round}\n/tmp/worker`), `${said}${expected.join('')}`);
    // Pages of modules that went were written: for the next ones, or for data.
    const now = await overlays();
    assert.ok(now.made > before.made && now.droppedByWrites > before.droppedByWrites, JSON.stringify(now));
  });

  test('kprobes where an instruction is trapped, beside it, and on a return', async () => {
    const before = await overlays();
    for (let i = 0; i < 2; i++) {
      await run(`
        echo 'p:kage/entered __riscv_sys_umask+${umask.entry}' > kprobe_events
        echo 'p:kage/inside __riscv_sys_umask+${umask.exchange}' >> kprobe_events
        echo 'p:kage/left __riscv_sys_umask+${umask.leave}' >> kprobe_events
        echo 1 > events/kage/enable`);
      assert.equal(await run('/tmp/worker'), expected.join(''));
      const hits = `${TURNS + 1} 0`;
      assert.equal(
        await run(`awk '{ print $1, $2, $3 }' kprobe_profile`),
        `entered ${hits}\ninside ${hits}\nleft ${hits}\n`,
      );
      await run('echo 0 > events/kage/enable; echo > kprobe_events');
      assert.equal(await run('/tmp/worker'), expected.join(''));
    }
    const now = await overlays();
    // Two for each hit at least, the probe's and one behind the instruction's copy; a return is no copy.
    assert.ok(must(now.traps['ebreak']) - must(before.traps['ebreak']) >= 2 * 5 * (TURNS + 1), JSON.stringify(now));
    assert.ok(must(now.traps['amoswap.w']) - must(before.traps['amoswap.w']) >= 4 * (TURNS + 1), JSON.stringify(now));
  });

  test('uprobes on an instruction that is emulated', async () => {
    for (let i = 0; i < 2; i++) {
      const probe = `p:kage/turn /tmp/worker:0x${site.toString(16)} left=%s0:u64`;
      await run(`echo > trace; echo '${probe}' > uprobe_events; echo 1 > events/kage/enable`);
      const [result, sum] = (await run('/tmp/worker')).split(' ');
      assert.equal(`${result} `, expected[0]);
      // The program sees the kernel's breakpoint in its text, and no substitute of ours.
      assert.equal(`${sum} `, hexadecimal(textSum(probed)));
      assert.equal(await run(`awk '{ print $2, $3 }' uprobe_profile`), `turn ${TURNS}\n`);
      const turns = Array.from({ length: TURNS }, (_, turn) => `${TURNS - turn}\n`).join('');
      assert.equal(await run("sed -n 's/.* turn: .* left=//p' trace"), turns);
      await run('echo 0 > events/kage/enable; echo > uprobe_events');
      assert.equal(await run('/tmp/worker'), expected.join(''));
    }
  });

  test('ftrace: one function, its graph, and all functions while modules come and go', async () => {
    const before = await overlays();
    for (const [tracer, line] of [
      ['function', '__riscv_sys_umask <-'],
      ['function_graph', '__riscv_sys_umask();'],
    ] as const) {
      await run(`echo > trace; echo __riscv_sys_umask > set_ftrace_filter; echo ${tracer} > current_tracer`);
      assert.equal(await run('/tmp/worker'), expected.join(''));
      assert.equal(await run(`grep -c -F '${line}' trace`), `${TURNS + 1}\n`, tracer);
      await run('echo nop > current_tracer; echo > set_ftrace_filter');
    }
    for (let i = 0; i < 2; i++) {
      const said = await run(`
        echo function > current_tracer
        cat enabled_functions | wc -l
        modprobe -a loop ext4
        /tmp/worker
        modprobe -r ext4 loop
        echo 0 > tracing_on
        echo nop > current_tracer
        echo 1 > tracing_on
        cat enabled_functions | wc -l
        /tmp/worker`);
      const [on = '', ...others] = said.split('\n');
      assert.ok(Number(on) > 10_000, `${on} functions are traced`);
      assert.deepEqual(others.join('\n'), `${expected.join('')}0\n${expected.join('')}`);
    }
    const now = await overlays();
    assert.ok(now.droppedByWrites - before.droppedByWrites > 100, JSON.stringify(now));
  });

  test("a debugger's breakpoint where a kprobe is: both are met each time, and only the kprobe is seen", async () => {
    await run(`echo 'p:kage/inside __riscv_sys_umask+${umask.exchange}' > kprobe_events`);
    const place = umask.at + BigInt(umask.exchange);
    await using wire = new Wire(port);
    const original = await kernelText(wire, place, 4);
    // Its substitute stands there when the frame is next executed: the tests before may have left it without an overlay.
    assert.equal(await wire.ask(`Z0,${place.toString(16)},4`), 'OK');
    wire.say('vCont;c');
    // The kernel writes its own breakpoint there, and takes it away again behind half of the calls.
    const worked = run('echo 1 > events/kage/enable; /tmp/worker; echo 0 > events/kage/enable');
    for (let stops = 0; stops < 40; stops++) {
      // Where its overlay has just been dropped, by the other hart perhaps, it is met all the same.
      assert.match(await wire.hears(), /^T05thread:[12];swbreak:;$/);
      const seen = await kernelText(wire, place, 4);
      assert.equal(seen, EBREAK);
      if (stops === 39) assert.equal(await wire.ask(`z0,${place.toString(16)},4`), 'OK');
      wire.say('vCont;c');
    }
    assert.equal(await worked, expected.join(''));
    assert.equal(await run(`awk '{ print $1, $2, $3 }' kprobe_profile`), `inside ${TURNS + 1} 0\n`);
    await run('echo > kprobe_events');
    wire.interrupt();
    assert.match(await wire.hears(), /^T02thread:[12];$/);
    assert.equal(await kernelText(wire, place, 4), original);
    assert.equal((await overlays()).substitutes.breakpoint, 0);
  });

  test('the kernel has nothing to complain of, and powers off', async () => {
    assert.equal(await run('dmesg | grep -E "Oops|BUG|WARNING|Call Trace|Unable to handle" || true'), '');
    assert.equal(await run('/tmp/worker'), expected.join(''));
    assert.deepEqual(await guest.machine.stop(), { reason: 'poweroff', code: 0 });
  });
});
