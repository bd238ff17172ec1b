/**
 * The command `kage` as a user starts it, with real guests: commands in fresh machines, machines in the background
 * and the verbs on them, and what it says of bad input. Runtime and temporary folders are the test's own, so that it
 * sees whether anything was left behind.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CODE_DEFAULTS } from '../../src/machine/board-config.ts';
import { requires } from '../capability.ts';
import { kageCommand } from '../kage-command.ts';
import { debianImage } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kage-cli-'));
const [runtime, state, temporary] = ['run', 'state', 'tmp'].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
for (const path of [runtime, state, temporary]) mkdirSync(path, { mode: 0o700 });

const started: ChildProcess[] = [];
after(() => {
  for (const child of started) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `kage ARGS`, without a terminal; `input` is its stdin. */
async function kage(args: readonly string[], input = ''): Promise<Said> {
  const child = spawn(process.execPath, [kageCommand, ...args], {
    env: {
      ...process.env,
      XDG_RUNTIME_DIR: runtime,
      XDG_STATE_HOME: state,
      TMPDIR: temporary,
      NODE_TEST_CONTEXT: undefined,
    },
    timeout: 180_000,
  });
  started.push(child);
  child.stdin.on('error', () => {}); // it may end before it has read all
  child.stdin.end(input);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString('utf8');
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString('utf8');
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}

/** What is left in the runtime and temporary folders: sockets, locks, layers of disks. */
function leftBehind(): string[] {
  return [runtime, temporary].flatMap((path) =>
    readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((one) => !one.isDirectory())
      .map((one) => one.name),
  );
}

