/**
 * Protection tables under Debian's stock kernel on two harts: nobody patches the kernel's text any more; a page of a
 * process is its own secret, or the kernel's; a device reaches memory no more. What is forbidden is a fault of the guest
 * that Linux answers as it answers such faults, it is logged, and everybody else goes on.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ProtectionChange, Violation } from '../../src/host/machine/index.ts';
import { requires } from '../capability.ts';
import { debianImage, Guest } from './guest.testing.ts';
import { executable } from './guest-program.testing.ts';

const PAGE = 4096;
const SECRET_AT = 0x2000_0000;

/**
 * Keeps a secret of eight letters in a page of its own, and does what its input says: `l`, load it and say whether it is
 * still the same; `w`, have the kernel write it out, and say where it does not.
 */
const keeper = executable(`
  start:
    li a0, ${SECRET_AT}
    li a1, ${PAGE}
    li a2, 3
    li a3, 0x32           # MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED
    li a4, -1
    li a5, 0
    li a7, 222
    ecall
    mv s0, a0
    li s1, 0x5445524345532d2d
    sd s1, 0(s0)
    addi sp, sp, -32
    la t0, caught
    sd t0, 0(sp)
    li t0, 0x40000000     # SA_NODEFER
    sd t0, 8(sp)
    sd zero, 16(sp)
    li a0, 11             # SIGSEGV
    mv a1, sp
    li a2, 0
    li a3, 8
    li a7, 134
    ecall
  next:
    li a0, 0
    mv a1, sp
    li a2, 1
    li a7, 63
    ecall
    blez a0, leave
    lbu t0, 0(sp)
    li t1, 119
    beq t0, t1, out
    ld t1, 0(s0)
    bne t1, s1, leave
    la a1, same
    li a2, 5
    j say
  out:
    li a0, 1
    mv a1, s0
    li a2, 8
    li a7, 64
    ecall
    la a1, line
    li a2, 1
    bgtz a0, say
    la a1, fault
    li a2, 6
  say:
    li a0, 1
    li a7, 64
    ecall
    j next
  caught:
    la a1, signal
    li a2, 7
    j say
  leave:
    li a0, 0
    li a7, 93
    ecall
  same: .asciz "same\\n"
  line: .asciz "\\n"
  fault: .asciz "fault\\n"
  signal: .asciz "signal\\n"`);

