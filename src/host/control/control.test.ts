import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { HostError, OperatorError } from '../../base/errors.ts';
import { type FakeMachine, fakeCreate } from './fake-machine.testing.ts';
import { connectMachine, launchMachine, listMachines, runtimeFolder } from './index.ts';
import { limits } from './shape.ts';

let folder = '';
let machines: FakeMachine[] = [];
let create = fakeCreate().create;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kagemusha-control-'));
  ({ create, machines } = fakeCreate());
});
afterEach(async () => {
  for (const machine of machines) await machine.kill();
  rmSync(folder, { recursive: true, force: true });
});

const launch = (name: string) => launchMachine(create, { name }, folder);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const operatorError = (code: string) => (error: unknown) => error instanceof OperatorError && error.code === code;

describe('a machine on its control socket', () => {
  test('answers what it is, and leaves nothing behind when it ends', async () => {
    await launch('web');
    assert.equal(statSync(join(folder, 'web.sock')).mode & 0o777, 0o600);
    {
      await using remote = await connectMachine('web', folder);
      assert.deepEqual(await remote.info(), machines[0]?.info);
      assert.deepEqual(await remote.stats(), {
        vcpus: [{ id: 0, instructions: 42, translated: 30, exits: { mmio: 7 } }],
      });
      await remote.ready();
      await remote.pause();
      assert.equal((await remote.info()).state, 'paused');
      await remote.resume();
      const waiting = remote.exited();
      assert.deepEqual(await remote.stop({ graceMs: 7 }), { reason: 'poweroff', code: 0 });
      assert.deepEqual(await waiting, { reason: 'poweroff', code: 0 });
    }
    assert.deepEqual(machines[0]?.calls, ['pause', 'resume', 'stop 7']);
    await untilGone(join(folder, 'web.sock'));
    assert.deepEqual(readdirSync(folder), []);
    await assert.rejects(connectMachine('web', folder), operatorError('no-such-machine'));
  });

  test("looks after its guest: the heart's interval, what happened, and waits for what happens", async () => {
    await launchMachine(create, { name: 'web', health: { command: 'true' } }, folder);
    await using remote = await connectMachine('web', folder);
    assert.equal((await remote.info()).health?.status, 'healthy');
    await remote.setHeartbeat(250);
    assert.deepEqual(await remote.agentEvents(), await machines[0]?.agentEvents());
    assert.deepEqual(
      (await remote.agentEvents(1, 5000)).map(({ number, kind }) => `${number} ${kind}`),
      ['2 health'],
    );
    const asked = ['heartbeat 250', 'agentEvents 0 0', 'agentEvents 0 0', 'agentEvents 1 5000'];
    assert.deepEqual(machines[0]?.calls, asked);
    await assert.rejects(remote.setHeartbeat(-1), (error) => error instanceof HostError);
    const { quiesced } = await remote.snapshot('/tmp/a.kage', { quiesce: true });
    assert.deepEqual(quiesced, { count: 2, left: 1 });
  });

  test('has a deadline: later ones are taken, and told', async () => {
    const lease = { incarnation: 3, generation: 7, deadlineMs: 1000.5 };
    await launchMachine(create, { name: 'web', lease }, folder);
    await using remote = await connectMachine('web', folder);
    assert.deepEqual((await remote.info()).lease, { ...lease, isExpired: false });
    const answer = await remote.lease({ incarnation: 3, deadlineMs: 2000.25 });
    assert.deepEqual(answer, { deadlineMs: 2000.25, isPaused: false });
    assert.equal((await remote.info()).lease?.deadlineMs, 2000.25);
    assert.deepEqual(machines[0]?.calls, ['lease 3 2000.25']);
    await assert.rejects(remote.lease({ incarnation: -1, deadlineMs: 1 }), (error) => error instanceof HostError);
    await assert.rejects(remote.promote({ lease, files: [] }), operatorError('not-a-standby'));
  });

  test('explains code, and lists the regions that are entered most', async () => {
    await launch('web');
    await using remote = await connectMachine('web', folder);
    assert.deepEqual(await remote.explain(), await machines[0]?.explain());
    assert.equal((await remote.explain({ pc: (1n << 64n) - 2n })).pc, '0xfffffffffffffffe');
    assert.deepEqual(await remote.hotRegions(), await machines[0]?.hotRegions());
    assert.equal((await remote.hotRegions(1)).length, 1);
    assert.deepEqual(await remote.promotedSites(), await machines[0]?.promotedSites());
    assert.equal((await remote.explain({ level: 2 })).level, 2);
    await assert.rejects(remote.explain({ hart: 1 }), operatorError('no-such-hart'));
  });

  test('shows protection, and changes it', async () => {
    await launch('web');
    await using remote = await connectMachine('web', folder);
    assert.deepEqual(await remote.protection(), await machines[0]?.protection());
    await remote.protect({ action: 'deny', domains: ['kernel'], start: 0x8020_0000, end: 0x8020_1000, rights: 'w' });
    assert.deepEqual((await remote.protection()).rules, [
      { domain: 'kernel', start: '0x80200000', end: '0x80201000', denied: 'w' },
    ]);
    assert.deepEqual(await remote.violations(), await machines[0]?.violations());
    const wrong = remote.protect({ action: 'allow', domains: ['disk'], start: 0, end: 4096, rights: 'w' });
    await assert.rejects(wrong, operatorError('no-such-domain'));
  });

  test('says how much of the processors a guest may use', async () => {
    await launch('web');
    await using remote = await connectMachine('web', folder);
    await remote.setCap(0.5);
    assert.deepEqual(machines[0]?.calls, ['cap 0.5']);
    await assert.rejects(remote.setCap(33), /within 0 and 32/);
  });

  test('shows the balloon, and says what the guest is to make do with', async () => {
    await launch('web');
    await using remote = await connectMachine('web', folder);
    await remote.setBalloon(64 << 20);
    assert.deepEqual(await remote.balloon(), await machines[0]?.balloon());
    assert.equal((await remote.balloon()).targetBytes, 64 << 20);
    await assert.rejects(remote.setBalloon(2 ** 40), operatorError('bad-memory'));
  });

  test('shows the slots, and puts cards in and out', async () => {
    await launch('web');
    await using remote = await connectMachine('web', folder);
    assert.deepEqual(await remote.pci(), await machines[0]?.pci());
    await remote.changeSlot('rp0', 'pull');
    assert.equal((await remote.pci()).ports[0]?.card, 'out');
    await remote.changeSlot('rp0', 'plug');
    assert.equal((await remote.pci()).ports[0]?.card, 'in');
    await assert.rejects(remote.changeSlot('rp1', 'plug'), operatorError('no-such-port'));
  });

  test('runs commands with their streams apart, side by side', async () => {
    await launch('web');
    await using remote = await connectMachine('web', folder);
    const [echo, warn, exit, env] = await Promise.all([
      remote.exec(['echo', 'one', 'two']),
      remote.exec(['warn', 'careful']),
      remote.exec(['exit', '42']),
      remote.exec(['env'], { environment: { A: '1' }, workingFolder: '/tmp' }),
    ]);
    assert.deepEqual([echo.code, text(echo.stdout), text(echo.stderr)], [0, 'one two\n', '']);
    assert.deepEqual([warn.code, text(warn.stdout), text(warn.stderr)], [1, '', 'careful\n']);
    assert.equal(exit.code, 42);
    assert.deepEqual(JSON.parse(text(env.stdout)), [{ A: '1' }, '/tmp']);
  });

  test('carries binary input and output that is larger than a message', async () => {
    await launch('web');
    await using remote = await connectMachine('web', folder);
    const bytes = Uint8Array.from({ length: 3 * limits.messageBytes + 5 }, (_, i) => (i * 31) ^ (i >> 8));
    const result = await remote.exec(['cat'], { stdin: bytes });
    assert.ok(Buffer.from(result.stdout).equals(bytes));
  });

  test("an operator's error arrives with its code and its fix", async () => {
    await launch('web');
    await using remote = await connectMachine('web', folder);
    await assert.rejects(
      remote.exec(['nonsense']),
      (error: unknown) => error instanceof OperatorError && error.fix === 'Use one that is',
    );
  });

  test('a command is cancelled by its signal, and when its client leaves', async () => {
    await launch('web');
    const remote = await connectMachine('web', folder);
    const abort = new AbortController();
    const running = remote.exec(['hang'], { signal: abort.signal, onStdout: () => abort.abort(new Error('enough')) });
    await assert.rejects(running, /enough/);
    const said = Promise.withResolvers<void>();
    remote.exec(['hang'], { onStdout: () => said.resolve() }).catch(() => {});
    await said.promise;
    await remote[Symbol.asyncDispose]();
    await until(() => machines[0]?.calls.length === 2);
    assert.deepEqual(machines[0]?.calls, ['hang was cancelled', 'hang was cancelled']);
  });

  test('a console that is attached shows what was said lately and what comes, and takes keys', async () => {
    await launch('web');
    machines[0]?.say('booting\n');
    await using remote = await connectMachine('web', folder);
    let seen = '';
    const abort = new AbortController();
    const attached = remote.attach((bytes) => {
      seen += text(bytes);
      if (seen.includes('ls')) abort.abort();
    }, abort.signal);
    await remote.writeConsole(Buffer.from('ls\n'));
    await attached;
    assert.equal(seen, 'booting\nls\n');
    assert.equal(text(await remote.consoleHistory()), 'booting\nls\n');
  });

  test('a name is used once at a time', async () => {
    await launch('web');
    await assert.rejects(launch('web'), operatorError('name-in-use'));
    assert.equal(machines.length, 1);
    for (const name of ['', '../web', '.hidden', 'a b', 'x'.repeat(64)]) {
      await assert.rejects(launch(name), operatorError('bad-name'));
    }
  });

  test('a machine that does not start leaves no socket', async () => {
    const failing = launchMachine(create, { name: 'web', kernel: '/no/kernel' }, folder);
    await assert.rejects(failing, operatorError('kernel-not-found'));
    assert.deepEqual(readdirSync(folder), []);
  });
});

