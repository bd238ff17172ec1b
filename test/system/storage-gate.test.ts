/** The storage's gate between QEMU's own client and real NBD servers. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Random } from '../../src/devices/virtio/random.testing.ts';
import { StorageGate } from '../../src/host/storage/index.ts';
import { FakeNbdServer } from '../../src/host/storage/nbd/fake-server.testing.ts';
import { CMD } from '../../src/host/storage/nbd/protocol.ts';
import { TestAuthority } from '../../src/host/streams/authority.testing.ts';
import { requires } from '../capability.ts';
import { programPath } from '../toolbox.ts';
import { NbdServerProcess } from './nbd-servers.testing.ts';
import { qemuImg } from './qcow2-oracle.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-storage-gate-'));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly said: string;
}

/** Apart from this process: the gate lives here. */
async function qemuIo(uri: string, commands: readonly string[], objects: readonly string[] = []): Promise<Outcome> {
  const image = uri.startsWith('driver=') ? ['--image-opts', uri] : ['-f', 'raw', uri];
  const args = [...objects, ...commands.flatMap((command) => ['-c', command]), ...image];
  const child = spawn(programPath('qemu-io'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
  return await new Promise((resolve) => child.on('close', (code) => resolve({ code, said })));
}

for (const kind of ['nbdkit', 'qemu-nbd'] as const) {
  test(`QEMU's client through the gate to ${kind}: it works, until it is fenced`, requires('disks'), async () => {
    const file = join(folder, `${kind}.raw`);
    const socket = join(folder, `${kind}.sock`);
    qemuImg('create', '-q', '-f', 'raw', file, '64M');
    await using server =
      kind === 'nbdkit' ? NbdServerProcess.nbdkit(file, socket) : NbdServerProcess.qemuNbd(file, 'raw', socket);
    await server.start();
    const path = join(folder, `${kind}-gate.sock`);
    await using gate = await StorageGate.open({
      ...{ listen: `nbd+unix:///?socket=${path}`, upstream: server.uri, stateFolder: join(folder, `${kind}-state`) },
    });
    const uri = (generation: number) => `nbd+unix:///@${generation}?socket=${path}`;
    await gate.fence('', 1);
    const first = await qemuIo(uri(1), [
      ...['write -P 1 0 48M', 'write -P 7 4k 64k', 'write -z 1M 1M', 'discard 2M 1M', 'flush'],
      ...['read -P 7 4k 64k', 'read -P 0 1M 1M', 'read -P 1 3M 45M'],
    ]);
    assert.equal(first.code, 0, first.said);
    assert.doesNotMatch(first.said, /fail/i);
    await gate.fence('', 2);
    const late = await qemuIo(uri(1), ['write -P 9 0 64k']);
    assert.notEqual(late.code, 0);
    assert.match(late.said, /generation 1 is over: 2 is the lowest one/);
    const next = await qemuIo(uri(2), ['read -P 1 0 4k', 'write -P 2 0 4k', 'flush', 'read -P 2 0 4k']);
    assert.equal(next.code, 0, next.said);
    assert.doesNotMatch(next.said, /fail/i);
  });
}

test("QEMU's client by TLS: with a certificate of the authority, and not otherwise", requires('disks'), async () => {
  const path = join(folder, 'behind.sock');
  const server = new FakeNbdServer({ path, sizeBytes: 4 << 20, random: new Random(1) });
  await server.start();
  const authority = new TestAuthority(join(folder, 'ours'));
  await using gate = await StorageGate.open({
    ...{ listen: 'nbds://127.0.0.1:0', tls: authority.host('storage'), upstream: `nbd+unix:///?socket=${path}` },
    stateFolder: join(folder, 'tls-state'),
  });
  await gate.fence('', 1);
  const at = `driver=nbd,server.type=inet,server.host=127.0.0.1,server.port=${gate.port},export=@1`;
  const commands = ['write -P 7 0 1M', 'flush', 'read -P 7 0 1M'];
  const as = (tls: string): string[] => ['--object', `tls-creds-x509,id=t,endpoint=client,dir=${asQemu(tls)}`];
  const good = await qemuIo(`${at},tls-creds=t`, commands, as(authority.host('b')));
  assert.equal(good.code, 0, good.said);
  assert.doesNotMatch(good.said, /fail/i);
  const stranger = new TestAuthority(join(folder, 'theirs')).host('b');
  for (const [address, objects] of [
    [at, []],
    [`${at},tls-creds=t`, as(stranger)],
  ] as const)
    assert.notEqual((await qemuIo(address, commands, objects)).code, 0);
  assert.equal(server.commands.filter((command) => command === CMD.WRITE).length, 1);
  await server.kill();
});

/** The folder's certificates under QEMU's names. */
function asQemu(tls: string): string {
  const place = join(tls, 'qemu');
  mkdirSync(place);
  for (const [ours, theirs] of [
    ['ca', 'ca-cert'],
    ['cert', 'client-cert'],
    ['key', 'client-key'],
  ] as const)
    copyFileSync(join(tls, `${ours}.pem`), join(place, `${theirs}.pem`));
  return place;
}
