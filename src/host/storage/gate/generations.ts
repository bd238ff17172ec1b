/**
 * The lowest generation of each export that may use it, in a file of the gate's folder. A new one is written beside it, brought to
 * the medium, and renamed: after a crash at any point the file is the old or the new one, and what `raise` has answered is in it.
 * What it says in memory is ahead of the file: a generation is refused from the moment when `raise` is called.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { checkExport, checkGeneration } from './export-name.ts';

const FILE = 'generations.json';
const VERSION = 1;
const EXPORTS_MAX = 100_000;

export class Generations {
  readonly #folder: string;
  readonly #lowest: Map<string, number>;
  #saved: Promise<void> = Promise.resolve();

  private constructor(folder: string, lowest: Map<string, number>) {
    this.#folder = folder;
    this.#lowest = lowest;
  }

  /** Throws OperatorError `gate-state` where the file is not what `raise` writes; nothing is changed then. */
  static async open(folder: string): Promise<Generations> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, FILE);
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    return new Generations(folder, text === undefined ? new Map() : parse(path, text));
  }

  /** Undefined: nobody may use it yet. */
  lowest(exportName: string): number | undefined {
    return this.#lowest.get(exportName);
  }

  get entries(): ReadonlyMap<string, number> {
    return this.#lowest;
  }

  /**
   * From this call on older ones are refused; resolves when that is so after a crash as well. Throws OperatorError
   * `gate-generation-passed` where a later one is in force, HostError `gate-state` where it cannot be kept.
   */
  async raise(exportName: string, generation: number): Promise<void> {
    const before = this.#lowest.get(exportName);
    if (before !== undefined && before > generation) throw passed(exportName, generation, before);
    if (before === undefined && this.#lowest.size >= EXPORTS_MAX) {
      throw new OperatorError(
        'gate-full',
        'the gate has as many exports as it keeps',
        'Use another gate for this one.',
      );
    }
    this.#lowest.set(exportName, generation);
    // One after the other, and each writes all that is in force by then.
    const saved = this.#saved.catch(() => {}).then(() => this.#save());
    this.#saved = saved;
    try {
      await saved;
    } catch (cause) {
      throw new HostError('gate-state', `the generations cannot be kept in ${this.#folder}`, { cause });
    }
  }

  async #save(): Promise<void> {
    const path = join(this.#folder, FILE);
    const text = JSON.stringify({ version: VERSION, exports: Object.fromEntries(this.#lowest) });
    await using draft = await open(`${path}.new`, 'w', 0o600);
    await draft.writeFile(`${text}\n`);
    await draft.sync();
    await rename(`${path}.new`, path);
    await using folder = await open(this.#folder, 'r');
    await folder.sync();
  }
}

export function passed(exportName: string, generation: number, inForce: number): OperatorError {
  return new OperatorError(
    'gate-generation-passed',
    `generation ${generation} of export ${JSON.stringify(exportName)} is over: ${inForce} is the lowest one`,
    'Somebody else has taken it over; do not start on it.',
  );
}

function parse(path: string, text: string): Map<string, number> {
  try {
    const { version, exports } = JSON.parse(text) as { version?: unknown; exports?: unknown };
    if (version !== VERSION || typeof exports !== 'object' || exports === null) throw new RangeError('another version');
    const lowest = new Map(Object.entries(exports));
    for (const [name, generation] of lowest) {
      checkExport(name);
      checkGeneration(generation);
    }
    return lowest;
  } catch (cause) {
    throw new OperatorError(
      'gate-state',
      `${path} does not say which generations may write`,
      'Bring back the file as it was; without it, older users of the disks could write again.',
      { cause },
    );
  }
}
