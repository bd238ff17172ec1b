/** The command line, with machines of no guest behind it. */
import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';
import type { MachineOptions } from '../host/index.ts';
import { fakeImage, fakePlatform, kage, optionsOf, ownRuntimeFolder, TestTerminal, until } from './terminal.testing.ts';

ownRuntimeFolder();

describe('kage run: from flags to the machine', () => {
  const own = ['--kernel', 'K'];
  const cases: readonly [args: string[], options: MachineOptions][] = [
    [[], { kernel: fakeImage.kernel, initrd: fakeImage.initrd, append: fakeImage.commandLine, drives: [] }],
    [['-c', '4', '-m', '2G', ...own], { kernel: 'K', cpus: 4, memoryBytes: 2 ** 31 }],
    [['-smp', '4', '-m', '256', ...own], { kernel: 'K', cpus: 4, memoryBytes: 256 << 20 }],
    [['-smp', 'cpus=2,sockets=2', ...own], { kernel: 'K', cpus: 2 }],
    [['--processors', '4', '--cap', '.5', ...own], { kernel: 'K', processors: 4, cap: 0.5 }],
    [['--weight', '2048', '--pin', '0,2-3', ...own], { kernel: 'K', weight: 2048, pin: [0, 2, 3] }],
    [['--cpu-shares=512', '--cpuset-cpus', '1', ...own], { kernel: 'K', weight: 512, pin: [1] }],
    [['-kernel', 'K', '-initrd', 'I', '-append', '-x=1 quiet'], { kernel: 'K', initrd: 'I', append: '-x=1 quiet' }],
    [['-M', 'virt,aia=aplic-imsic,aia-guests=3', '-kernel', 'K'], { kernel: 'K', aia: 'aplic-imsic', aiaGuests: 3 }],
    [['--aia', 'aplic', '-kernel', 'K'], { kernel: 'K', aia: 'aplic' }],
    [['-bios', 'B', '-machine', 'virt', '-nographic', '-serial', 'mon:stdio'], { bios: 'B' }],
    [['-bios', 'default', ...own], { kernel: 'K' }],
    [['-s', '-S', ...own], { kernel: 'K', gdbPort: 1234, startPaused: true }],
    [['-gdb', 'tcp::4321', ...own], { kernel: 'K', gdbPort: 4321 }],
    [['-cpu', 'rv64,zba=off', ...own], { kernel: 'K', cpu: 'rv64,zba=off' }],
    [
      ['-drive', 'file=a,,b.img,format=raw,if=virtio,readonly=on', '-device', 'virtio-blk-device,drive=d', ...own],
      { kernel: 'K', drives: [{ file: 'a,b.img', format: 'raw', readOnly: true }] },
    ],
    [
      ['--drive', 'a.img', '--drive', 'file=b.img,overlay=c', ...own],
      { kernel: 'K', drives: [{ file: 'a.img' }, { file: 'b.img', overlay: 'c' }] },
    ],
    [
      ['-drive', 'file=a,format=qcow2,backing=off,discard=ignore,reconnect-delay=30,werror=report', ...own],
      {
        kernel: 'K',
        drives: [{ file: 'a', format: 'qcow2', backing: false, discard: 'ignore', reconnectDelaySeconds: 30 }],
      },
    ],
    [['-hda', 'a.img', '-snapshot', ...own], { kernel: 'K', drives: [{ file: 'a.img', overlay: true }] }],
    [
      ['-netdev', 'user,id=n,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp::53-:53', ...own],
      { kernel: 'K', publish: ['127.0.0.1:8080:80/tcp', '53:53/udp'] },
    ],
    [
      ['-v', '/a:/b', '--volume', '/c d:/e/f:ro', '-v', '/x:/y:rw', ...own],
      {
        kernel: 'K',
        shares: [
          { host: '/a', guest: '/b' },
          { host: '/c d', guest: '/e/f', readOnly: true },
          { host: '/x', guest: '/y' },
        ],
      },
    ],
    [['-v', './a:/b', ...own], { kernel: 'K', shares: [{ host: resolve('a'), guest: '/b' }] }],
    [['-v', '.:/b', ...own], { kernel: 'K', shares: [{ host: process.cwd(), guest: '/b' }] }],
    [['--vsock', '/a,,b.vsock', ...own], { kernel: 'K', vsock: { socket: '/a,b.vsock' } }],
    [['--vsock', 'socket=/a,cid=77', ...own], { kernel: 'K', vsock: { socket: '/a', cid: 77 } }],
    [['-p', '8080:80', '-p', '2222:22', ...own], { kernel: 'K', publish: ['8080:80', '2222:22'] }],
    [['--network', 'none', ...own], { kernel: 'K', network: false }],
    [['-nic', 'none', ...own], { kernel: 'K', network: false }],
    [['--clock', 'instructions', '--seed', '7', ...own], { kernel: 'K', clock: 'instructions', seed: 7 }],
    [['--overlay', 'off', ...own], { kernel: 'K', overlay: false }],
    [['--overlay', 'on', '--cpu', 'rv64,b=emulate', ...own], { kernel: 'K', overlay: true, cpu: 'rv64,b=emulate' }],
    [
      ['--trap', 'wfi', '--trap', 'satp', '--trap-log', 'F', ...own],
      { kernel: 'K', traps: ['wfi', 'satp'], trapLog: 'F' },
    ],
    [['--protection', 'on', '--protection-log', 'F', ...own], { kernel: 'K', protection: true, protectionLog: 'F' }],
    [['--protection', 'off', ...own], { kernel: 'K', protection: false }],
    [['--pci', 'on', ...own], { kernel: 'K', pci: true }],
    [['-device', 'pcie-root-port,id=rp0', '-device', 'virtio-rng-pci,bus=rp0', ...own], { kernel: 'K', pci: true }],
    [['--nested', ...own], { kernel: 'K', nested: true }],
    [['--nested', 'off', '--combined-shadows', 'off', ...own], { kernel: 'K', nested: false, combinedShadows: false }],
    [['--relay', 'off', ...own], { kernel: 'K', relay: false }],
    [['--interrupt-rate', '5000', ...own], { kernel: 'K', interruptRate: 5000 }],
    [['--no-agent', '--code-memory', '32M', ...own], { kernel: 'K', agent: false, codeMemoryBytes: 32 << 20 }],
    [
      ['--append', 'debug'],
      { kernel: fakeImage.kernel, initrd: fakeImage.initrd, append: 'console=ttyS0 quiet debug', drives: [] },
    ],
    [
      ['--drive', 'd', 'other'],
      {
        kernel: fakeImage.kernel,
        initrd: fakeImage.initrd,
        append: fakeImage.commandLine,
        drives: [{ file: '/images/other/disk', overlay: true }, { file: 'd' }],
      },
    ],
  ];
  for (const [args, options] of cases) {
    test(`kage run ${args.join(' ')}`, async () => assert.deepEqual(await optionsOf(...args), options));
  }
});