/** Processes that have our runtime folder in their environment: `kage`, and machines in the background. */
function processesLeft(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/environ`, 'utf8').includes(`XDG_RUNTIME_DIR=${runtime}\0`);
      } catch {
        return false; // ended meanwhile, or another user's
      }
    });
}

/** A process that was told to end needs a moment; one that stays is a failure. */
async function nothingIsLeft(): Promise<void> {
  for (let tries = 0; tries < 500 && processesLeft().length > 0; tries++) await sleep(20);
  assert.deepEqual([leftBehind(), processesLeft()], [[], []]);
}

describe('kage run', requires('apt'), () => {
  afterEach(nothingIsLeft);

  test('--exec: prints, and ends with the exit code of the command', async () => {
    const { manifest } = await debianImage();
    const said = await kage(['run', '-q', '--exec', 'uname -srm; cat; echo apart >&2; exit 3'], 'typed\n');
    assert.deepEqual(said, {
      code: 3,
      stdout: `Linux ${manifest.kernel.version} riscv64\ntyped\n`,
      stderr: 'apart\n',
    });
  });

  test('a disk: snapshot leaves its file alone, without it the file is written', async () => {
    const disk = join(folder, 'disk.img');
    writeFileSync(disk, Buffer.alloc(1 << 20));
    const write = 'printf written > /dev/vda && sync && head -c 7 /dev/vda';
    const kept = await kage(['run', '-q', '--drive', `file=${disk},snapshot=on`, '--exec', write]);
    assert.deepEqual(kept, { code: 0, stdout: 'written', stderr: '' });
    assert.deepEqual(readFileSync(disk), Buffer.alloc(1 << 20));
    const changed = await kage(['run', '-q', '--drive', `file=${disk}`, '--exec', write]);
    assert.deepEqual(changed, { code: 0, stdout: 'written', stderr: '' });
    assert.equal(readFileSync(disk).toString('latin1', 0, 8), 'written\0');
  });
});

describe('a machine in the background', requires('apt'), () => {
  // Of a test that fails nothing stays, either: those behind it would find it.
  afterEach(async () => {
    await kage(['rm', '-f', 'x']);
    await nothingIsLeft();
  });

  test('starts, is listed, runs commands, counts, speaks, stops, and leaves nothing', async () => {
    const start = await kage(['run', '-q', '-d', '--name', 'x', '-c', '2', '-m', '256M']);
    assert.deepEqual(start, { code: 0, stdout: 'x\n', stderr: '' });
    const again = await kage(['run', '-q', '-d', '--name', 'x']);
    assert.equal(again.code, 125);
    assert.match(again.stderr, /^kage: [^\n]*\bx\b[^\n]*\n$/);

    const list = await kage(['ps', '--format', 'json']);
    const [machine, ...others] = JSON.parse(list.stdout) as Record<string, unknown>[];
    assert.deepEqual(others, []);
    const { name, state, cpus, memoryBytes } = machine ?? {};
    assert.deepEqual([name, state, cpus, memoryBytes], ['x', 'running', 2, 256 << 20]);

    const code = await kage(['exec', 'x', '--', 'sh', '-c', 'nproc; echo apart >&2; exit 3']);
    assert.deepEqual(code, { code: 3, stdout: '2\n', stderr: 'apart\n' });
    const input = 'x'.repeat(100_000);
    assert.deepEqual(await kage(['exec', 'x', '--', 'cat'], input), { code: 0, stdout: input, stderr: '' });

    const stats = JSON.parse((await kage(['stats', 'x', '--format', 'json'])).stdout) as {
      x: { vcpus: { instructions: number }[] };
    };
    assert.deepEqual(
      stats.x.vcpus.map((vcpu) => vcpu.instructions > 1_000_000),
      [true, true],
    );
    assert.match((await kage(['logs', 'x'])).stdout, /root@kage:~# /);

    // The kernel's hottest code; of one or the other the pages may just have changed, so that its blocks are not known.
    const hot = JSON.parse((await kage(['explain', 'hot', 'x', '--format', 'json'])).stdout) as { at?: string }[];
    const shown = [];
    for (const { at } of hot) if (at?.startsWith('0xffffffff')) shown.push((await kage(['explain', at, 'x'])).stdout);
    const told = shown.find((text) => /\nTranslated: region .*\nblock 0x/s.test(text)) ?? '';
    if (CODE_DEFAULTS.translate) {
      assert.match(told, /^0xffffffff\w+, hart 0 in supervisor mode, guest-physical 0x\w+\n/);
      assert.match(told, /\nblock 0xffffffff\w+(?:, reached \d+ times)?\n {2}ffffffff/);
      assert.match(told, /\nWebAssembly of the region, \d+ bytes\nfunc \$region\d+ /);
    } else assert.deepEqual([hot, told], [[], '']);

    assert.deepEqual(await kage(['stop', 'x']), { code: 0, stdout: 'x\n', stderr: '' });
    assert.deepEqual(await kage(['ps', '-q']), { code: 0, stdout: '', stderr: '' });
    const gone = await kage(['exec', 'x', '--', 'true']);
    assert.equal(gone.code, 125);
    assert.match(gone.stderr, /^kage: [^\n]*\bx\b[^\n]*\n$/);
    // Its process ends by itself after it has answered.
    await nothingIsLeft();
  });
});

describe('kage run --machine', requires('apt'), () => {
  afterEach(nothingIsLeft);

  test('a command in a guest beside another one, whose machine goes on', async () => {
    const small = ['-q', '-m', '128M'];
    assert.deepEqual((await kage(['run', ...small, '-d', '-n', 'first', '--forks', '2'])).code, 0);
    const pid = async (name: string): Promise<number> => {
      const machines = JSON.parse((await kage(['ps', '--format', 'json'])).stdout) as { name: string; pid: number }[];
      return machines.find((one) => one.name === name)?.pid ?? 0;
    };
    const beside = await kage(
      ['run', ...small, '--machine', 'first', '--exec', 'cat; echo apart >&2; exit 4'],
      'typed\n',
    );
    assert.deepEqual(beside, { code: 4, stdout: 'typed\n', stderr: 'apart\n' });
    assert.deepEqual((await kage(['run', ...small, '-d', '--machine', 'first', '-n', 'second'])).stdout, 'second\n');
    assert.equal(await pid('second'), await pid('first'));
    assert.equal((await kage(['exec', 'second', '--', 'hostname'])).code, 0);
    assert.equal((await kage(['kill', 'first'])).code, 0);
    assert.equal((await kage(['exec', 'second', '--', 'true'])).code, 0);
    assert.equal((await kage(['kill', 'second'])).code, 0);
  });
});

describe('bad input: one line, exit code 125, nothing left behind', requires('apt'), () => {
  afterEach(nothingIsLeft);

  const file = (name: string, bytes: Uint8Array): string => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const kernel = async (): Promise<Buffer> => readFileSync((await debianImage()).kernel);
  const cases: readonly [what: string, args: () => Promise<string[]> | string[], says: RegExp][] = [
    ['a missing kernel', () => ['--kernel', '/nowhere/Image'], /\/nowhere\/Image does not exist/],
    [
      'a truncated kernel',
      async () => ['--kernel', file('short', (await kernel()).subarray(0, 1 << 20))],
      /short.* (truncated|ends|incomplete|cut)/,
    ],
    ['a kernel of this host', () => ['--kernel', process.execPath], /is a program for (?!RISC-V)/],
    ['a kernel that is none', () => ['--kernel', file('text', Buffer.from('a letter, no kernel'))], /text/],
    ['a missing initrd', async () => ['--kernel', (await debianImage()).kernel, '--initrd', '/nowhere'], /\/nowhere/],
    ['missing firmware', () => ['--bios', '/nowhere'], /\/nowhere/],
    ['a disk that is not there', () => ['--drive', 'file=/nowhere/disk.img'], /\/nowhere\/disk\.img/],
    ['a disk that is a folder', () => ['--drive', `file=${folder}`], /folder|directory/],
    // Nobody may write to a program that runs, not even root.
    ['a disk that is not writable', () => ['--drive', `file=${process.execPath}`], /may not be written/],
    ['too little memory', () => ['-m', '1M'], /needs \d+ MiB .*-m \d+M/],
    ['too many harts', () => ['-c', '17'], /17|16/],
    ['an extension that is not', () => ['--cpu', 'rv64,zqx=off'], /zqx/],
    [
      'an extension that cannot be emulated',
      () => ['--cpu', 'rv64,c=emulate'],
      /'c' cannot be emulated\. Those that can be: /,
    ],
    [
      'an extension that is neither',
      () => ['--cpu', 'rv64,zba=maybe'],
      /'zba=maybe' is neither on nor off nor emulate/,
    ],
    ['overlays that are neither on nor off', () => ['--overlay', 'maybe'], /--overlay=maybe is neither on nor off/],
    ['a trap of nothing', () => ['--trap', 'frob'], /no instruction and no CSR frob\. Name an instruction such as wfi/],
    ['a trap of what never comes', () => ['--cpu', 'rv64,zba=off', '--trap', 'sh1add'], /never executes sh1add/],
    ['a trap log without traps', () => ['--trap-log', join(folder, 'log')], /nothing to log/],
    [
      'a trap log that cannot be written',
      () => ['--trap', 'wfi', '--trap-log', '/nowhere/log'],
      /\/nowhere\/log cannot be written\. Name another with --trap-log/,
    ],
    ['an unknown flag', () => ['--frobnicate'], /--frobnicate/],
    ['an image that is not there', () => ['nosuchimage'], /nosuchimage/],
    ['a bad port', () => ['-p', '80:http'], /80:http/],
  ];
  for (const [what, args, says] of cases) {
    for (const detached of [[], ['-d']]) {
      test(`${what}${detached.length > 0 ? ', detached' : ''}`, async () => {
        const said = await kage(['run', '-q', ...detached, ...(await args())]);
        assert.match(said.stderr, says);
        assert.match(said.stderr, /^kage: [^\n]+\n$/);
        assert.deepEqual([said.code, said.stdout], [125, '']);
      });
    }
  }

  test('a port in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const said = await kage(['run', '-q', '-p', `127.0.0.1:${port}:80`]);
      assert.match(said.stderr, new RegExp(`^kage: [^\\n]*${port}[^\\n]*\\n$`));
      assert.deepEqual([said.code, said.stdout], [125, '']);
    } finally {
      server.close();
    }
  });

  test('an unknown verb, and none', async () => {
    const said = await kage(['rum']);
    assert.match(said.stderr, /^kage: [^\n]*rum[^\n]*\n$/);
    assert.equal(said.code, 125);
    assert.deepEqual((await kage([])).code, 0);
  });
});
