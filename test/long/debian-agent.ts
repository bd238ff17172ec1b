/**
 * The guest's agents in a full Debian: ours as a service of systemd, put there, renewed, taken away; then Debian's
 * qemu-guest-agent in its place, as its package starts it.
 *
 *   node test/long/debian-agent.ts [--name proof-disk]
 *
 * The disk is one that test/long/debian-disk.ts built (its name), behind a copy-on-write layer. Takes minutes: a script, no
 * test. Exit code 1 if something is not as it must be.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { installAgent, uninstallAgent } from '../../src/host/agent/index.ts';
import { defaultSuite, fetchPackages } from '../../src/host/debian/index.ts';
import { findImage } from '../../src/host/images/index.ts';
import { Guest } from '../system/guest.testing.ts';

const LIMIT_MS = 20 * 60_000;
const { values } = parseArgs({ options: { name: { type: 'string', default: 'proof-disk' } } });
const started = performance.now();
const say = (line: string): void => {
  process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}\n`);
};
const image = await findImage(values.name);
assert.ok(image?.disk, `there is no disk ${values.name}: build it with "node test/long/debian-disk.ts"`);

await using guest = await Guest.start(
  {
    ...{ kernel: image.kernel, initrd: image.initrd, append: image.commandLine, memoryBytes: 1 << 30 },
    drives: [{ file: image.disk, overlay: true }],
    heartbeatMs: 1000,
    health: { command: 'systemctl is-active systemd-journald', intervalMs: 2000 },
  },
  LIMIT_MS,
);
const { machine } = guest;
await machine.ready();
say(`${machine.info.agent?.kind} answers`);
await guest.shows(/ login: /);
say('login');

async function installs(...expected: readonly string[]): Promise<void> {
  const state = await installAgent(machine);
  say(`install: ${state}`);
  assert.ok(expected.includes(state));
  // Agents of before this release run their own file for each command, and have to be started anew first.
  for (;;) if ((await machine.exec(['true']).catch(() => undefined))?.code === 0) return;
}
// The disk may be of an earlier release.
await installs('upgraded', 'unchanged');
// Not in its place: sh reads its script as it goes.
await guest.run('cd /usr/local/lib/kagemusha && echo old > other && mv other agent');
await installs('upgraded');
await installs('unchanged');
assert.equal((await guest.run('systemctl is-active kagemusha-agent')).stdout, 'active\n');
say(`heartbeat ${machine.info.agent?.heartbeat.state}, health ${machine.info.health?.status}`);
assert.equal(machine.info.agent?.heartbeat.state, 'alive');

// Ours keeps what it is about in /run: all file systems on disks are frozen, and systemd's too go on behind it.
const file = `/tmp/debian-agent-${process.pid}.kage`;
const { quiesced, pausedMs } = await machine.snapshot(file, { quiesce: true });
say(`quiesced: ${JSON.stringify(quiesced)}; stood still for ${Math.ceil(pausedMs)} ms`);
assert.deepEqual(quiesced, { count: 1, left: 0 });
assert.equal((await guest.run('echo on > /var/tmp/on; cat /var/tmp/on')).stdout, 'on\n');
{
  await using restored = await Guest.restore(file, { name: 'restored-debian' });
  assert.equal((await restored.run('echo too > /var/tmp/on; cat /var/tmp/on')).stdout, 'too\n');
  say('restored, it is thawed');
  assert.deepEqual(await restored.machine.stop(), { reason: 'poweroff', code: 0 });
  say('powered off by ours');
}

const { files } = await fetchPackages({
  ...{ suite: defaultSuite, architecture: 'riscv64', packages: ['qemu-guest-agent'], withDependencies: true },
});
const { stdout: known } = await guest.run('dpkg-query -W | cut -f 1 | tr "\\n" " "');
for (const { name, path } of files.filter((one) => !known.split(' ').includes(one.name))) {
  const { code, stderr } = await machine.exec(
    ['sh', '-c', `cat > /tmp/${name}.deb && dpkg -i --force-depends /tmp/${name}.deb`],
    { stdin: readFileSync(path) },
  );
  assert.equal(code, 0, Buffer.from(stderr).toString());
  say(`dpkg -i ${name}`);
}
await guest.run('udevadm trigger --subsystem-match=virtio-ports; udevadm settle; systemctl start qemu-guest-agent');
assert.equal(await uninstallAgent(machine), 'removed');
say('ours is removed');
// Ours ends with its service; whoever asks now is answered by QEMU's.
for (;;) {
  const { code } = await machine
    .exec(['sh', '-c', '! systemctl --quiet is-active kagemusha-agent'])
    .catch(() => ({ code: 1 }));
  if (code === 0) break;
}
say(`${machine.info.agent?.kind} ${machine.info.agent?.version} answers`);
assert.equal(machine.info.agent?.kind, 'qemu');
assert.match((await guest.run('grep . /etc/debian_version; ls /usr/local/lib')).stdout, /^13/);
assert.equal(await uninstallAgent(machine), 'absent');
const again = await machine.snapshot(file, { quiesce: true });
assert.equal(again.quiesced?.count, 1);
say(`quiesced by QEMU's: ${JSON.stringify(again.quiesced)}`);
assert.deepEqual(await machine.stop(), { reason: 'poweroff', code: 0 });
say("powered off by QEMU's");