describe('kage run: what is wrong is one line with a way out, and exit code 125', () => {
  const cases: readonly [args: string[], says: RegExp][] = [
    [['run', '--frob'], /^kage: unknown option '--frob'\. See "kage --help"\.\n$/],
    [['run', '--memry', '1G'], /Did you mean --memory\? See/],
    [['frob'], /^kage: unknown command 'frob'/],
    [['run', '-smp'], /needs a value/],
    [['run', '-m', 'lots'], /is not a size\. Write it as 512M or 2G\./],
    [['run', '-m', '0'], /is not a size/],
    [['run', '-c', '17'], /not a number from 1 to 16/],
    [['run', '-smp', 'x'], /not a number from 1 to 16/],
    [['run', '--processors', '33'], /not a number from 1 to 32/],
    [['run', '--cap', '0'], /not a number of processors/],
    [['run', '--weight', '1'], /not a number from 2/],
    [['run', '--pin', '3-1'], /names no processors/],
    [['run', 'debian', 'uname'], /too many arguments/],
    [['run', 'nothing'], /there is no image nothing/],
    [['run', '--exec', 'a', '--', 'b'], /two commands/],
    [['run', '-d', '--', 'b'], /runs no command/],
    [['run', '--aia', 'plic'], /--aia plic is not possible\. Choose none, aplic or aplic-imsic/],
    [['run', '-M', 'virt,aia=gic'], /--aia gic is not possible/],
    [['run', '-machine', 'q35'], /-machine q35 is not supported\. The machine is always "virt"\./],
    [['run', '-device', 'e1000'], /-device e1000 is not supported/],
    [['run', '-drive', 'file=a,format=vmdk'], /vmdk are not supported\. Convert it/],
    [['run', '-drive', 'file=a,discard=maybe'], /Choose unmap or ignore/],
    [['run', '-drive', 'file=a,werror=stop'], /werror=report/],
    [['run', '-drive', 'readonly=on'], /names no file/],
    [['run', '-drive', 'file=a,readonly=maybe'], /neither on nor off/],
    [['run', '-drive', 'file=a,zap=1'], /does not know zap/],
    [['run', '-netdev', 'tap'], /-netdev tap is not supported/],
    [['run', '-netdev', 'user,hostfwd=x'], /does not know hostfwd=x/],
    [['run', '-netdev', 'none', '-p', '1:1'], /without a network/],
    [['run', '-v', '/a'], /-v \/a does not name a folder here and one in the guest\. Write it as -v \$PWD:/],
    [['run', '-v', '/a:/b:rx'], /ends in rx, which is neither ro nor rw/],
    [['run', '-virtfs', 'local,path=/a,mount_tag=b'], /is not supported\. Share a folder as -v HOST:GUEST/],
    [['run', '-v', 'data:/b'], /names no folder here: there are no named volumes\. Write a folder as \.\/data\.\n$/],
    [['run', '-v', '/a:b'], /b is no absolute path in the guest\. Write it as \/b\.\n$/],
    [['run', '-v', '~/a:/b'], /the shell did not replace ~/],
    [['run', '--vsock', 'cid=3'], /--vsock cid=3 names no socket\. Write it as/],
    [['run', '--vsock', 'socket=/a,cid=2'], /--vsock cid 2 is not a number from 3/],
    [['run', '--vsock', 'socket=/a,port=1'], /--vsock does not know port/],
    [['run', '--clock', 'sand'], /no clock sand/],
    [['run', '--overlay', 'maybe'], /--overlay=maybe is neither on nor off\. Write --overlay=on or --overlay=off\.\n$/],
    [['run', '--overlay'], /argument missing|needs a value/],
    [['run', '--trap'], /argument missing|needs a value/],
    [['run', '--trap-log', 'F'], /nothing to log\. Say with --trap which instructions\.\n$/],
    [['run', '--protection', 'no'], /--protection=no is neither on nor off/],
    [['run', '--protection', 'off', '--protection-log', 'F'], /nothing to log without protection\. Leave out/],
    [['run', '-e', '1=2', '--', 'env'], /names no variable/],
    [['run', '--kernel', '/no/kernel'], /There is no kernel/],
    [['run', '-n', '../x'], /cannot be the name/],
    [['exec', 'nobody', '--', 'ls'], /No machine named nobody is running/],
    [['exec', 'nobody'], /no command to run/],
    [['stop', 'nobody'], /There is no partition nobody/],
    [['stop'], /missing required argument/],
    [['explain'], /missing required argument 'pc'/],
    [['explain', '0x80200000'], /No machine is running\. Start one/],
    [['explain', '0x80200000', 'nobody'], /No machine named nobody/],
    [['explain', 'main', 'nobody'], /main is not an address\. Write it in hexadecimal/],
    [['explain', '0x12345678123456789', 'nobody'], /is not an address/],
    [['explain', 'pc', 'nobody', '--hart', 'x'], /--hart x is not a number/],
    [['explain', 'pc', 'nobody', '--level', '3'], /--level 3 is not/],
    [['protect'], /missing required argument 'name'/],
    [['protect', 'nobody'], /No machine named nobody/],
    [['protect', 'nobody', '--deny', 'w'], /not said whose rights are meant\. Write it as "kage protect NAME --domain/],
    [['protect', 'nobody', '--deny', 'w', '--domain', 'kernel'], /not said where/],
    [['protect', 'nobody', '--domain', 'kernel', '--range', '0'], /not said what to do there/],
    [['protect', 'nobody', '--domain', 'kernel', '--range', 'main', '--deny', 'w'], /main is no range of memory/],
    [['protect', 'nobody', '--domain', 'kernel', '--range', '2000-1000', '--deny', 'w'], /is no range of memory/],
    [['protect', 'nobody', '--domain', 'kernel', '--range', '2000+10', '--deny', 'w'], /is no range of memory/],
    [['protect', 'nobody', '--domain', 'kernel', '--range', '0', '--deny', 'w', '--allow', 'r'], /two changes/],
    [['protect', 'nobody', '--log', '--most', '0'], /--most 0 is not a number/],
    [['ps', '--format', 'xml'], /Allowed choices are table, json/],
    [['images', 'pull', 'plan9'], /no image plan9 to pull/],
    [['images', 'rm', 'plan9'], /no image plan9/],
  ];
  for (const [args, says] of cases) {
    test(`kage ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await kage(args);
      assert.equal(code, 125);
      assert.equal(stdout, '');
      assert.match(stderr, says);
      assert.match(stderr, /^kage: [^\n]+[.?]\n$/, 'one line');
    });
  }
});

describe('kage run with a command', () => {
  test('passes streams and the exit code through, and the environment', async () => {
    const echo = await kage(['run', '-q', '--', 'echo', '--help', '-c']);
    assert.deepEqual(echo, { code: 0, stdout: '--help -c\n', stderr: '' });
    assert.deepEqual(await kage(['run', '-q', '--', 'warn', 'x']), { code: 1, stdout: '', stderr: 'x\n' });
    assert.equal((await kage(['run', '-q', '--', 'exit', '42'])).code, 42);
    const cat = await kage(['run', '-q', '--', 'cat'], new TestTerminal({ input: 'some input' }));
    assert.equal(cat.stdout, 'some input');
    const env = await kage(['run', '-q', '-e', 'A=1=2', '-e', 'GREETING', '-e', 'UNSET', '-w', '/tmp', '--', 'env']);
    assert.deepEqual(JSON.parse(env.stdout), [{ A: '1=2', GREETING: 'hello' }, '/tmp']);
  });

  test('--exec is one command of a shell', async () => {
    assert.equal((await kage(['run', '-q', '--exec', 'uname -a'])).stdout, 'sh ran -c uname -a\n');
  });

  test('a machine with a disk that stays is shut down, others just end', async () => {
    const { platform, machines } = fakePlatform();
    await kage(['run', '-q', '--drive', 'd', '--', 'exit', '0'], undefined, platform);
    await kage(['run', '-q', '--drive', 'file=d,readonly=on', '--', 'exit', '0'], undefined, platform);
    assert.deepEqual(
      machines.map((machine) => machine.calls[0]),
      ['stop default', 'kill'],
    );
  });

  test('a guest that may have written to a shared folder syncs first', async () => {
    const { platform, machines } = fakePlatform();
    for (const volume of ['/tmp:/work', '/tmp:/work:ro'])
      await kage(['run', '-q', '-v', volume, '--', 'exit', '0'], undefined, platform);
    assert.deepEqual(
      machines.map(({ ran, calls }) => [ran.map((argv) => argv[0]), calls[0]]),
      [
        [['exit', 'sync'], 'kill'],
        [['exit'], 'kill'],
      ],
    );
  });

  test('a machine that ends before its command is an error', async () => {
    const { platform, machines } = fakePlatform();
    const running = kage(['run', '-q', '--', 'hang'], undefined, platform);
    await until(() => machines.length === 1);
    machines[0]?.end({ reason: 'poweroff', code: 0 });
    const { code, stderr } = await running;
    assert.deepEqual([code, stderr.split('.')[0]], [125, 'kage: the machine ended before the command did']);
  });

  test('--wait bounds the wait for an agent that does not answer', async () => {
    const { code, stderr } = await kage(['run', '-q', '--kernel', '/without/agent', '--wait', '1', '--', 'exit', '0']);
    assert.equal(code, 125);
    assert.match(stderr, /^kage: the guest's agent did not answer within 1 s\. [^\n]+\n$/);
  });

  test('a signal ends it with the signal’s code', async () => {
    const { platform, machines } = fakePlatform();
    const terminal = new TestTerminal();
    const running = kage(['run', '-q', '--', 'hang'], terminal, platform);
    await until(() => terminal.printed === 'hanging\n');
    terminal.ending.abort(143);
    assert.equal((await running).code, 143);
    assert.ok(machines[0]?.calls.includes('kill'));
  });

  test('progress is lines without a terminal, and a bar that goes away on one', async () => {
    const plain = await kage(['run', '--', 'exit', '0']);
    assert.equal(plain.stderr, 'fetching the kernel\n');
    const drawn = new TestTerminal({ isTerminal: true });
    await kage(['run', '--', 'exit', '0'], drawn);
    assert.match(drawn.complained, /\[######-{18}\] {2}25 % fetching the kernel\r\x1b\[K$/);
  });
});

describe("kage run's console", () => {
  async function start(terminal: TestTerminal, ...args: string[]) {
    const { platform, machines } = fakePlatform();
    const running = kage(['run', '-q', ...args], terminal, platform);
    await until(() => machines.length === 1 && terminal.stdin.listenerCount('data') > 0);
    return { running, machine: machines[0] };
  }

  test('keys reach the guest raw, its words the terminal; its exit code is ours', async () => {
    const terminal = new TestTerminal({ isTerminal: true });
    const { running, machine } = await start(terminal);
    terminal.stdin.write('ls\x03\x01a\x01\x01\x01z');
    await until(() => machine?.typed.length === 1);
    assert.equal(Buffer.concat(machine?.typed ?? []).toString(), 'ls\x03\x01\x01\x01z');
    machine?.end({ reason: 'failure', code: 9 });
    assert.equal((await running).code, 9);
    assert.deepEqual(terminal.modes, [true, false]);
    assert.equal(terminal.printed, 'ls\x03\x01\x01\x01z');
  });

  test('Ctrl-a x ends the machine, Ctrl-a h helps', async () => {
    const terminal = new TestTerminal({ isTerminal: true });
    const { running, machine } = await start(terminal);
    terminal.stdin.write('\x01h');
    await until(() => terminal.complained.includes('Ctrl-a x  end the machine'));
    terminal.stdin.write('\x01d');
    await until(() => terminal.complained.includes('kage run -d'));
    terminal.stdin.write('\x01');
    terminal.stdin.write('x');
    assert.equal((await running).code, 0);
    assert.deepEqual(machine?.typed, []);
    assert.equal(machine?.calls[0], 'kill');
    assert.deepEqual(terminal.modes, [true, false]);
  });

  test('without a terminal, input is a stream, Ctrl-a an ordinary byte', async () => {
    const { platform, machines } = fakePlatform();
    const { code, stdout } = await kage(['run', '-q'], new TestTerminal({ input: '\x01xpoweroff\n' }), platform);
    assert.deepEqual([code, stdout], [0, '\x01xpoweroff\n']);
    assert.equal(machines[0]?.info.state, 'ended');
  });

  test('a machine that failed is the platform’s error', async () => {
    const { running, machine } = await start(new TestTerminal());
    machine?.end({ reason: 'error', code: 125, message: 'a worker died' });
    const { code, stderr } = await running;
    assert.equal(code, 125);
    assert.match(stderr, /^kage: a worker died\. [^\n]+\n$/);
  });
});

describe('machines in the background', () => {
  test('run -d, ps, exec, stats, logs, pause, resume, attach, stop', async () => {
    const started = await kage(['run', '-q', '-d', '-n', 'web', '-p', '8080:80', '-m', '1G']);
    assert.deepEqual(started, { code: 0, stdout: 'web\n', stderr: '' });
    const again = await kage(['run', '-q', '-d', '-n', 'web']);
    assert.match(again.stderr, /^kage: A machine named web is running\. Choose another name/);
    assert.equal(again.code, 125);

    const listed = JSON.parse((await kage(['ps', '--format', 'json'])).stdout) as { name: string; pid: number }[];
    assert.deepEqual(
      listed.map(({ name }) => name),
      ['web'],
    );
    assert.notEqual(listed[0]?.pid, process.pid);
    assert.match((await kage(['ps'])).stdout, /^NAME +STATE.*\nweb +running +1 +1G .* 8080:80 /);
    assert.equal((await kage(['ps', '-q'])).stdout, 'web\n');

    assert.equal((await kage(['exec', 'web', '--', 'echo', 'a', '-q'])).stdout, 'a -q\n');
    assert.equal((await kage(['exec', 'web', 'echo', 'a', '-q', '--', '-e'])).stdout, 'a -q -- -e\n');
    assert.equal((await kage(['exec', 'web', 'exit', '3'])).code, 3);
    const cat = await kage(['exec', 'web', 'cat'], new TestTerminal({ input: 'in' }));
    assert.equal(cat.stdout, 'in');
    assert.match((await kage(['stats', 'web'])).stdout, /web +vcpus\.0\.exits\.mmio +7\n/);
    const stats = JSON.parse((await kage(['stats', '--format', 'json'])).stdout) as Record<string, unknown>;
    assert.deepEqual(stats['web'], { vcpus: [{ id: 0, instructions: 42, translated: 30, exits: { mmio: 7 } }] });

    await kage(['pause', 'web']);
    assert.match((await kage(['ps'])).stdout, /web +paused/);
    await kage(['resume', 'web']);

    const terminal = new TestTerminal({ isTerminal: true });
    const attached = kage(['attach', 'web'], terminal);
    await until(() => terminal.modes.length === 1);
    terminal.stdin.write('hi there');
    await until(() => terminal.printed === 'hi there');
    terminal.stdin.write('\x01d');
    assert.equal((await attached).code, 0);
    assert.deepEqual(terminal.modes, [true, false]);
    assert.equal((await kage(['logs', 'web'])).stdout, 'hi there');

    assert.deepEqual(await kage(['stop', '-t', '1', 'web']), { code: 0, stdout: 'web\n', stderr: '' });
    assert.equal((await kage(['ps', '-q'])).stdout, '');
  });

  test('explain: an address, where the hart was, the hottest regions; for people and for programs', async () => {
    await kage(['run', '-q', '-d', '-n', 'one']);
    const { code, stdout, stderr } = await kage(['explain', '0x80200000']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.equal(
      stdout,
      `0x80200000, hart 0 in supervisor mode, guest-physical 0x80200000
Translated: region 3, 2 instructions, entered 12 times.
Jumps to it that were counted: 1200; code is translated from 1000 on, into a larger region from 16000 on.

page 0x80200000: 40 instructions decoded, regions with instructions of it: 3 8
  0x80200000  region 3  2 instructions  entered 12 times  module 1

block 0x80200000, reached 1200 times
  80200000  0505      c.addi a0, 1
  80200002  fe051fe3  bne a0, zero, 0x80200000
  -> 0x80200000 if taken
  -> out to 0x80200006 (never executed) if not

WebAssembly of the region, 120 bytes
func $region3 (param $vcpu i32)
  return $budget
`,
    );
    assert.equal((await kage(['explain', '80200000', 'one'])).stdout, stdout);
    const plain = await kage(['explain', 'pc', 'one', '--no-wasm']);
    assert.equal(plain.stdout, stdout.slice(0, stdout.indexOf('\nWebAssembly')));
    const json = JSON.parse((await kage(['explain', 'pc', '--format', 'json'])).stdout) as Record<string, unknown>;
    assert.deepEqual([json['status'], json['pc'], json['hart']], ['translated', '0x80200000', 0]);
    const second = await kage(['explain', 'pc', '--level', '2', '--no-wasm']);
    assert.match(second.stdout, /^0x80200000, hart 0 in supervisor mode \(level 2\), /);
    const nothing = await kage(['explain', '0x10', 'one']);
    assert.equal(nothing.stdout, '0x10, hart 0 in supervisor mode\nNothing can be executed there.\n');

    const hot = await kage(['explain', 'hot', 'one']);
    assert.match(
      hot.stdout,
      /^ADDRESS +HART +LEVEL +PHYSICAL +REGION +INSTRUCTIONS +ENTERED +MODULE\n0x80200000 +0 +1 .* 12 +1\n- +- +- +- +4 /,
    );
    const first = JSON.parse((await kage(['explain', 'hot', '--most', '1', '--format', 'json'])).stdout) as unknown[];
    assert.equal(first.length, 1);

    const other = await kage(['explain', 'pc', '--hart', '3']);
    assert.deepEqual(other, { code: 125, stdout: '', stderr: 'kage: The machine has no hart 3. Give the number 0.\n' });
    await kage(['run', '-q', '-d', '-n', 'two']);
    assert.match((await kage(['explain', 'pc'])).stderr, /^kage: Several machines are running: one, two\. Name one/);
    await kage(['stop', 'one', 'two']);
  });

  test('what keeps a detached machine from starting is told as in the foreground', async () => {
    const { code, stderr } = await kage(['run', '-d', '--kernel', '/no/kernel']);
    assert.equal(code, 125);
    assert.equal(stderr, 'kage: There is no kernel /no/kernel. Give the path of one.\n');
  });
});

describe('help and images', () => {
  test('help teaches by examples', async () => {
    const { code, stdout, stderr } = await kage([]);
    assert.deepEqual([code, stderr], [0, '']);
    for (const verb of [
      'run',
      'exec',
      'ps',
      'stop',
      'kill',
      'stats',
      'explain',
      'protect',
      'images',
      'logs',
      'attach',
      'pause',
      'resume',
      'snapshot',
      'restore',
      'demo',
    ]) {
      assert.match(stdout, new RegExp(`^ {2}${verb}\\b`, 'm'));
    }
    assert.match(stdout, /kage exec web -- sh -c/);
    assert.match((await kage(['run', '--help'])).stdout, /-kernel Image -initrd rd\.cpio/);
    assert.match((await kage(['explain', '--help'])).stdout, /kage explain hot web/);
    assert.match((await kage(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test('images', async () => {
    assert.match((await kage(['images'])).stdout, /^NAME.*\ndebian +trixie 13\.7 +6\.12 +-\n$/);
    assert.deepEqual(JSON.parse((await kage(['images', 'ls', '--format', 'json'])).stdout), [fakeImage]);
    const pulled = await kage(['images', 'pull']);
    assert.deepEqual([pulled.stdout, pulled.stderr], ['debian\n', 'fetching the kernel\n']);
    assert.equal((await kage(['images', 'pull', 'nested'])).stdout, 'nested\n');
    assert.match((await kage(['images', 'pull', 'fedora'])).stderr, /no image fedora to pull\. Pull debian or nested/);
    const { platform, machines } = fakePlatform();
    const args = ['images', 'build', 'py', '--package', 'python3,gcc', '--package', 'git', '--size', '2G'];
    const building = kage([...args, '--format', 'json'], undefined, platform);
    await until(() => machines.length === 1);
    machines[0]?.end({ reason: 'poweroff', code: 0 });
    assert.match((await building).stdout, /second stage ended with 0/);
    assert.deepEqual(machines[0]?.options.drives, [{ file: 'python3+gcc+git 2147483648' }]);
    assert.equal((await kage(['images', 'rm', 'debian'])).stdout, 'debian\n');
  });
});

describe('kage demo', () => {
  async function demo(...args: string[]): Promise<string> {
    const { platform, closed } = fakePlatform();
    const terminal = new TestTerminal();
    const running = kage(['demo', '-q', ...args], terminal, platform);
    await until(() => terminal.printed !== '');
    assert.deepEqual(closed, []);
    terminal.ending.abort(130);
    assert.equal((await running).code, 130);
    assert.deepEqual(closed, ['debian']);
    return terminal.printed;
  }

  test('prints the address, and serves until it is told to end', async () => {
    assert.equal(await demo(), 'debian undefined true\n');
    assert.equal(await demo('--port', '0', '--no-isolation'), 'debian 0 false\n');
  });

  test('says what it cannot do', async () => {
    for (const [args, says] of [
      [['other'], /^kage: the image other boots from a disk/],
      [['nosuchimage'], /^kage: there is no image nosuchimage/],
      [['--port', '65536'], /^kage: --port 65536/],
    ] as const) {
      const { code, stdout, stderr } = await kage(['demo', '-q', ...args]);
      assert.deepEqual([code, stdout], [125, '']);
      assert.match(stderr, says);
    }
  });
});

/** Waits for a condition that other events bring about; the runner's own limit ends a wait in vain. */
