/** `kage protect`, with a machine of no guest behind it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { kage, ownRuntimeFolder } from './terminal.testing.ts';

ownRuntimeFolder();

describe('kage protect', () => {
  test('who lost what, who tried what; a change', async () => {
    await kage(['run', '-q', '-d', '-n', 'web']);
    const shown = await kage(['protect', 'web']);
    assert.equal(
      shown.stdout,
      `Nothing is denied.

Forbidden accesses:
DOMAIN  FETCHES  LOADS  STORES  WALKS  UPDATES
kernel  0        0      1       0      0
user    0        0      0       0      0
`,
    );
    const change = (...args: string[]): ReturnType<typeof kage> => kage(['protect', 'web', ...args]);
    const quiet = { code: 0, stdout: '', stderr: '' };
    assert.deepEqual(await change('--domain', 'kernel', '--range', '0x80200000+2M', '--deny', 'wx'), quiet);
    assert.deepEqual(await change('--domain', 'user,kernel', '--range', '80200010-80200fff', '--allow', 'r'), quiet);
    assert.deepEqual(await change('--domain', 'user', '--range', '80201000-80203000', '--deny', 'r'), quiet);
    assert.match(
      (await kage(['protect', 'web'])).stdout,
      /^DOMAIN +DENIED +FROM +BELOW\nkernel +wx +0x80200000 +0x80400000\nuser +r +0x80201000 +0x80203000\n\n/,
    );
    assert.equal(
      (await change('--log')).stdout,
      'hart 1 supervisor 80200000 kernel may not w: store at ffffffff80001000, physical 80201000, frame 1267\n',
    );
    assert.equal((JSON.parse((await change('--log', '--format', 'json')).stdout) as unknown[]).length, 1);
    const wrong = await change('--domain', 'disk', '--range', '0', '--deny', 'w');
    assert.deepEqual([wrong.code, wrong.stderr], [125, 'kage: there is no domain disk. Name one of kernel, user.\n']);
    const nowhere = await change('--domain', 'kernel', '--kernel-text', '--deny', 'w');
    assert.match(nowhere.stderr, /does not say where its kernel lies\. Give the place/);
    await kage(['kill', 'web']);
  });
});
