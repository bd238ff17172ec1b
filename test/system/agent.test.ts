/**
 * What a host does through a guest's agent: the heart beats and stands still with the machine, health turns and turns back,
 * file systems are clean in a snapshot that was quiesced under load. Our initramfs, ours for an agent; then Debian's
 * qemu-guest-agent in its place.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fetchFileSystemTools } from '../../src/host/debian/index.ts';
import { pullDebianImage } from '../../src/host/images/index.ts';
import type { AgentEvent, MachineHandle, MachineOptions } from '../../src/host/machine/index.ts';
import { requires } from '../capability.ts';
import { Guest } from './guest.testing.ts';
import { MOUNT_PACKAGES, packagesDisk } from './guest-packages.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-agent-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const disk = join(folder, 'disk.raw');

/** With our own agent, as this release has it. */
async function options(more: MachineOptions): Promise<MachineOptions> {
  const { kernel, initrd, commandLine } = await pullDebianImage();
  return { memoryBytes: 256 << 20, network: false, kernel, initrd, append: commandLine, ...more };
}

/** Waits for an event behind `since` that is this change. */
async function comes(machine: MachineHandle, kind: AgentEvent['kind'], to: string, since = 0): Promise<AgentEvent> {
  for (let behind = since; ; ) {
    const events = await machine.agentEvents(behind, 60_000);
    const event = events.find((one) => one.kind === kind && one.to === to);
    if (event !== undefined) return event;
    behind = events.at(-1)?.number ?? behind;
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("a guest's agent", requires('apt'), () => {
  let guest: Guest;
  const beats = () => guest.machine.info.agent?.heartbeat;

  before(async () => {
    writeFileSync(disk, '');
    truncateSync(disk, 64 << 20);
    guest = await Guest.start(
      await options({
        drives: [{ file: disk }],
        heartbeatMs: 200,
        health: { command: 'test -e /well && echo fine', intervalMs: 300, retries: 2 },
        room: { partitions: 2, memoryBytes: 512 << 20 },
      }),
    );
  });
  after(() => guest[Symbol.asyncDispose]());

  test('the heart beats by itself, with uptime and load', async () => {
    await comes(guest.machine, 'heartbeat', 'alive');
    assert.equal(guest.machine.info.agent?.kind, 'kagemusha');
    const uptime = Number((await guest.run('cut -d" " -f1 /proc/uptime')).stdout);
    const before = beats();
    while ((beats()?.sequence ?? 0) < (before?.sequence ?? 0) + 5) await sleep(50);
    const { uptimeSeconds = 0, load = -1, state, missed } = beats() ?? {};
    assert.ok(uptimeSeconds >= uptime && load >= 0, `${uptimeSeconds} s, load ${load}`);
    assert.deepEqual([state, missed], ['alive', 0]);
  });

  test('health turns: it is unhealthy when the command fails as often as it may, and healthy again', async () => {
    const unhealthy = await comes(guest.machine, 'health', 'unhealthy');
    assert.equal(unhealthy.from, 'starting');
    await guest.run('touch /well');
    const healthy = await comes(guest.machine, 'health', 'healthy', unhealthy.number);
    const { health } = guest.machine.info;
    assert.deepEqual([health?.status, health?.failingStreak], ['healthy', 0]);
    assert.deepEqual([health?.log.at(-1)?.exitCode, health?.log.at(-1)?.output], [0, 'fine\n']);
    await guest.run('rm /well');
    await comes(guest.machine, 'health', 'unhealthy', healthy.number);
    await guest.run('touch /well');
  });

  test('a paused guest is not silent; a twin that was quiesced is thawed, and has a heart of its own', async () => {
    const since = (await guest.machine.agentEvents()).at(-1)?.number ?? 0;
    await guest.machine.pause();
    const { sequence } = beats() ?? {};
    await sleep(2500);
    assert.deepEqual([beats()?.state, beats()?.sequence], ['alive', sequence]);
    await guest.machine.resume();
    await guest.run('modprobe ext4; mke2fs -F /dev/vda > /dev/null 2>&1; mount -t ext4 /dev/vda /mnt');
    const thawed = (await guest.machine.agentEvents()).at(-1)?.number ?? 0;
    await using twin = Guest.of(await guest.machine.fork({ name: 'agents-twin', quiesce: true }));
    await comes(guest.machine, 'freeze', 'thawed', thawed);
    for (const one of [guest, twin]) assert.equal((await one.run('echo on > /mnt/on; cat /mnt/on')).stdout, 'on\n');
    await comes(twin.machine, 'heartbeat', 'alive');
    await comes(twin.machine, 'health', 'healthy');
    // An agent that does not run does not beat; its twin's does.
    const stop = `for p in /proc/[0-9]*; do grep -qs kagemusha/agent $p/cmdline && kill -STOP \${p#/proc/}; done`;
    const stopped = twin.run(stop);
    stopped.catch(() => undefined); // nobody is left to say how it ended
    await comes(twin.machine, 'heartbeat', 'silent');
    assert.equal(beats()?.state, 'alive');
    // Late it may have been, on a host that is busy.
    const events = await guest.machine.agentEvents(since);
    assert.deepEqual(
      events.filter((event) => event.kind === 'heartbeat' && event.to === 'silent'),
      [],
    );
  });
});

describe('the heart and the file systems of a guest', requires('apt'), () => {
  let e2fsck: readonly string[];
  let guest: Guest;
  const writer = `i=0; while :; do i=$((i + 1)); echo $i > /mnt/a/$((i % 50)); mv /mnt/a/$((i % 50)) /mnt/b/; done`;

  before(async () => {
    const tools = await fetchFileSystemTools();
    e2fsck = tools.e2fsck;
    writeFileSync(disk, '');
    truncateSync(disk, 64 << 20);
    const [mke2fs = '', ...words] = tools.mke2fs;
    execFileSync(mke2fs, [...words, '-q', '-t', 'ext4', disk]);
    guest = await Guest.start(await options({ drives: [{ file: disk }] }));
  });
  after(() => guest[Symbol.asyncDispose]());

  /** What the disk's superblock says, and e2fsck of a copy, without repairing anything. */
  const examine = (): string => {
    const copy = join(folder, 'copy.raw');
    copyFileSync(disk, copy);
    const [program = '', ...words] = e2fsck;
    const { stdout, stderr } = spawnSync(program, [...words, '-n', copy], { encoding: 'utf8' });
    return stdout + stderr;
  };

  test('a beat costs the guest no process', async () => {
    const forks = async (): Promise<number> => Number((await guest.run('sed -n "s/^processes //p" /proc/stat')).stdout);
    const before = await forks();
    const ofOneCommand = (await forks()) - before;
    await guest.machine.setHeartbeat(20);
    const sequence = (): number => guest.machine.info.agent?.heartbeat.sequence ?? 0;
    while (sequence() === 0) await sleep(20);
    const [first, start] = [await forks(), sequence()];
    while (sequence() < start + 30) await sleep(20);
    assert.ok((await forks()) - first <= ofOneCommand + 3);
    await guest.machine.setHeartbeat(0);
    assert.equal(guest.machine.info.agent?.heartbeat.state, 'off');
  });

  test('file systems under load: in use in a snapshot, clean in one that was quiesced; both guests write on', async () => {
    const plain = join(folder, 'plain.kage');
    const { code, stderr } = await guest.run(
      `modprobe ext4; modprobe loop; mount -t ext4 /dev/vda /mnt && mkdir /mnt/a /mnt/b "/mnt/with blank" &&
       dd if=/dev/zero of=/mnt/inner bs=1M count=8 2> /dev/null && mke2fs -F /mnt/inner > /dev/null &&
       mount -t ext4 -o loop /mnt/inner "/mnt/with blank" && (setsid sh -c '${writer}' > /dev/null 2>&1 < /dev/null &)`,
    );
    assert.equal(code, 0, stderr);
    const file = join(folder, 'quiesced.kage');
    await guest.machine.snapshot(plain);
    await sleep(300);
    assert.match(examine(), /recover/i, 'a file system that is mounted wants its journal');
    const { quiesced } = await guest.machine.snapshot(file, { quiesce: true });
    assert.deepEqual(quiesced, { count: 2, left: 0 }, 'the disk, and the file system in a file of it');
    const events = await guest.machine.agentEvents();
    assert.deepEqual(
      events.filter(({ kind }) => kind === 'freeze').map(({ to }) => to),
      ['frozen', 'thawed'],
    );
    const writes = async (one: Guest): Promise<void> => {
      const count = 'stat -c %Y%Z /mnt/b/7; cat /mnt/b/7';
      const first = (await one.run(count)).stdout;
      for (;;) if ((await one.run(count)).stdout !== first) return;
    };
    await writes(guest);
    await guest.run('touch "/mnt/with blank/thawed"');
    await guest.machine.snapshot(join(folder, 'last.kage'), { quiesce: true, stop: true });
    await guest.machine.exited;
    assert.match(examine(), /: clean,/);
    await using restored = await Guest.restore(join(folder, 'last.kage'), { heartbeatMs: 200 });
    await comes(restored.machine, 'heartbeat', 'alive');
    await writes(restored);
    await restored.run('touch "/mnt/with blank/thawed too"');
  });
});

describe("Debian's qemu-guest-agent in the place of ours", requires('apt'), () => {
  const file = join(folder, 'qemu.kage');
  let guest: Guest;
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

  before(async () => {
    const packages = await packagesDisk(['qemu-guest-agent', 'util-linux', 'coreutils', 'dash']);
    guest = await Guest.start(
      await options({
        drives: [{ file: packages, overlay: true }],
        agent: 'qemu',
        heartbeatMs: 500,
        health: { command: 'cat /sick && exit 1 || exit 0', intervalMs: 500, retries: 1 },
      }),
    );
    await guest.shows(/# /);
    // It is asked to power off by a program that the packages lack.
    const start = `${MOUNT_PACKAGES}
      printf '#!/bin/sh\\nsync; echo o > /proc/sysrq-trigger; sleep 9\\n' > /tmp/packages/sbin/shutdown
      chmod +x /tmp/packages/sbin/shutdown
      for n in /sys/class/virtio-ports/*/name; do grep -q qemu $n && n=\${n%/name} port=\${n##*/}; done
      chroot /tmp/packages qemu-ga -d -m virtio-serial -p /dev/$port && echo star"ted"`;
    guest.type(`( ${start.replaceAll(/\n\s*/g, '; ').replace(/^; /, '')} )\n`);
    await guest.shows(/started/);
    await guest.machine.ready();
  });
  after(() => guest[Symbol.asyncDispose]());

  test('commands: input, output, errors, exit codes, environment and folder; signals; what is not there', async () => {
    const { machine } = guest;
    assert.match(`${machine.info.agent?.kind} ${machine.info.agent?.version}`, /^qemu 10\./);
    const { code, stdout, stderr } = await machine.exec(['sh', '-c', 'echo "$K in $PWD"; cat >&2; exit 7'], {
      environment: { K: "it's" },
      workingFolder: '/usr',
      stdin: Buffer.from('input\n'),
    });
    assert.deepEqual([code, text(stdout), text(stderr)], [7, "it's in /usr\n", 'input\n']);
    assert.equal((await guest.run('kill -TERM $$')).code, 128 + 15);
    assert.equal((await machine.exec(['no-such-program'])).code, 127);
    const sum = await machine.exec(['sh', '-c', 'cat; head -c 2000000 /dev/zero'], {
      stdin: Buffer.alloc(300_000, 'x'),
    });
    assert.equal(sum.stdout.length, 2_300_000);
    const abort = new AbortController();
    const hung = machine.exec(['sleep', '7777'], { signal: abort.signal });
    setTimeout(() => abort.abort(new Error('enough')), 500);
    await assert.rejects(hung, /enough/);
    const sleeps =
      'for i in 1 2 3 4 5 6 7 8 9; do grep -l 7777 /proc/[0-9]*/cmdline | grep -v "/$$/" || exit 0; sleep 1; done';
    assert.equal((await guest.run(sleeps)).code, 0);
  });

  test('heartbeat and health', async () => {
    await comes(guest.machine, 'heartbeat', 'alive');
    const { number } = await comes(guest.machine, 'health', 'healthy');
    await guest.run('touch /sick');
    await comes(guest.machine, 'health', 'unhealthy', number);
    await guest.run('rm /sick');
  });

  test('a quiesced snapshot: who is made of it is thawed, and has the time; then it powers off', async () => {
    const { quiesced } = await guest.machine.snapshot(file, { quiesce: true });
    assert.equal(quiesced?.count, 1);
    assert.equal((await guest.run('echo goes on > /here')).code, 0);
    assert.equal((await guest.machine.stop()).reason, 'poweroff');
    await using restored = await Guest.restore(file);
    assert.equal((await restored.run('echo goes on > /there; cat /there')).stdout, 'goes on\n');
    const { stdout } = await restored.run('date +%s');
    assert.ok(Math.abs(Number(stdout) - Date.now() / 1000) < 30, stdout);
    await comes(restored.machine, 'heartbeat', 'alive');
    await restored.machine.kill();
  });
});
