/**
 * Generated code, read: each file in golden/ holds a guest program, the region's blocks and its WebAssembly. What
 * changes on purpose is accepted by `npm test -- src/translator --accept`, and read again in the commit's diff.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { difference, generate, parseGolden } from './golden.testing.ts';

const folder = join(import.meta.dirname, 'golden');
const accepts = process.env['ACCEPT'] === '1';

describe('generated code', () => {
  for (const name of readdirSync(folder)) {
    test(name.replace('.txt', '').replaceAll('-', ' '), () => {
      const path = join(folder, name);
      const text = readFileSync(path, 'utf8');
      const { input, expected } = parseGolden(text);
      const actual = generate(input);
      if (accepts) {
        if (actual !== text) writeFileSync(path, actual);
        return;
      }
      if (actual === expected) return;
      const where = relative(join(import.meta.dirname, '../..'), path);
      assert.fail(
        `${where} differs from what is generated now:\n${difference(expected, actual)}\n` +
          'If it is meant to be so: npm test -- src/translator/golden.test.ts --accept',
      );
    });
  }
});

test('a difference shows the lines that changed, and what is around them', () => {
  const lines = Array.from({ length: 20 }, (_, i) => `line ${i}`);
  const changed = lines.with(10, 'other').toSpliced(19, 1);
  assert.equal(
    difference(lines.join('\n'), changed.join('\n')),
    [
      ...['  line 7', '  line 8', '  line 9', '- line 10', '+ other', '  line 11', '  line 12', '  line 13'],
      ...['  ...', '  line 16', '  line 17', '  line 18', '- line 19'],
    ].join('\n'),
  );
});

test('a golden file is its program and what is behind it', () => {
  const program = '# A jump to itself.\n#! steps=3\nhere: j here';
  const text = generate(program);
  assert.deepEqual(parseGolden(text), { input: program, expected: text });
  assert.match(
    text,
    /=== region\n1 instructions[^\n]*\nblock 0x80000000\n {2}80000000 {2}0000006f {2}jal zero, 0x80000000\n/,
  );
  assert.match(text, /=== wasm\nfunc \$region1 /);
});
