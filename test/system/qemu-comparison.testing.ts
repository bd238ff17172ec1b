/**
 * Runs a random program (random-blocks.testing.ts) in QEMU and on the engine and compares the logs. QEMU's RAM is a
 * file, so that nothing needs to pass through a console. A block that differs is cut shorter and shorter, until the
 * unit is found behind which the two part.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assert, must } from '../../src/base/assert.ts';
import { BareHart } from '../../src/engine/engine.testing.ts';
import { createDecoder, disassemble } from '../../src/isa/index.ts';
import {
  EXIT_DEVICE,
  extensions,
  imageOf,
  LOG_NAMES,
  RAM_BASE,
  RAM_BYTES,
  type RandomProgram,
  type Result,
  resultOf,
} from './random-blocks.testing.ts';

const TIMEOUT_MS = 120_000;
const MOST_STEPS = 1e8;
const decoder = createDecoder(extensions);

/** What differs, as text; undefined if nothing does. `instructions`: how many the engine executed. */
export interface Comparison {
  readonly difference: string | undefined;
  readonly instructions: number;
}

export async function compareWithQemu(path: string, program: RandomProgram): Promise<Comparison> {
  const blockCount = program.blocks.length;
  const { result, instructions } = runHere(imageOf(program), blockCount);
  const theirs = await runInQemu(path, imageOf(program), blockCount);
  const block = theirs.log.findIndex((line, i) => line.some((value, k) => value !== result.log[i]?.[k]));
  if (block >= 0) return { difference: await narrow(path, program, block), instructions };
  const byte = theirs.data.findIndex((value, i) => value !== result.data[i]);
  const difference = byte < 0 ? undefined : `seed ${program.seed}: byte ${byte} of the data window differs at the end`;
  return { difference, instructions };
}

async function narrow(path: string, program: RandomProgram, block: number): Promise<string> {
  const units = must(program.blocks[block]);
  let [same, differs] = [0, units.length];
  while (differs - same > 1) {
    const middle = Math.floor((same + differs) / 2);
    const image = imageOf(program, { block, units: middle });
    const ours = runHere(image, block + 1).result;
    const theirs = await runInQemu(path, image, block + 1);
    // What stands behind the line's registers, its pc, depends on the cut, but alike for both.
    if (theirs.log[block]?.some((value, k) => value !== ours.log[block]?.[k])) differs = middle;
    else same = middle;
  }
  const image = imageOf(program, { block, units: differs });
  const before = runHere(imageOf(program, { block, units: same }), block + 1).result.log[block] ?? [];
  const ours = runHere(image, block + 1).result.log[block] ?? [];
  const theirs = (await runInQemu(path, image, block + 1)).log[block] ?? [];
  const text = (units[differs - 1] ?? []).map(({ bits }) => `${bits.toString(16)} ${disassemble(decoder, bits, 0n)}`);
  const lines = LOG_NAMES.flatMap((name, i) =>
    ours[i] === theirs[i] ? [] : [`${name}: QEMU ${theirs[i]?.toString(16)} engine ${ours[i]?.toString(16)}`],
  );
  const state = LOG_NAMES.map((name, i) => `${name}=${before[i]?.toString(16)}`).join(' ');
  return `seed ${program.seed} block ${block} unit ${differs}: ${text.join('; ')}\n${lines.join('\n')}\nbefore: ${state}`;
}

function runHere(image: Uint8Array, blockCount: number): { result: Result; instructions: number } {
  const hart = new BareHart({ extensions, ramBase: RAM_BASE, ramBytes: RAM_BYTES, codeBytes: 64 << 20 });
  hart.write(RAM_BASE, image);
  hart.state.pc = BigInt(RAM_BASE);
  hart.processor.contextChanged(hart.at);
  for (;;) {
    const exit = hart.processor.run(hart.at, hart.state, 1_000_000);
    assert(hart.state.steps < MOST_STEPS, 'the program does not end');
    if (exit.kind === 'mmio') {
      assert(exit.gpa === EXIT_DEVICE && exit.isWrite, `an access at ${exit.gpa.toString(16)}`);
      return { result: resultOf(hart.contents(), blockCount), instructions: Number(hart.state.instret) };
    }
    assert(exit.kind === 'budget', exit.kind);
  }
}

async function runInQemu(path: string, image: Uint8Array, blockCount: number): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-random-'));
  try {
    const file = join(folder, 'ram');
    writeFileSync(file, image);
    const backend = `memory-backend-file,id=ram,size=${RAM_BYTES},mem-path=${file},share=on`;
    const machine = ['-machine', 'virt,memory-backend=ram', '-m', `${RAM_BYTES >> 20}M`, '-object', backend];
    const rest = ['-cpu', 'max', '-bios', 'none', '-display', 'none', '-serial', 'none', '-monitor', 'none'];
    await promisify(execFile)(path, [...machine, ...rest], { timeout: TIMEOUT_MS });
    return resultOf(new Uint8Array(readFileSync(file)), blockCount);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
