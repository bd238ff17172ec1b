/**
 * Golden files of generated code: a guest program and what the translator makes of it, in one file that people read.
 *
 *   # What the case is about.
 *   #! head=loop steps=40           head: where the region begins (a label; the first instruction by default)
 *   loop: addi a0, a0, -1           steps: instructions that are executed before, so that code and jumps are known
 *         bnez a0, loop             cpu: the hart's extensions; size=second: limits of the second translation
 *                                   twins=on: with slow code for misses
 *                                   order=total-store: of the host's processors
 *                                   promoted: labels of sensitive instructions, with commas
 *   === region
 *   ... blocks, and where control goes
 *   === wasm
 *   ... the function
 */
import { must } from '../base/assert.ts';
import { BareHart } from '../engine/engine.testing.ts';
import { assemble, createDecoder, parseCpu } from '../isa/index.ts';
import { CodeSource } from './code-source.ts';
import { blockLines, explainRegion } from './explain.ts';
import { DEFAULT_TRANSLATION } from './options.ts';
import { Promotion } from './promotion.ts';

const BASE = 0x8000_0000;
const FLOAT_ON = 0x6000n;

export interface Golden {
  /** Everything in front of what is generated. */
  readonly input: string;
  readonly expected: string;
}

export function parseGolden(text: string): Golden {
  const at = text.search(/^=== region$/m);
  return at < 0 ? { input: text.trimEnd(), expected: '' } : { input: text.slice(0, at).trimEnd(), expected: text };
}

/** The whole file, with what the translator makes of its program now. */
export function generate(input: string): string {
  const options = directives(input);
  const { bytes, symbols } = assemble(input, BigInt(BASE));
  const extensions = parseCpu(options['cpu'] ?? 'rv64');
  let made: { region: ReturnType<typeof explainRegion> } | undefined;
  const hart = new BareHart({
    extensions,
    ramBase: BASE,
    ramBytes: 64 << 10,
    translate: ({ memory, signatures }) => ({
      start: () => {},
      prepare: (state) => {
        if (state.steps === 0n) return true;
        const head = options['head'] === undefined ? BigInt(BASE) : symbols.get(options['head']);
        if (head === undefined) throw new Error(`there is no label ${options['head']}`);
        const hasCompressed = extensions.has('c');
        const limits = options['size'] === 'second' ? DEFAULT_TRANSLATION.second : DEFAULT_TRANSLATION.first;
        const source = new CodeSource(memory, { pc: head, bank: Number(state.fetchBank), jumps: state.jumps });
        const promotion = new Promotion(memory, 'always', 1 << 20);
        for (const label of options['promoted']?.split(',') ?? []) {
          const pc = must(symbols.get(label), `there is no label ${label}`);
          promotion.promote(must(source.page(0)).decoded + Number(pc & 0xfffn) * 4, pc);
        }
        const region = explainRegion(source, Number(head & 0xfffn), {
          ...{ decoder: createDecoder(extensions), hasCompressed, signatures, number: 1, fuses: true },
          memory: memory.shape.description,
          twins: options['twins'] === 'on',
          hasTotalStoreOrder: options['order'] === 'total-store',
          limits: {
            ...{ ...limits, followsCold: false, hasCompressed },
            siteOf: (entry, pc) => promotion.numberOf(entry, pc),
          },
        });
        made = { region };
        return true;
      },
    }),
  });
  hart.write(BASE, bytes);
  hart.state.pc = BigInt(BASE);
  hart.state.mstatus |= FLOAT_ON;
  hart.run(Number(options['steps'] ?? 20));
  hart.run(1);
  const region = made?.region?.region;
  if (region === undefined) return `${input}\n=== region\nnone can be made\n`;
  const blocks = region.blocks.flatMap((block) => blockLines(block));
  const summary = `${region.instructions} instructions, ${region.wasm.bytes} bytes of WebAssembly`;
  return `${[input, '=== region', summary, ...blocks, '=== wasm', ...region.wasm.lines].join('\n')}\n`;
}

function directives(input: string): Readonly<Record<string, string>> {
  const lines = input.split('\n').filter((line) => line.startsWith('#!'));
  const words = lines.flatMap((line) => line.slice(2).trim().split(/\s+/));
  return Object.fromEntries(words.map((word) => word.split('=')));
}

const CONTEXT = 3;

/** The lines that differ, `-` expected and `+` now, each with a few lines around it. */
export function difference(expected: string, actual: string): string {
  const [old, now] = [expected.split('\n'), actual.split('\n')];
  const marked = align(old, now);
  const isNear = marked.map((_, i) =>
    marked.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some((line) => !line.startsWith(' ')),
  );
  return marked
    .map((line, i) => (isNear[i] ? line : isNear[i - 1] ? '  ...' : undefined))
    .filter((line) => line !== undefined)
    .join('\n');
}

/** A longest common subsequence, as lines marked ` `, `-`, `+`. */
function align(old: readonly string[], now: readonly string[]): string[] {
  const width = now.length + 1;
  const best = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = now.length - 1; j >= 0; j--)
      best[i * width + j] =
        old[i] === now[j]
          ? (best[(i + 1) * width + j + 1] ?? 0) + 1
          : Math.max(best[(i + 1) * width + j] ?? 0, best[i * width + j + 1] ?? 0);
  const out: string[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      out.push(`  ${old[i++]}`);
      j++;
    } else if (
      j >= now.length ||
      (i < old.length && (best[(i + 1) * width + j] ?? 0) >= (best[i * width + j + 1] ?? 0))
    )
      out.push(`- ${old[i++]}`);
    else out.push(`+ ${now[j++]}`);
  }
  return out;
}
