import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import {
  Aclint,
  Aplic,
  GenerationId,
  Imsic,
  Plic,
  Rtc,
  registersAsMarkdown,
  TestFinisher,
  Uart,
} from '../devices/index.ts';
import { matchesGolden } from './machine.testing.ts';
import { mapAsMarkdown } from './virt-map.ts';

const page = pathToFileURL(join(import.meta.dirname, '../../docs/machine.md'));
const HARTS = 4;

const tables: Record<string, string> = {
  map: mapAsMarkdown(),
  uart: registersAsMarkdown(Uart.registers),
  plic: registersAsMarkdown(Plic.registers(HARTS * 2)),
  aplic: registersAsMarkdown(Aplic.registers(HARTS)),
  imsic: registersAsMarkdown(Imsic.registers(HARTS)),
  aclint: registersAsMarkdown(Aclint.registers(HARTS)),
  rtc: registersAsMarkdown(Rtc.registers),
  generation: registersAsMarkdown(GenerationId.registers),
  finisher: registersAsMarkdown(TestFinisher.registers),
};

test("the page's tables are those of the code", () => {
  const text = readFileSync(page, 'utf8');
  const found: string[] = [];
  const fresh = text.replace(/<!-- generated: (\w+) -->\n[\s\S]*?<!-- end -->/g, (_, name: string) => {
    found.push(name);
    return `<!-- generated: ${name} -->\n${tables[name]}\n<!-- end -->`;
  });
  assert.deepEqual(found, Object.keys(tables));
  matchesGolden(fresh, page);
});

test('the page lists every error that boot and device trees can give', () => {
  const text = readFileSync(page, 'utf8');
  const roles = { kernel: true, firmware: true, initrd: true };
  const codes = new Set<string>();
  for (const folder of ['boot/', 'fdt/', '']) {
    const files = readdirSync(new URL(`./${folder}`, import.meta.url)).filter((name) => /^[\w-]+\.ts$/.test(name));
    for (const name of files) {
      const code = readFileSync(new URL(`./${folder}${name}`, import.meta.url), 'utf8');
      for (const [, text] of code.matchAll(/new OperatorError\(\s*['`]([^'`]+)['`]/g)) codes.add(text ?? '');
      if (/reachable \? 'memory-too-small'/.test(code)) codes.add('memory-too-small');
    }
  }
  assert.ok(codes.size >= 10, [...codes].join());
  for (const code of codes) {
    const spelled = code.startsWith('$') ? Object.keys(roles).map((role) => code.replace(/\$\{[^}]*\}/, role)) : [code];
    assert.ok(
      spelled.some((name) => text.includes(`\`${name}\``)),
      `${code} is not in docs/machine.md`,
    );
  }
});
