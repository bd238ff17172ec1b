/**
 * A Debian guest between two macvtap uplinks, in network namespaces, while the path in force fails again and again, by its
 * carrier and silently, in turn: an ssh session (dropbear) whose every line is answered, and iperf3, first towards the
 * guest, then from it. None of them may break. As root; needs an archive of Debian the first time.
 *
 *   node test/long/path-sessions.ts [--failures 100]        two minutes and more
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { inNamespace, PEER_ADDRESS, SegmentLab } from '../../bench/network/segment-lab.ts';
import { debianImage } from '../system/guest.testing.ts';
import { PackagesGuest, packagesDisk } from '../system/guest-packages.testing.ts';
import { programPath, provide } from '../toolbox.ts';

const { values } = parseArgs({
  options: { failures: { type: 'string', default: '100' }, inside: { type: 'boolean', default: false } },
});
const PACKAGES = ['iperf3', 'dropbear-bin', 'dash'];
const ADDRESS = '10.9.0.1';
/** A server for each direction: one that lost its client takes its time. */
const PORTS = ['5201', '5202'];
const BOOT_LIMIT_MS = 1_200_000;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

if (!values.inside) {
  assert.equal(await provide('sessions', say), undefined);
  await Promise.all([debianImage(), packagesDisk(PACKAGES)]);
  process.exit(await inNamespace([import.meta.filename, '--inside', ...process.argv.slice(2)]));
}

const failures = Number(values.failures);
const folder = mkdtempSync(join(tmpdir(), 'kage-sessions-'));
const lab = new SegmentLab();
process.once('exit', () => {
  lab.close();
  rmSync(folder, { recursive: true, force: true });
});
await using packages = await PackagesGuest.start(
  PACKAGES,
  {
    ...{ memoryBytes: 512 << 20, failback: 'failure', mac: '52:54:00:99:00:02' },
    netdevs: lab.devices.map((ifname) => ({ kind: 'macvtap', ifname, network: 'lan', targets: [PEER_ADDRESS] })),
  },
  BOOT_LIMIT_MS,
);
const { guest } = packages;
const { machine } = guest;
await prepareGuest();
const ssh = await openShell();
let answered = 0;
createInterface({ input: ssh.stdout as NodeJS.ReadableStream }).on('line', (line) => {
  assert.equal(line, `line ${answered + 1}`, 'each line is answered once, in order');
  answered += 1;
});
let asked = 0;
const asking = setInterval(() => {
  asked += 1;
  ssh.stdin?.write(`line ${asked}\n`);
}, 50);
await until(() => answered > 0, 60_000);

const half = Math.ceil(failures / 2);
for (const reverse of [false, true]) {
  const measuring = iperf(reverse);
  for (let i = 0; i < half && measuring.exitCode === null; i += 1) await failOnce(i % 4 < 2 ? 'carrier' : 'silent');
  measuring.kill('SIGINT');
  const report = await measuring.report;
  say(
    `iperf3 ${reverse ? 'from the guest' : 'to the guest'}: ${report.seconds.toFixed(0)} s, ${report.megabits.toFixed(0)} Mbit/s`,
  );
  // Failures are three quarters of a second apart at least.
  assert.ok(report.seconds > half * 0.6, 'it lived as long as paths failed');
  assert.ok(report.megabits > 0.1);
}
clearInterval(asking);
await until(() => answered === asked, 10_000);
say(`ssh: ${asked} lines, each answered`);
assert.equal(ssh.exitCode, null);
ssh.stdin?.end();
const { interfaces, uplinks } = await machine.net();
say(
  `switches: ${interfaces[0]?.counters.switches}, failures seen: ${uplinks.map((one) => one.counters.failures).join(' and ')}`,
);
assert.ok((interfaces[0]?.counters.switches ?? 0) >= 2 * half);
await machine.kill();
process.exit(0);

