import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { configAsMarkdown } from './config-space.ts';
import { FakeMachine } from './pci.testing.ts';

const PAGE = join(import.meta.dirname, '../../../docs/pcie.md');

const machine = new FakeMachine({
  ports: [{ id: 'rp0', device: 1, func: 0, slot: 0 }],
  functions: [
    { id: 'msix', port: 'rp0', device: 0, func: 0 },
    { id: 'msi', device: 2, func: 0, useMsi: true },
  ],
});
const [card = [], onRootBus = []] = machine.endpoints.map(({ func }) => func.config.rows);

for (const [what, rows] of [
  ['host bridge', machine.fabric.hostBridge.config.rows],
  ['root port', machine.port().func.config.rows],
  ['card', card.filter(({ name }) => !/^(Fake|Scratch|BAR)/.test(name))],
  ['msi', onRootBus.filter(({ name }) => /^(MSI|Message|Mask|Extended|Pending)/.test(name))],
] as const) {
  test(`docs/pcie.md shows the registers of ${what} as they are (ACCEPT=1 writes them)`, () => {
    assert.ok(rows.length > 0);
    const page = readFileSync(PAGE, 'utf8');
    const marks = new RegExp(`(<!-- generated: ${what} -->\\n)[^]*?(<!-- end -->)`);
    assert.match(page, marks);
    const wanted = page.replace(marks, (_, open, close) => `${open}${configAsMarkdown(rows)}\n${close}`);
    if (process.env['ACCEPT'] === '1') writeFileSync(PAGE, wanted);
    else assert.equal(page, wanted);
  });
}
