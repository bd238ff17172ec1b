/**
 * In which of the kernel's functions a guest's instructions are spent: looks at the pc each millisecond, as it was when
 * the vCPU last left the engine, and weighs it with the instructions since. The guest's agent hands out the symbols.
 */
import type { MachineHandle } from '../src/host/machine/index.ts';
import type { BoardStats } from '../src/machine/index.ts';

const SHOWN = 24;
const USER = 'user programs';

interface Symbol {
  readonly address: bigint;
  readonly name: string;
}

export class FunctionProfile {
  readonly #machine: MachineHandle;
  readonly #samples: { readonly pc: bigint; readonly mode: number; readonly instructions: number }[] = [];
  readonly #timer: NodeJS.Timeout;
  #before = 0;

  constructor(machine: MachineHandle) {
    this.#machine = machine;
    this.#timer = setInterval(() => void this.#look(), 1);
  }

  /** Lines of name and share, the largest first. The machine runs, and its agent answers. */
  async end(): Promise<[string, string][]> {
    clearInterval(this.#timer);
    await this.#machine.ready();
    const { stdout } = await this.#machine.exec(['cat', '/proc/kallsyms']);
    const symbols = parseSymbols(new TextDecoder().decode(stdout));
    const byName = new Map<string, number>();
    let all = 0;
    for (const { pc, mode, instructions } of this.#samples) {
      const name = mode === 0 ? USER : nameAt(symbols, pc);
      byName.set(name, (byName.get(name) ?? 0) + instructions);
      all += instructions;
    }
    const largest = [...byName].sort(([, a], [, b]) => b - a).slice(0, SHOWN);
    return largest.map(([name, count]) => [`  ${name}`, `${((100 * count) / all).toFixed(1)} % of the instructions`]);
  }

  async #look(): Promise<void> {
    const [vcpu] = ((await this.#machine.stats()) as unknown as BoardStats).vcpus;
    if (vcpu === undefined || vcpu.instructions === this.#before) return;
    this.#samples.push({ pc: BigInt(vcpu.pc), mode: vcpu.mode, instructions: vcpu.instructions - this.#before });
    this.#before = vcpu.instructions;
  }
}

function parseSymbols(text: string): Symbol[] {
  const symbols: Symbol[] = [];
  for (const [, address, name] of text.matchAll(/^([0-9a-f]{16}) [tT] (\S+)/gm))
    symbols.push({ address: BigInt(`0x${address}`), name: name ?? '' });
  return symbols.sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** The last symbol at or below `pc`. */
function nameAt(symbols: readonly Symbol[], pc: bigint): string {
  let [low, high] = [0, symbols.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((symbols[middle]?.address ?? 0n) <= pc) low = middle + 1;
    else high = middle;
  }
  return symbols[low - 1]?.name ?? `0x${pc.toString(16)}, before page tables`;
}
