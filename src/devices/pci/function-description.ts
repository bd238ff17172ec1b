/** What a function is (function.ts): its identity, BARs and capabilities, the same on every thread. */
import { assert, must } from '../../base/assert.ts';
import type { BarDescription } from './bar.ts';
import type { Capability, FunctionEffects, MsixShape } from './capabilities.ts';
import type { CONFIG_BYTES, ConfigRow, EXTENDED_AT } from './config-space.ts';
import type { HeaderShape, Identity } from './header.ts';
import { MSIX } from './spec.ts';

export interface FunctionDescription {
  /** Of the kind, for messages and docs: `virtio-net-pci`. */
  readonly kind: string;
  readonly identity: Identity;
  readonly bars: readonly BarDescription[];
  /** In the order of the list that software walks. */
  readonly capabilities: readonly Capability[];
  /** 1 is INTA, the default; 0: it has no pin. */
  readonly pin?: number;
  /** 256: of a conventional function, beyond which reads are all ones. */
  readonly configBytes?: typeof EXTENDED_AT | typeof CONFIG_BYTES;
  /** Type 0 by default. */
  readonly header?: (shape: HeaderShape, effects: FunctionEffects) => ConfigRow[];
  /**
   * Function-level reset, or the card was cut off: the device behind it forgets what its driver told it. With the
   * function's lock, on any thread, configuration space reset already. At power-on of the machine the device is reset as a
   * model of its own.
   */
  onReset?(): void;
}

/** Vectors of MSI-X. */
export function vectorsOf({ capabilities }: Pick<FunctionDescription, 'capabilities'>): number {
  return msixOf({ capabilities })?.vectors ?? 0;
}

export function msixOf({ capabilities }: Pick<FunctionDescription, 'capabilities'>): MsixShape | undefined {
  return capabilities.find(({ msix }) => msix !== undefined)?.msix;
}

/** Pending bits come in quadwords (section 7.7.2). */
export function pendingBytes(vectors: number): number {
  return Math.ceil(vectors / 64) * 8;
}

/** Throws AssertionError where MSI-X does not lie in the function's BARs. */
export function checkMsix(description: FunctionDescription): void {
  const shape = msixOf(description);
  if (shape === undefined) return;
  const { table, pending, vectors } = shape;
  const parts = [
    { ...table, bytes: vectors * MSIX.entryBytes },
    { ...pending, bytes: pendingBytes(vectors) },
  ];
  for (const { bar, offset, bytes } of parts) {
    const { sizeBytes, kind } = must(
      description.bars.find(({ index }) => index === bar),
      `${description.kind}: MSI-X lies behind BAR${bar}, which there is not`,
    );
    assert(kind !== 'io' && offset + bytes <= sizeBytes, `${description.kind}: BAR${bar} has no room for MSI-X`);
  }
}
