/**
 * The few globals that every JavaScript host has and that the ES library types do not declare. The core is
 * type-checked without Node's and the DOM's types; this is all it may use beyond the language.
 */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array | ArrayBuffer);
  }
  class Instance {
    constructor(module: Module, imports?: Record<string, Record<string, unknown>>);
    readonly exports: Record<string, unknown>;
  }
  class Memory {
    constructor(descriptor: {
      initial: number | bigint;
      maximum?: number | bigint;
      shared?: boolean;
      address?: 'i32' | 'i64';
    });
    readonly buffer: ArrayBufferLike;
    grow(pages: number | bigint): number | bigint;
  }
  class Table {
    constructor(descriptor: { element: 'anyfunc'; initial: number; maximum?: number });
    get(index: number): unknown;
    set(index: number, value: unknown): void;
    grow(count: number): number;
    readonly length: number;
  }
}
declare class TextEncoder {
  encode(text: string): Uint8Array<ArrayBuffer>;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean });
  decode(bytes?: Uint8Array, options?: { stream?: boolean }): string;
}
