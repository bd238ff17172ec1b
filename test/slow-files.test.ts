import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { testFiles } from '../tools/files.ts';
import { inOrder, slowFiles } from './slow-files.ts';

const root = dirname(import.meta.dirname);

test('slow files are there; they come first, the slowest at the beginning, and the others as they were', () => {
  const there = [...testFiles(root, 'unit'), ...testFiles(root, 'system')];
  assert.deepEqual(
    slowFiles.filter((file) => !there.includes(file)),
    [],
  );
  const [slower, slow] = ['test/system/nested.test.ts', 'test/system/aia.test.ts'];
  assert.deepEqual(inOrder(['a.test.ts', slow, 'b.test.ts', slower]), [slower, slow, 'a.test.ts', 'b.test.ts']);
});
