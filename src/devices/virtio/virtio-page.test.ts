import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { registersAsMarkdown } from '../registers.ts';
import { mmioRegisters } from './mmio-registers.ts';
import { pciRegisters } from './pci-registers.ts';
import { VIOLATIONS } from './spec.ts';

const PAGE = join(import.meta.dirname, '../../../docs/virtio.md');

for (const [what, table] of [
  ['registers', registersAsMarkdown(mmioRegisters)],
  ['common configuration', registersAsMarkdown(pciRegisters)],
] as const) {
  test(`docs/virtio.md shows the ${what} as they are (ACCEPT=1 writes them)`, () => {
    const page = readFileSync(PAGE, 'utf8');
    const marks = new RegExp(`(<!-- generated: ${what} -->\\n)[^]*?(<!-- end -->)`);
    assert.match(page, marks);
    const wanted = page.replace(marks, (_, open, close) => `${open}${table}\n${close}`);
    if (process.env['ACCEPT'] === '1') writeFileSync(PAGE, wanted);
    else assert.equal(page, wanted);
  });
}

test('docs/virtio.md explains every violation that is counted', () => {
  const page = readFileSync(PAGE, 'utf8');
  for (const what of VIOLATIONS) assert.ok(page.includes(`| \`${what}\` |`), what);
});
