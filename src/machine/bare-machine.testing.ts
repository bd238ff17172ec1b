/**
 * A board with a program in place of a kernel, on this thread by the instruction clock, slice by slice: for tests of what
 * is told of machines that run.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { generateEngine, Processor } from '../engine/index.ts';
import type { Runner } from '../hypervisor/index.ts';
import { assemble, parseCpuModel } from '../isa/index.ts';
import { Board } from './board.ts';
import { type BoardOptions, boardConfig, extensionsOf } from './board-config.ts';
import { boardRunner, tellOfFrames } from './board-runner.ts';
import { CodeExplainer } from './explain.ts';
import type { CodeExplanation } from './explanation.ts';
import { bareSlot, slotLayout } from './slots.ts';

/** Where the program begins, in supervisor mode. */
export const START = 0x8020_0000;

export class BareMachine {
  readonly board: Board;
  readonly symbols: ReadonlyMap<string, bigint>;
  readonly explainer: CodeExplainer;
  readonly #runner: Runner;

  constructor(source: string, options: BoardOptions = {}) {
    const given = {
      memoryBytes: 16 << 20,
      network: false,
      clock: 'instructions',
      hotThreshold: 50,
      ...options,
    } as const;
    const config = boardConfig(given, false);
    let steps = 0;
    const clock = { ticks: () => BigInt(steps), wallMs: () => steps };
    const board = Board.create(config, {
      clock,
      slotLayout,
      slot: bareSlot,
    });
    const { bytes, symbols } = assemble(source, BigInt(START));
    board.load({
      mode: 'S',
      entry: START,
      fdtAddress: 0,
      segments: [{ what: 'program', gpa: START, sizeBytes: bytes.length, bytes }],
    });
    const code = generateEngine(
      board.memory.shape.description,
      extensionsOf(given),
      parseCpuModel(config.cpu).emulated,
    );
    code.tables.write(board.memory.buffer);
    code.tables.writePolicies(board.memory.buffer, config.policies);
    const processor = new Processor(new WebAssembly.Module(code.bytes), board.memory.memory, {
      width: 32,
      ticks: () => steps,
    });
    tellOfFrames(processor, () => board);
    this.#runner = boardRunner(
      board,
      processor,
      { ticks: () => steps++, stopped: () => assert.fail('no debugger') },
      { budget: 1000, clock: 'instructions' },
      code.signatures,
    );
    for (const vcpu of board.vcpus) processor.contextChanged(vcpu.at);
    this.board = board;
    this.symbols = symbols;
    this.explainer = new CodeExplainer(board, code.signatures);
  }

  run(slices: number): this {
    for (let i = 0; i < slices; i++) for (const vcpu of this.board.vcpus) this.#runner.slice(vcpu);
    return this;
  }

  at(where: string | bigint): CodeExplanation {
    const pc = typeof where === 'bigint' ? where : this.symbols.get(where);
    assert.ok(pc !== undefined, `no label ${where}`);
    return this.explainer.explain({ hart: 0, pc });
  }

  /** Everything that there is of it. */
  hash(): string {
    return createHash('sha256').update(this.board.memory.u8).digest('hex');
  }
}
