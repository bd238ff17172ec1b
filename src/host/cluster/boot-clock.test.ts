import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { BootClock } from './boot-clock.ts';

test('it never goes back, and goes as /proc/uptime does', () => {
  const clock = new BootClock();
  let last = clock.nowMs();
  for (let i = 0; i < 20_000; i++) {
    const now = clock.nowMs();
    assert.ok(now >= last, `${now} after ${last}`);
    last = now;
  }
});

test('two processes see the same time', () => {
  const clock = new BootClock();
  const code = `import { BootClock } from ${JSON.stringify(new URL('./boot-clock.ts', import.meta.url).href)};
    const clock = new BootClock(); process.stdout.write(String(clock.nowMs()));`;
  const before = clock.nowMs();
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
  const after = clock.nowMs();
  const between = Number(stdout);
  assert.ok(before - 1 < between && between < after + 1, `${before} ${between} ${after} ${stderr}`);
});
