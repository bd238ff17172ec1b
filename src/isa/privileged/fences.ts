/** What sfence.vma and its kin name: one address or all, one space (ASID, VMID) or all. */
import type { Machine } from '../machine.ts';

type Fence<V> = (address: V | undefined, space: V | undefined) => void;

/** rs1 = x0: all addresses; rs2 = x0: all address spaces. */
export function fenceSelected<V, C>(m: Machine<V, C>, fence: Fence<V>): void {
  const address = m.let(m.rs1());
  const space = m.let(m.rs2());
  const inSpaces = (of: V | undefined) => () =>
    m.when(
      m.rs2IsNotZero(),
      () => fence(of, space),
      () => fence(of, undefined),
    );
  m.when(m.rs1IsNotZero(), inSpaces(address), inSpaces(undefined));
}