async function prepareGuest(): Promise<void> {
  const key = join(folder, 'key');
  const said = execFileSync(programPath('dropbearkey'), ['-t', 'ed25519', '-f', key], { encoding: 'utf8' });
  const line = said.split('\n').find((one) => one.startsWith('ssh-ed25519'));
  assert.ok(line, 'a key');
  const { stdout } = await guest.run('cd /sys/class/net && ls -d e*');
  const device = stdout.trim();
  const { code, stderr } = await guest.run(`
    ip addr flush dev ${device}; ip addr add ${ADDRESS}/24 dev ${device}; ip link set ${device} up
    cd /tmp/packages && mkdir -p srv/.ssh etc/dropbear run && chmod 700 srv srv/.ssh`);
  assert.equal(code, 0, stderr);
  await packages.write('/srv/.ssh/authorized_keys', `${line}\n`);
  await packages.write('/etc/passwd', 'root:x:0:0:root:/srv:/bin/sh\n');
  await packages.write('/etc/group', 'root:x:0:\n');
  await guest.run(
    'ls -l /tmp/packages/bin/sh /tmp/packages/bin/dash; chmod 600 /tmp/packages/srv/.ssh/authorized_keys',
  );
  void packages.run(['/usr/sbin/dropbear', '-F', '-E', '-R', '-s', '-p', '22']).catch(() => {});
  for (const port of PORTS) void packages.run(['/usr/bin/iperf3', '-s', '-p', port]).catch(() => {});
  await sleep(2000);
}

/** A shell in the guest, over ssh, that answers lines with themselves. */
async function openShell(): Promise<ChildProcess> {
  const words = ['-y', '-y', '-T', '-i', join(folder, 'key'), `root@${ADDRESS}`];
  return lab.peerProgram(programPath('dbclient'), [...words, 'while read -r line; do echo "$line"; done']);
}

interface Iperf {
  readonly exitCode: number | null;
  readonly report: Promise<{ readonly seconds: number; readonly megabits: number }>;
  kill(signal: NodeJS.Signals): void;
}

function iperf(reverse: boolean): Iperf {
  const port = PORTS[reverse ? 1 : 0] ?? '';
  const words = ['-c', ADDRESS, '-p', port, '-t', '3600', '-i', '1', '-f', 'm', ...(reverse ? ['-R'] : [])];
  const child = lab.peerProgram(programPath('iperf3'), [...words, '--forceflush']);
  let text = '';
  child.stdout?.on('data', (bytes: Buffer) => {
    text += bytes.toString();
  });
  const report = new Promise<{ seconds: number; megabits: number }>((resolve) => {
    child.once('close', () => {
      const intervals = [...text.matchAll(/(\d+\.\d+)-(\d+\.\d+)\s+sec\s+[\d.]+ \w+\s+([\d.]+) Mbits\/sec/g)];
      const last = Math.max(0, ...intervals.map(([, , to]) => Number(to)));
      const rates = intervals.map(([, , , rate]) => Number(rate));
      resolve({ seconds: last, megabits: rates.reduce((sum, one) => sum + one, 0) / Math.max(1, rates.length) });
    });
  });
  return {
    get exitCode() {
      return child.exitCode;
    },
    report,
    kill: (signal) => void child.kill(signal),
  };
}

async function failOnce(how: 'carrier' | 'silent'): Promise<void> {
  const conditions = async (): Promise<string[]> => (await machine.net()).uplinks.map((one) => one.condition);
  await untilAsync(async () => (await conditions()).every((one) => one === 'up' || one === 'recovering'), 10_000);
  await sleep(300);
  const from = (await machine.net()).interfaces[0]?.inForce;
  assert.ok(from);
  lab.fail(from, how, true);
  const inForce = async (): Promise<string | undefined> => (await machine.net()).interfaces[0]?.inForce;
  await untilAsync(async () => ![from, undefined].includes(await inForce()), 3000);
  await sleep(400);
  lab.fail(from, how, false);
}

async function until(condition: () => boolean, withinMs: number): Promise<void> {
  await untilAsync(async () => condition(), withinMs);
}

async function untilAsync(condition: () => Promise<boolean>, withinMs: number): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `not within ${withinMs} ms: ${condition.toString()}`);
    await sleep(2);
  }
}
