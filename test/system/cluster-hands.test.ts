/**
 * A guest of the cluster between two hosts, both in this process, with real machines, a real gate and a real disk server: started cold
 * under generation 1, replicated hot, taken over under generation 2 after the first machine was stopped; what that one writes when
 * it is let go on is refused.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { certify, newAuthority, writeCertificates } from '../../src/daemon/cluster/certificates.ts';
import { answerOf, Hosts, type TestHost, until } from '../../src/daemon/cluster/cluster-host.testing.ts';
import { connectMachine, GateControl, gateControl, StorageGate } from '../../src/host/index.ts';
import { requires } from '../capability.ts';
import { debianImage } from './guest.testing.ts';
import { NbdServerProcess } from './nbd-servers.testing.ts';
import { qemuImg } from './qcow2-oracle.testing.ts';

const program = { entry: new URL('../../src/cli/detached.ts', import.meta.url), flags: [], environment: {} };
const SECTOR = 512;
/** In it the guest writes over and over. */
const RECORD = 8;

async function sh(host: TestHost, script: string): Promise<string> {
  await using machine = await connectMachine('web', host.sockets);
  const { code, stdout, stderr } = await machine.exec(['sh', '-c', script]);
  assert.equal(code, 0, Buffer.from(stderr).toString());
  return Buffer.from(stdout).toString().trim();
}

/** Of the disk, as it is behind the gate. */
function record(disk: string): string {
  const file = openSync(disk, 'r');
  try {
    const sector = Buffer.alloc(SECTOR);
    readSync(file, sector, 0, SECTOR, RECORD * SECTOR);
    return sector.toString('latin1').replace(/\0.*$/s, '').trim();
  } finally {
    closeSync(file);
  }
}

const writing = `i=0; while :; do i=$((i + 1)); echo "of one $i" | dd of=/dev/vda bs=${SECTOR} seek=${RECORD} conv=notrunc,sync,fsync; sleep 0.05; done`;

test(
  'a guest is taken over hot, and the host that was stopped writes in vain when it goes on',
  requires('disks'),
  async () => {
    await using hosts = new Hosts(program);
    const at = (name: string) => join(hosts.root, name);
    writeCertificates(at('tls'), certify(newAuthority(), 'host', ['127.0.0.1']));
    qemuImg('create', '-q', '-f', 'raw', at('disk.raw'), '16M');
    await using server = NbdServerProcess.qemuNbd(at('disk.raw'), 'raw', at('behind.sock'));
    await server.start();
    const listen = `nbd+unix:///?socket=${at('gate.sock')}`;
    await using gate = await StorageGate.open({ listen, upstream: server.uri, stateFolder: at('gate') });
    await using _ = await GateControl.open(gate, gateControl(at('gate')));
    const { kernel, initrd, commandLine } = await debianImage();
    hosts.specs.set('web', {
      ...{
        kernel,
        ...(initrd === undefined ? {} : { initrd }),
        append: commandLine,
        memoryBytes: 192 << 20,
        network: false,
      },
      drives: [{ file: listen, format: 'raw' }],
      failover: { gate: gateControl(at('gate')) },
    });
    const [a, b] = [await hosts.host('a'), await hosts.host('b')];
    // Neither host loses its lease: what keeps the first one out is the gate alone.
    const leases = setInterval(() => {
      for (const host of [a, b]) host.machines.grant(1, hosts.clock.nowMs() + 60_000);
    }, 1000);
    using _leases = { [Symbol.dispose]: () => clearInterval(leases) };

    assert.equal(await a.fence('web', 1), true);
    assert.equal(await a.start('web', 1), true);
    await until(() => a.beats.length > 0);
    assert.ok((a.machines.costs.measured('web').bootMs ?? 0) > 0);
    b.machines.keepStandby('web', { method: 'hot', activeHost: 'a' });
    a.machines.replicate('web', 'b', { method: 'hot', everyMs: 50 });
    await until(() => a.told.includes('synced web 1 b') && b.machines.readyStandbys().includes('web'), a, b);
    assert.equal(await answerOf((done) => a.machines.holdOutput('web', 'b', done)), true);
    // Who has heard this has heard it of the standby, too.
    assert.equal(
      await sh(a, `echo kept > /tmp/word; (${writing}) > /dev/null 2>&1 & echo $! > /tmp/pid; cat /tmp/word`),
      'kept',
    );
    await until(() => record(at('disk.raw')).startsWith('of one'));

    const first = await a.pid('web');
    process.kill(first, 'SIGSTOP');
    assert.equal(await b.fence('web', 2), true);
    assert.equal(await b.start('web', 2, 'hot'), true);
    assert.equal(await sh(b, 'cat /tmp/word; kill $(cat /tmp/pid); sleep 0.5'), 'kept');
    await sh(b, `echo "of two" | dd of=/dev/vda bs=${SECTOR} seek=${RECORD} conv=notrunc,sync,fsync`);
    await until(() => b.beats.some(({ generation, isApplicationWell }) => generation === 2 && isApplicationWell));

    const refused = gate.report().refused;
    process.kill(first, 'SIGCONT');
    // Its director would never say so; what it has not written yet goes to the gate.
    assert.equal(await answerOf((done) => a.machines.holdOutput('web', undefined, done)), true);
    await until(() => gate.report().refused > refused);
    assert.equal(record(at('disk.raw')), 'of two');
    assert.equal(await a.stop('web', 1), true);
    assert.equal(await b.stop('web', 2), true);
  },
);
