/** An explanation of code as text for people: what it is, its page, its blocks, its WebAssembly. */
import { blockLines } from '../translator/index.ts';
import type { CodeExplanation, PageExplanation } from './explanation.ts';

/** Lines, without newlines; `wasm`: with the generated code. */
export function explanationLines(told: CodeExplanation, options: { readonly wasm: boolean }): string[] {
  const { hart, pc, mode, level, physical, summary, page, blocks, wasm } = told;
  const where = physical === undefined ? '' : `, guest-physical ${physical}`;
  const who = level === 1 ? `${mode} mode` : `${mode} mode (level ${level})`;
  const lines = [`${pc}, hart ${hart} in ${who}${where}`, summary];
  if (page !== undefined) lines.push(...countLines(told), '', ...pageLines(page));
  if (blocks.length > 0) lines.push('');
  for (const block of blocks) lines.push(...blockLines(block, reachedText(block.reached)));
  if (wasm === undefined || !options.wasm) return lines;
  const of = wasm.of === 'region' ? 'WebAssembly of the region' : 'WebAssembly that would be made of it';
  lines.push('', `${of}, ${wasm.bytes} bytes`, ...wasm.lines);
  return lines;
}

function countLines({ reached, thresholds }: CodeExplanation): string[] {
  const [first, second] = thresholds;
  if (first === undefined) return [];
  const larger = second === undefined ? '' : `, into a larger region from ${second} on`;
  return [`Jumps to it that were counted: ${reached}; code is translated from ${first} on${larger}.`];
}

function pageLines({ at, decoded, hasOverlay, regions, touching }: PageExplanation): string[] {
  const overlay = hasOverlay ? ', with an overlay' : '';
  const numbers = touching.length === 0 ? '' : `, regions with instructions of it: ${touching.join(' ')}`;
  const lines = [`page ${at}${overlay}: ${decoded} instructions decoded${numbers}`];
  if (regions.length === 0) return lines;
  const rows = regions.map(({ at: head, number, instructions, entered, module }) => [
    head,
    `region ${number}`,
    `${instructions} instructions`,
    `entered ${entered} times`,
    `module ${module}`,
  ]);
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  for (const row of rows) lines.push(`  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd());
  return lines;
}

function reachedText(reached: number): string {
  return reached === 0 ? '' : `, reached ${reached} times`;
}
