import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { aliasesAsMarkdown, compressedAsMarkdown, extensionsAsMarkdown, rowsAsMarkdown } from './markdown.ts';

const page = join(import.meta.dirname, '../../docs/isa.md');
const tables: readonly [name: string, text: string][] = [
  ['rows', rowsAsMarkdown()],
  ['compressed rows', compressedAsMarkdown()],
  ['aliases', aliasesAsMarkdown()],
  ['extensions', extensionsAsMarkdown()],
];
for (const [name, table] of tables) {
  test(`docs/isa.md's table of ${name} is the code's`, () => {
    const text = readFileSync(page, 'utf8');
    const pattern = new RegExp(`<!-- generated: ${name} -->\n[\\s\\S]*?<!-- end -->`);
    assert.match(text, pattern);
    const fresh = text.replace(pattern, () => `<!-- generated: ${name} -->\n\n${table}\n\n<!-- end -->`);
    if (process.env['ACCEPT'] === '1') writeFileSync(page, fresh);
    assert.equal(readFileSync(page, 'utf8'), fresh, 'ACCEPT=1 writes the new table');
  });
}
