/** The engine's functions, imported into a module as its code comes to call them. */
import { Library, type Signature } from '../engine/index.ts';
import type { FunctionRef, ModuleBuilder } from '../wasm/index.ts';

export class ImportLibrary extends Library {
  readonly #module: ModuleBuilder;
  readonly #signatures: ReadonlyMap<string, Signature>;
  readonly #imported = new Map<string, FunctionRef>();

  constructor(module: ModuleBuilder, signatures: ReadonlyMap<string, Signature>, options: { hasCompressed: boolean }) {
    super({ ...options, emulates: false, hasHypervisor: signatures.has('guest_load') });
    this.#module = module;
    this.#signatures = signatures;
  }

  override get(name: string): FunctionRef {
    const known = this.#imported.get(name);
    if (known !== undefined) return known;
    const signature = this.#signatures.get(name);
    if (signature === undefined) return super.get(name);
    const ref = this.#module.importFunction(name, signature.params, signature.results);
    this.#imported.set(name, ref);
    return ref;
  }
}
