import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { csrsAsMarkdown } from './markdown.ts';

test("docs/privileged.md's table of CSRs is the code's", () => {
  const page = join(import.meta.dirname, '../../../docs/privileged.md');
  const text = readFileSync(page, 'utf8');
  const pattern = /<!-- generated: csrs -->\n[\s\S]*?<!-- end -->/;
  assert.match(text, pattern);
  const fresh = text.replace(pattern, `<!-- generated: csrs -->\n${csrsAsMarkdown()}\n<!-- end -->`);
  if (process.env['ACCEPT'] === '1') writeFileSync(page, fresh);
  assert.equal(readFileSync(page, 'utf8'), fresh, 'ACCEPT=1 writes the new table');
});
