/** The agent's script and the host's session against each other, under each shell that a guest may have. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { requires } from '../../../test/capability.ts';
import { defaultSuite, fetchTool, hostArchitecture } from '../debian/index.ts';
import type { Beat } from './frames.ts';
import { AgentSession } from './session.ts';
import { realClock, type ShellAgent, startShellAgent } from './shell-agent.testing.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Each shell with the command that runs a script under it and, if it is not the host's own, where its applets are. */
const shells = [
  { name: 'the system shell', needs: requires(), find: async () => ({ command: ['/bin/sh'] }) },
  { name: 'busybox', needs: requires('apt'), find: unpackedBusybox },
];

/** Debian's busybox-static for this machine: the same build as in our initramfs, with a link for each applet. */
async function unpackedBusybox(): Promise<{ command: string[]; path: string }> {
  const architecture = await hostArchitecture();
  const { root } = await fetchTool('busybox', { suite: defaultSuite, architecture, packages: ['busybox-static'] });
  const busybox = join(root, 'usr/bin/busybox');
  const path = mkdtempSync(join(tmpdir(), 'kagemusha-busybox-'));
  execFileSync(busybox, ['--install', '-s', path]);
  process.on('exit', () => rmSync(path, { recursive: true, force: true }));
  return { command: [busybox, 'ash'], path };
}

