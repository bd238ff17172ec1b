/**
 * Debian's kernel with everything translated when it is first reached, on two harts: a sample of what
 * test/long/thresholds.ts does with the whole suite.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requires } from '../capability.ts';
import { debianImage, Guest } from './guest.testing.ts';

const AT_ONCE = { translate: true, hotThreshold: 1 };

test('two harts boot, work and power off with all code translated at first sight', requires('apt'), async () => {
  const { kernel, initrd, commandLine } = await debianImage();
  await using guest = await Guest.start({ kernel, initrd, append: commandLine, cpus: 2, ...AT_ONCE });
  await guest.machine.ready();
  const work = 'seq 1 3000 | sort -n | sha256sum; (seq 1 2000 | gzip | gunzip | tail -1) & wait; modprobe ext4; nproc';
  const { code, stdout, stderr } = await guest.run(work);
  const digest = '2e57c67a8bbe706a08d6638ec67da02b67b3743ae7d35948cbcf8d1f45cae0a5';
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: `${digest}  -\n2000\n2\n`, stderr: '' });
  const { translation, vcpus } = (await guest.machine.stats()) as {
    translation: { regions: number };
    vcpus: { instructions: number; translated: number }[];
  };
  // Not a thousand regions, as with the threshold that is usual; how much of them runs is a matter of the thread that
  // makes them, which harts do not wait for.
  assert.ok(translation.regions > 5000, JSON.stringify(translation));
  const sum = (field: 'instructions' | 'translated'): number => vcpus.reduce((total, vcpu) => total + vcpu[field], 0);
  assert.ok(sum('translated') > sum('instructions') / 10, JSON.stringify(vcpus));
  assert.deepEqual(await guest.machine.stop(), { reason: 'poweroff', code: 0 });
});
