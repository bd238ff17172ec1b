import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { endProcessorAhead, startProcessorAhead, takeProcessorWorker } from './processor-worker-start.ts';

describe("a processor's worker that was started ahead", () => {
  test('is the first that is asked for, once', async () => {
    startProcessorAhead();
    const second = takeProcessorWorker(1);
    const first = takeProcessorWorker(0);
    const other = takeProcessorWorker(0);
    assert.ok(first.threadId < second.threadId, 'it was there before');
    assert.ok(other.threadId > second.threadId, 'another takes its place');
    await Promise.all([first, second, other].map((worker) => worker.terminate()));
  });

  test('is no more where it was ended', async () => {
    startProcessorAhead();
    endProcessorAhead();
    const before = takeProcessorWorker(1);
    const after = takeProcessorWorker(0);
    assert.ok(after.threadId > before.threadId);
    await Promise.all([before, after].map((worker) => worker.terminate()));
  });

  test('keeps no process alive', () => {
    const module = new URL('./processor-worker-start.ts', import.meta.url).href;
    const code = `import { startProcessorAhead } from '${module}'; startProcessorAhead();`;
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  });
});