for (const { name, needs, find } of shells) {
  describe(`guest agent under ${name}`, { timeout: 120_000, ...needs }, () => {
    let agent: ShellAgent;
    before(async () => {
      const { command, path } = { path: undefined, ...(await find()) };
      agent = startShellAgent(command, path);
      await agent.session.ready();
    });
    after(() => agent.stop());
    const sh = (script: string, ...words: string[]) =>
      agent.session.run({ argv: ['sh', '-c', script, 'sh', ...words] });

    test('it answers hello with version and boot id, and ping', async () => {
      const info = await agent.session.ready();
      assert.equal(info.version, 1);
      assert.match(info.bootId, /^[0-9a-f-]{36}$/);
      await agent.session.ping();
    });

    test('standard output and standard error come apart, with the exit code', async () => {
      const result = await sh('echo to out; echo to err >&2; exit 7');
      assert.deepEqual([text(result.stdout), text(result.stderr), result.exitCode], ['to out\n', 'to err\n', 7]);
    });

    test('every exit code arrives', async () => {
      const codes = Array.from({ length: 256 }, (_, code) => code);
      for (let at = 0; at < codes.length; at += 32) {
        const batch = codes.slice(at, at + 32);
        const results = await Promise.all(batch.map((code) => sh(`exit ${code}`)));
        assert.deepEqual(
          results.map((result) => result.exitCode),
          batch,
        );
      }
    });

    test('a command that is not there ends with 127, a folder that is not there with 126', async () => {
      assert.equal((await agent.session.run({ argv: ['no-such-command-at-all'] })).exitCode, 127);
      assert.equal((await agent.session.run({ argv: ['true'], cwd: '/no/such/folder' })).exitCode, 126);
    });

    test('any word but one with NUL arrives as it is: blanks, quotes, newlines, globs, all bytes', async () => {
      const every = Uint8Array.from({ length: 255 }, (_, index) => index + 1);
      const words = [
        '',
        ' ',
        "'",
        '"',
        "'\\''",
        '\\',
        '$HOME `id` $(id)',
        '*',
        '~',
        '\n',
        'a\nb\n\n',
        '-n',
        '--',
        '!',
        '日本語',
        '\t',
        '#x',
        'a=b',
        '%s',
      ];
      const argv = ['sh', '-c', 'for word; do printf "%s\\001" "$word"; done', 'sh', ...words, every];
      const { stdout } = await agent.session.run({ argv });
      assert.deepEqual(
        Buffer.from(stdout),
        Buffer.concat([Buffer.from(words.map((word) => `${word}\x01`).join('')), every, Buffer.from('\x01')]),
      );
    });

    test('environment and working directory', async () => {
      const env = { PLAIN: 'x', QUOTED: `it's "$HOME"\n\n`, EMPTY: '', 'not.a-name': 'y' };
      const { stdout } = await agent.session.run({
        argv: ['sh', '-c', 'printf "%s|%s|%s|" "$PLAIN" "$QUOTED" "$EMPTY"; pwd; env | grep ^not || :'],
        env,
        cwd: '/usr',
      });
      assert.match(text(stdout), /^x\|it's "\$HOME"\n\n\|\|\/usr\n/);
      const { stdout: home } = await sh('echo "$HOME $LC_ALL"');
      assert.equal(text(home), '/root \n');
    });

    test('a program whose name has an equals sign is a program, not a variable', async () => {
      assert.equal((await agent.session.run({ argv: ['./a=b'] })).exitCode, 127);
    });

    test('input of any bytes goes in, with its end', async () => {
      for (const length of [0, 1, 255, 32768, 32769, 3_000_000]) {
        const stdin = randomBytes(length);
        const { stdout, exitCode } = await agent.session.run({ argv: ['cat'], stdin });
        assert.equal(exitCode, 0);
        assert.equal(stdout.length, length);
        assert.equal(sha256(stdout), sha256(stdin));
      }
    });

    test('input goes in while the command runs', async () => {
      let seen = '';
      let heard = (): void => {};
      const execution = agent.session.exec({
        argv: ['sh', '-c', 'while read -r line; do echo "got $line"; done; echo over'],
        onStdout: (bytes) => {
          seen += text(bytes);
          heard();
        },
      });
      for (const line of ['one', 'two']) {
        const answered = new Promise<void>((resolve) => {
          heard = () => {
            if (seen.includes(`got ${line}\n`)) resolve();
          };
        });
        await execution.writeStdin(Buffer.from(`${line}\n`));
        await answered;
      }
      execution.closeStdin();
      assert.equal((await execution.ended).exitCode, 0);
      assert.equal(seen, 'got one\ngot two\nover\n');
    });

    test('a command that does not read its input holds up nobody, and ends', async () => {
      const idle = agent.session.exec({ argv: ['sleep', '1000'] });
      const writing = assert.rejects(idle.writeStdin(randomBytes(2_000_000)), /input is closed/);
      assert.equal(text((await sh('echo still here')).stdout), 'still here\n');
      idle.kill('TERM');
      assert.equal((await idle.ended).exitCode, 128 + 15);
      await writing;
    });

    test('ten megabytes of output arrive whole', async () => {
      const block = randomBytes(1 << 20);
      const stdin = Buffer.concat(Array.from({ length: 10 }, () => block));
      const { stdout } = await agent.session.run({ argv: ['cat'], stdin });
      assert.equal(sha256(stdout), sha256(stdin));
    });

    test('many commands at once do not mix', async () => {
      const results = await Promise.all(
        Array.from({ length: 40 }, (_, index) =>
          sh('i=0; while [ $i -lt 50 ]; do echo "$1 out"; echo "$1 err" >&2; i=$((i+1)); done; exit $1', `${index}`),
        ),
      );
      for (const [index, result] of results.entries()) {
        assert.equal(text(result.stdout), `${index} out\n`.repeat(50));
        assert.equal(text(result.stderr), `${index} err\n`.repeat(50));
        assert.equal(result.exitCode, index);
      }
    });

    test('signals reach the command; SIGINT is not ignored', async () => {
      for (const [signal, number] of [
        ['INT', 2],
        ['TERM', 15],
        ['KILL', 9],
      ] as const) {
        const execution = agent.session.exec({ argv: ['sleep', '1000'] });
        execution.kill(signal);
        assert.equal((await execution.ended).exitCode, 128 + number);
      }
    });

    test('signals reach what the command started', async () => {
      const up = Promise.withResolvers<string>();
      const script = 'sleep 1000 & echo $!; wait';
      const execution = agent.session.exec({
        argv: ['sh', '-c', script],
        onStdout: (bytes) => up.resolve(text(bytes)),
      });
      const pid = (await up.promise).trim();
      execution.kill('TERM');
      assert.equal((await execution.ended).exitCode, 128 + 15);
      const gone = '[ ! -e "/proc/$1" ] || grep -q "^State:.*Z" "/proc/$1/status"'; // or not buried yet
      assert.equal((await sh(gone, pid)).exitCode, 0);
    });

    test('what a command leaves running does not keep its end from being told', async () => {
      const result = await sh('sleep 1000 & echo $!; seq 20000; exit 3');
      assert.equal(result.exitCode, 3);
      const [pid = '', ...numbers] = text(result.stdout).trim().split('\n');
      assert.deepEqual([numbers.length, numbers.at(-1)], [20000, '20000']);
      assert.equal((await sh('kill "$1"', pid)).exitCode, 0);
    });

    test('an abort kills the command', async () => {
      for (const delay of [false, true]) {
        const controller = new AbortController();
        const execution = agent.session.exec({
          argv: ['sh', '-c', 'echo up; exec sleep 1000'],
          signal: controller.signal,
          onStdout: () => controller.abort(new Error('enough')),
        });
        if (delay) controller.abort(new Error('enough'));
        await assert.rejects(execution.ended, /enough/);
      }
      assert.equal((await sh('exit 5')).exitCode, 5);
    });

    test('the heart beats at the interval that it is told, by itself, and stops; beats carry the word on health', async () => {
      const beats: Beat[] = [];
      const beaten = async (count: number): Promise<void> => {
        const end = beats.length + count;
        while (beats.length < end) await sleep(10);
      };
      agent.session.beat(30, (beat) => beats.push(beat));
      await beaten(4);
      agent.session.tellHealth('healthy');
      agent.session.beat(10, (beat) => beats.push(beat));
      await beaten(4);
      agent.session.beat(0, (beat) => beats.push(beat));
      await agent.session.ping();
      await sleep(60);
      const count = beats.length;
      await sleep(120);
      assert.equal(beats.length, count, 'it has stopped');
      assert.deepEqual(
        beats.map(({ sequence }) => sequence),
        Array.from(beats, (_, i) => i + 1),
      );
      assert.ok(beats.every(({ uptimeSeconds = 0, load = -1 }) => uptimeSeconds > 0 && load >= 0));
      assert.deepEqual([beats[0]?.health, beats.at(-1)?.health], [undefined, 'healthy']);
      assert.equal(text((await sh('echo well')).stdout), 'well\n');
    });

    test('bad input does not stop it', async () => {
      const before = agent.session.counters.errors;
      const bad = [
        'nonsense',
        'exec',
        'exec x 5',
        'exec 900 -1',
        'exec 901 99999999',
        'exec 902 010',
        'in 77 99999999',
        'in ../x 3',
        'eof',
        'eof ..',
        'kill 5',
        'kill ../.. KILL',
        'kill 1 $(id)',
        'shutdown',
        'shutdown now;id',
        'beat',
        'beat -1',
        'beat $(id)',
        'health',
        'health a b',
        'thaw ..',
        'freeze 1',
        'freeze 1 -1',
        'freeze x 1000',
        'hello',
        '`id`',
        '*',
        '\\',
        '\0\0\0',
        '\xff\xfe',
        '',
      ];
      agent.process.stdin?.write(Buffer.from(`${bad.join('\n')}\n`, 'latin1'));
      await agent.session.ping();
      assert.ok(agent.session.counters.errors - before >= 17);
      assert.equal(text((await sh('echo well')).stdout), 'well\n');
    });

    test('another host finds its way into the middle of a frame', async () => {
      const noise = agent.session.exec({
        argv: ['sh', '-c', 'while :; do echo noise; echo "ready 1 x y"; sleep 0.05; done'],
      });
      let isOpen = true;
      const second = new AgentSession(
        { write: (bytes) => isOpen && agent.process.stdin?.write(bytes) },
        { clock: realClock, nonce: 'second', firstId: 5000 },
      );
      agent.process.stdout?.on('data', (bytes: Buffer) => isOpen && second.onData(bytes));
      second.onData(Buffer.from('half of an old fra'));
      await second.ready();
      const result = await second.run({ argv: ['echo', 'second'] });
      assert.equal(text(result.stdout), 'second\n');
      // What the other host's command says comes in between, sooner or later.
      while (second.counters.strayFrames === 0) await sleep(5);
      isOpen = false;
      second.close();
      noise.kill('KILL');
      await noise.ended;
    });
  });
}

/**
 * With a program of the test's in the place of fsfreeze, and mounts of the test's: nothing reaches this host's file systems.
 * (Not under busybox, whose shell prefers its own fsfreeze.)
 */
describe('freezing, with a fake fsfreeze under the system shell', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-freeze-'));
  const log = join(folder, 'log');
  const failing = join(folder, 'failing');
  const mounts = join(folder, 'mounts');
  const mountinfo = `22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw
30 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
31 30 0:26 / /run rw,nosuid - tmpfs tmpfs rw,size=10240k
32 30 254:16 / /srv rw shared:2 master:1 - ext4 /dev/vdb rw
33 30 254:16 /in /bound rw - ext4 /dev/vdb rw
34 30 254:32 / /cdrom ro - iso9660 /dev/vdc ro
35 32 7:0 / /srv/with\\040blank rw - ext4 /dev/loop0 rw
36 30 0:44 / /over rw - overlay overlay rw,upperdir=/srv/u
37 30 0:45 / /many rw - btrfs /dev/vdd rw,ssd
`;
  let agent: ShellAgent;
  before(async () => {
    const fake = `#!/bin/sh
      echo "$1 $2" >> ${log}
      if [ "$1" = --freeze ] && [ -e ${failing} ] && [ "$2" != /many ]; then cat ${failing} >&2; exit 1; fi\n`;
    writeFileSync(join(folder, 'fsfreeze'), fake, { mode: 0o755 });
    writeFileSync(join(folder, 'busybox'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    writeFileSync(mounts, mountinfo);
    agent = startShellAgent(['/bin/sh'], `${folder}:/usr/bin:/bin`, mounts);
    await agent.session.ready();
  });
  after(async () => {
    await agent.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  /** What was done since last time. */
  const done = (): string[] => {
    const lines = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [];
    rmSync(log, { force: true });
    return lines;
  };
  const freezes = ['/many', '/srv/with blank', '/srv', '/'].map((point) => `--freeze ${point}`);
  const thaws = ['/', '/srv', '/srv/with blank', '/many'].map((point) => `--unfreeze ${point}`);
  const sixtySeconds = 60_000;

  test('what was mounted last is frozen first, and thawed last; each file system once, and those on disks alone', async () => {
    // The agent keeps what it is about in a folder of /: there it could not go on.
    assert.deepEqual(await agent.session.freeze(sixtySeconds), { count: 3, left: 1 });
    await assert.rejects(agent.session.freeze(sixtySeconds), /frozen already/);
    assert.equal(await agent.session.thaw(), 3);
    assert.equal(await agent.session.thaw(), 0);
    assert.deepEqual(done(), [...freezes.slice(0, 3), ...thaws.slice(1)]);
  });

  test('it never freezes where it speaks from; from elsewhere, all', async () => {
    const at = tmpdir().replaceAll(' ', '\\040');
    writeFileSync(mounts, `${mountinfo}38 30 0:50 / ${at} rw - tmpfs tmpfs rw\n`);
    assert.deepEqual(await agent.session.freeze(sixtySeconds), { count: 4, left: 0 });
    assert.equal(await agent.session.thaw(), 4);
    assert.deepEqual(done(), [...freezes, ...thaws]);
  });

  test('it thaws by itself when the time is over, and not for an earlier freeze', async () => {
    await agent.session.freeze(1000);
    while (agent.session.isFrozen) await sleep(20);
    assert.deepEqual(done(), [...freezes, ...thaws]);
    assert.equal(await agent.session.thaw(), 0);
    await agent.session.freeze(1000);
    await agent.session.thaw();
    await agent.session.freeze(sixtySeconds);
    await sleep(1500);
    assert.equal(agent.session.isFrozen, true);
    assert.equal(await agent.session.thaw(), 4);
    done();
  });

  test('a file system that cannot be frozen is left; one that fails, or is frozen by another, undoes all', async () => {
    writeFileSync(failing, 'fsfreeze: freeze failed: Operation not supported\n');
    assert.deepEqual(await agent.session.freeze(sixtySeconds), { count: 1, left: 3 });
    assert.equal(await agent.session.thaw(), 1);
    done();
    writeFileSync(failing, 'fsfreeze: freeze failed: Input/output error\n');
    await assert.rejects(agent.session.freeze(sixtySeconds), /could not freeze/);
    assert.deepEqual(done(), [...freezes.slice(0, 2), '--unfreeze /many']);
    writeFileSync(failing, 'fsfreeze: freeze failed: Device or resource busy\n');
    await assert.rejects(agent.session.freeze(sixtySeconds), /frozen already/);
    rmSync(failing);
    assert.equal(await agent.session.thaw(), 0);
    assert.equal((await agent.session.freeze(sixtySeconds)).count, 4);
    assert.equal(await agent.session.thaw(), 4);
  });
});
