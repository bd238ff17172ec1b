import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runPowerCuts } from './power-cut.testing.ts';

for (const withErrors of [false, true]) {
  const when = withErrors ? ', while writes and syncs fail now and then' : '';
  test(`qcow2: power may be cut at any write${when}: the image is clean and holds what was flushed`, async () => {
    let media = 0;
    for (let seed = 1; seed <= 3; seed++) {
      media += await runPowerCuts({ seed, clusterBytes: [512, 1024, 4096][seed % 3] ?? 512, withErrors });
    }
    assert.ok(media > 200, `${media} media`);
  });
}
