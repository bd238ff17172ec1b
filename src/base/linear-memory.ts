/** Makes WebAssembly memories of either width. The types that browsers' libraries declare know only one of them. */
type Descriptor = ConstructorParameters<typeof WebAssembly.Memory>[0];

/** A zeroed memory of a fixed size, in pages of 64 KiB. Throws RangeError where the host has not the room. */
export function createLinearMemory(options: {
  readonly width: 32 | 64;
  readonly shared: boolean;
  readonly pages: number;
}): WebAssembly.Memory {
  const { width, shared, pages } = options;
  if (width === 32) return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  const wide = { initial: BigInt(pages), maximum: BigInt(pages), shared, address: 'i64' };
  return new WebAssembly.Memory(wide as unknown as Descriptor);
}
