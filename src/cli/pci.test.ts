/** `kage pci`, with a machine of no guest behind it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { kage, ownRuntimeFolder } from './terminal.testing.ts';

ownRuntimeFolder();

describe('kage pci', () => {
  test('what is in which slot; a card out and in again', async () => {
    await kage(['run', '-q', '-d', '-n', 'web']);
    const pci = (...args: string[]): ReturnType<typeof kage> => kage(['pci', 'web', ...args]);
    assert.match(
      (await pci()).stdout,
      /^PLACE +ID +KIND +SLOT +INTERRUPTS +SENT\n01\.0 +rp0 +root port +1, card in, power on *\n +00\.0 +net0 +virtio-net-pci +msix +7\n$/,
    );
    const quiet = { code: 0, stdout: '', stderr: '' };
    assert.deepEqual(await pci('pull', 'rp0'), quiet);
    assert.match((await pci()).stdout, /card out/);
    assert.deepEqual(await pci('plug', 'rp0'), quiet);
    assert.equal((JSON.parse((await pci('--format', 'json')).stdout) as { ports: unknown[] }).ports.length, 1);
    const wrong = await pci('unplug', 'rp1');
    assert.deepEqual([wrong.code, wrong.stderr], [125, 'kage: there is no such port. Name rp0.\n']);
    assert.match((await pci('eject', 'rp0')).stderr, /eject is nothing to do with a slot\. Say plug, unplug, pull\./);
    assert.match((await pci('plug')).stderr, /which slot is not said\. Name a root port/);
    await kage(['rm', '-f', 'web']);
  });
});
