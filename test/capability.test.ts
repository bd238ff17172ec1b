import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capabilitiesIn, isTool, lacks, requires } from './capability.ts';

test('the needs of a test file are read from its text', () => {
  const text = `
    test('a', requires('qemu', 'cross'), f);
    test('b', { ...requires('gdb'), timeout: 1 }, f);
    test('c', requires('qemu'), f);
    other('root'); requires(name); requires('gold');`;
  assert.deepEqual(capabilitiesIn(text), ['qemu', 'cross', 'gdb']);
});

test('what a machine has leaves no test out; what it lacks is said with its name', () => {
  assert.deepEqual(requires(), { skip: false });
  for (const name of ['root', 'apt', 'qemu', 'gdb', 'cross', 'chromium', 'netns', 'mke2fs'] as const) {
    const reason = lacks(name);
    assert.deepEqual(requires(name), { skip: reason === undefined ? false : `needs ${name}: ${reason}` });
  }
});

test('the toolbox provides the programs that results are compared with, and nothing else', () => {
  assert.deepEqual((['qemu', 'gdb', 'cross', 'root', 'netns'] as const).map(isTool), [true, true, true, false, false]);
});