describe('the list of machines', () => {
  test('asks every socket, and removes those whose process died', async () => {
    await launch('web');
    await launch('db');
    writeFileSync(join(folder, 'dead.sock'), '');
    assert.deepEqual(
      (await listMachines(folder)).map((info) => info.name),
      ['db', 'web'],
    );
    assert.equal(existsSync(join(folder, 'dead.sock')), false);
    await assert.rejects(connectMachine('dead', folder), operatorError('no-such-machine'));
  });

  test('a stale socket does not keep its name', async () => {
    writeFileSync(join(folder, 'web.sock'), '');
    await launch('web');
    await using remote = await connectMachine('web', folder);
    assert.equal((await remote.info()).name, 'web');
  });

  test('a process that speaks another version is named, and left out of the list', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write('{"jsonrpc":"2.0","method":"hello","params":{"protocol":99,"name":"old","pid":1}}\n');
    });
    server.listen(join(folder, 'old.sock'));
    await once(server, 'listening');
    await assert.rejects(connectMachine('old', folder), operatorError('protocol-mismatch'));
    assert.deepEqual(await listMachines(folder), []);
    server.close();
  });

  test('a process that answers nothing is left out of the list', async () => {
    await launch('web');
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write('{"jsonrpc":"2.0","method":"hello","params":{"protocol":1,"name":"mute","pid":1}}\n');
    });
    server.listen(join(folder, 'mute.sock'));
    await once(server, 'listening');
    const names = (await listMachines(folder, 100)).map((info) => info.name);
    assert.ok(!names.includes('mute'));
    server.close();
  });

  test('what a machine answers is checked', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write('{"jsonrpc":"2.0","method":"hello","params":{"protocol":1,"name":"odd","pid":1}}\n');
      socket.on('data', () => socket.write('{"jsonrpc":"2.0","id":1,"result":{"name":7}}\n'));
    });
    server.listen(join(folder, 'odd.sock'));
    await once(server, 'listening');
    await using remote = await connectMachine('odd', folder);
    await assert.rejects(remote.info(), (error: unknown) => error instanceof HostError && error.code === 'bad-answer');
    server.close();
  });
});