describe("protection tables under Debian's stock kernel", requires('apt'), () => {
  let guest: Guest;

  before(async () => {
    const image = await debianImage();
    guest = await Guest.start({
      ...{ kernel: image.kernel, initrd: image.initrd, append: image.commandLine },
      ...{ cpus: 2, network: false },
    });
    await guest.run('cat > /tmp/keeper && chmod +x /tmp/keeper', { stdin: keeper });
  });
  after(async () => await guest[Symbol.asyncDispose]());

  const change = (action: 'deny' | 'allow', domain: string, rights: string, where: Where): Promise<void> =>
    guest.machine.protect({ action, domains: [domain], rights, ...where });

  type Where = Pick<ProtectionChange, 'start' | 'end'>;

  /** What the domain tried lately. */
  const seen = async (domain: string): Promise<readonly Violation[]> =>
    (await guest.machine.violations(1000)).filter((one) => one.domain === domain);

  const inside = ({ physical }: Violation, { start, end }: Where): boolean =>
    Number(physical) >= start && Number(physical) < end;

  test('nothing is denied, and nothing was forbidden during the boot', async () => {
    const { rules, domains } = await guest.machine.protection();
    assert.deepEqual(rules, []);
    assert.deepEqual(
      domains.map(({ name }) => name),
      ['kernel', 'user', 'firmware', 'device:console0', 'device:rng0'],
    );
    for (const { violations } of domains) assert.ok(Object.values(violations).every((count) => count === 0));
  });

  test('the kernel’s text is never writable: a kprobe cannot be put into it, and could before', async () => {
    const { stdout } = await guest.run('cat /proc/iomem');
    const [, from = '', to = ''] = /([0-9a-f]+)-([0-9a-f]+) : Kernel code/.exec(stdout) ?? [];
    const text = { start: Number.parseInt(from, 16), end: Math.ceil(Number.parseInt(to, 16) / PAGE) * PAGE };
    assert.ok(text.end - text.start > 4 << 20, stdout);
    const probe = (name: string): Promise<{ stdout: string }> =>
      guest.run(`
        mount -t tracefs t /sys/kernel/tracing 2>/dev/null
        cd /sys/kernel/tracing
        echo 'p:kage/${name} __riscv_sys_umask+4' > kprobe_events
        echo 1 > events/kage/enable
        umask 022; umask 022
        awk '{ print $2 }' kprobe_profile
        echo 0 > events/kage/enable
        echo > kprobe_events`);
    const counted = async (name: string): Promise<number> => Number((await probe(name)).stdout.trim());
    assert.ok((await counted('before')) >= 2);
    await change('deny', 'kernel', 'w', text);
    assert.equal(await counted('denied'), 0);
    const stores = (await seen('kernel')).filter((one) => inside(one, text));
    assert.ok(stores.length > 0);
    for (const { by, access, missing, pc } of stores) {
      assert.deepEqual([by, access, missing], ['supervisor', 'store', 'w']);
      assert.match(pc ?? '', /^0xffffffff8/);
    }
    await change('allow', 'kernel', 'w', text);
    assert.ok((await counted('behind')) >= 2);
  });

  test('a secret of a process is not the kernel’s; and not the process’s, if it is the kernel’s', async () => {
    const { stdout: id } = await guest.run('mkfifo /tmp/in; /tmp/keeper <>/tmp/in >>/tmp/out 2>&1 & echo $!');
    const pid = Number(id);
    const tell = async (what: string): Promise<string> => {
      const { stdout } = await guest.run(`
        > /tmp/out
        printf ${what} > /tmp/in
        while kill -0 ${pid} 2>/dev/null && [ "$(tail -c 1 /tmp/out | od -A n -t x1)" != " 0a" ]; do sleep 0.1; done
        cat /tmp/out`);
      return stdout;
    };
    assert.equal(await tell('l'), 'same\n');
    assert.equal(await tell('w'), '--SECRET\n');
    const { stdout: entry } = await guest.run(
      `dd if=/proc/${pid}/pagemap bs=8 skip=${SECRET_AT / PAGE} count=1 2>/dev/null | od -A n -t x8`,
    );
    const frame = Number(BigInt(`0x${entry.trim()}`) & ((1n << 55n) - 1n));
    const page = { start: frame * PAGE, end: (frame + 1) * PAGE };
    await change('deny', 'kernel', 'rw', page);
    assert.equal(await tell('w'), 'fault\n');
    assert.equal(await tell('l'), 'same\n', 'the process goes on');
    const [load] = (await seen('kernel')).filter((one) => inside(one, page));
    assert.deepEqual([load?.by, load?.access, load?.missing], ['supervisor', 'load', 'r']);
    assert.equal(load?.address, `0x${SECRET_AT.toString(16)}`);
    await change('allow', 'kernel', 'rw', page);
    assert.equal(await tell('w'), '--SECRET\n');
    await change('deny', 'user', 'r', page);
    assert.equal(await tell('w'), '--SECRET\n', 'the kernel goes on');
    assert.equal(await tell('l'), 'signal\n');
    const [own] = (await seen('user')).filter((one) => inside(one, page));
    assert.deepEqual([own?.by, own?.access, own?.missing], ['user', 'load', 'r']);
    await change('allow', 'user', 'r', page);
  });

  test('a device may not write: it fails alone, and says so', async () => {
    const all = { start: 0x8000_0000, end: 0xa000_0000 };
    await change('deny', 'device:rng0', 'w', all);
    // Its driver waits for an answer that does not come.
    await guest.run('dd if=/dev/hwrng of=/dev/null bs=64 count=64 >/dev/null 2>&1 &');
    let dma: Violation | undefined;
    for (let tries = 0; dma === undefined && tries < 600; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      [dma] = await seen('device:rng0');
    }
    assert.deepEqual([dma?.by, dma?.access, dma?.missing, dma?.pc], ['device', 'store', 'w', undefined]);
    assert.equal((await guest.run('echo well')).stdout, 'well\n');
    const { domains } = await guest.machine.protection();
    assert.ok((domains.find(({ name }) => name === 'device:rng0')?.violations.store ?? 0) > 0);
  });

  test('what is no right, or no memory, is refused', async () => {
    const where = { start: 0x8000_0000, end: 0x8000_1000 };
    await assert.rejects(change('deny', 'kernel', 'q', where), { code: 'bad-rights' });
    await assert.rejects(change('deny', 'disk', 'r', where), { code: 'no-such-domain' });
    await assert.rejects(change('deny', 'kernel', 'r', { start: 0, end: 0x1000 }), { code: 'bad-range' });
  });
});