describe('a hostile client', () => {
  const refused: readonly [what: string, line: string, says: RegExp][] = [
    ['no JSON', 'hello\n', /no JSON object/],
    ['a list', '[]\n', /no JSON object/],
    ['another protocol', '{"id":1,"method":"info"}\n', /does not say/],
    ['an answer to nothing', '{"jsonrpc":"2.0","id":9,"result":{}}\n', /nobody made/],
    ['an odd id', '{"jsonrpc":"2.0","id":{},"method":"info"}\n', /neither request/],
    ['a message without end', 'x'.repeat(limits.messageBytes + 1), /longer than/],
    ['a bad notification', '{"jsonrpc":"2.0","method":"cancel","params":{"stream":-1}}\n', /not within/],
  ];
  for (const [what, line, says] of refused) {
    test(`${what}: told why, and cut off`, async () => {
      await launch('web');
      const { socket, lines } = await rawClient();
      socket.write(line);
      await once(socket, 'close');
      const last = JSON.parse(lines.at(-1) ?? '{}') as { error?: { message: string } };
      assert.match(last.error?.message ?? '', says);
      await using remote = await connectMachine('web', folder);
      assert.equal((await remote.info()).name, 'web');
    });
  }

  const answered: readonly [params: string, says: RegExp][] = [
    ['"method":"launch"', /no method launch/],
    ['"method":"constructor"', /no method constructor/],
    ['"method":"explain","params":{"hart":0,"pc":"main"}', /params\.pc is no address/],
    ['"method":"explain","params":{"hart":-1}', /params\.hart is not within/],
    ['"method":"explain","params":{"hart":0,"level":3}', /params\.level is not within/],
    ['"method":"protect","params":{"action":"take"}', /params\.action is none of deny, allow/],
    [
      '"method":"protect","params":{"action":"deny","domains":["user"],"start":-4096,"end":0,"rights":"w"}',
      /params\.start is not within/,
    ],
    ['"method":"violations","params":{"most":1e9}', /params\.most is not within/],
    ['"method":"exec","params":{"stream":1,"argv":"ls"}', /params\.argv is not a list/],
    ['"method":"exec","params":{"stream":1,"argv":[1]}', /params\.argv\[0\] is not a string/],
    ['"method":"exec","params":[]', /params is no object/],
    ['"method":"stop","params":{"graceMs":-1}', /graceMs is not within/],
    ['"method":"type","params":{"data":"*"}', /params\.data is not base64/],
    ['"method":"input","params":{"stream":5,"data":""}', /no stream 5/],
  ];
  for (const [request, says] of answered) {
    test(`${request}: gets an error, and may go on`, async () => {
      await launch('web');
      const { socket, lines } = await rawClient();
      socket.write(`{"jsonrpc":"2.0","id":"a",${request}}\n{"jsonrpc":"2.0","id":"b","method":"info"}\n`);
      await until(() => lines.length === 3);
      const answers = lines.slice(1).map((line) => JSON.parse(line) as { id: string; error?: { message: string } });
      assert.match(answers.find((one) => one.id === 'a')?.error?.message ?? '', says);
      assert.equal(answers.find((one) => one.id === 'b')?.error, undefined);
      socket.destroy();
    });
  }

  async function rawClient(): Promise<{ socket: Socket; lines: string[] }> {
    const socket = connect(join(folder, 'web.sock'));
    const lines: string[] = [];
    let rest = '';
    socket.on('data', (chunk) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts);
    });
    socket.on('error', () => {});
    await until(() => lines.length === 1);
    return { socket, lines };
  }
});

describe('the runtime folder', () => {
  test('lies under XDG_RUNTIME_DIR, for this user alone', async () => {
    const path = await runtimeFolder({ XDG_RUNTIME_DIR: folder });
    assert.equal(path, join(folder, 'kagemusha'));
    assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.equal(await runtimeFolder({ XDG_RUNTIME_DIR: folder }), path);
  });

  test('that others may enter, or that is a link, is refused', async () => {
    mkdirSync(join(folder, 'kagemusha'), { mode: 0o755 });
    await assert.rejects(runtimeFolder({ XDG_RUNTIME_DIR: folder }), operatorError('runtime-folder-unsafe'));
    rmSync(join(folder, 'kagemusha'), { recursive: true });
    mkdirSync(join(folder, 'elsewhere'), { mode: 0o700 });
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'kagemusha'));
    await assert.rejects(runtimeFolder({ XDG_RUNTIME_DIR: folder }), operatorError('runtime-folder-unsafe'));
  });
});

/** Waits for a condition that other events bring about; the runner's own limit ends a wait in vain. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function untilGone(path: string): Promise<void> {
  await until(() => !existsSync(path) && !existsSync(`${path}.lock`));
}
