/**
 * The registers as gdb is told of them: the target description (gdb manual, "RISC-V Features") in XML, and what each
 * of its numbers means. The numbers are gdb's own for RISC-V: x0 to x31, pc, f0 to f31, then the CSRs in order, and priv:
 * the mode (RISC-V debug specification, "Virtual Debug Registers"), V in bit 2.
 */
import type { DebugRegister, Privilege } from './debug-target.ts';

/** A CSR by number (12 bits) and name, as the table of the instruction set has it. */
export interface NamedCsr {
  readonly number: number;
  readonly name: string;
}

export type GdbRegister =
  | DebugRegister
  | { readonly kind: 'csr'; readonly number: number }
  | { readonly kind: 'privilege' };

const pcNumber = 32;
const firstFloat = 33;
const firstCsr = 65;
const privilegeNumber = firstCsr + 4096;

/** The registers that the `g` packet holds, in its order. */
export const generalRegisters: readonly DebugRegister[] = [
  ...Array.from({ length: 32 }, (_, number) => ({ kind: 'x', number }) as const),
  { kind: 'pc' },
];

/** What gdb's number means; undefined for none. */
export function registerOf(gdbNumber: number): GdbRegister | undefined {
  if (gdbNumber < 0) return undefined;
  if (gdbNumber < pcNumber) return { kind: 'x', number: gdbNumber };
  if (gdbNumber === pcNumber) return { kind: 'pc' };
  if (gdbNumber < firstCsr) return { kind: 'f', number: gdbNumber - firstFloat };
  if (gdbNumber < privilegeNumber) return { kind: 'csr', number: gdbNumber - firstCsr };
  return gdbNumber === privilegeNumber ? { kind: 'privilege' } : undefined;
}

/** What gdb reads as priv. */
export function privilegeBits({ mode, isVirtual }: Privilege): bigint {
  return BigInt(mode) | (isVirtual ? 4n : 0n);
}

/** `VS-mode` and the like. */
export function privilegeName({ mode, isVirtual }: Privilege): string {
  return `${isVirtual ? 'V' : ''}${{ 0: 'U', 1: 'S', 3: 'M' }[mode]}-mode`;
}

/** `names` are the calling convention's, by number: gdb shows them. */
export function describeTarget(
  names: { readonly x: readonly string[]; readonly f: readonly string[] },
  csrs: readonly NamedCsr[],
): string {
  const row = (name: string, number: number, type: string, more = ''): string =>
    `    <reg name="${name}" bitsize="64" type="${type}" regnum="${number}"${more}/>`;
  const x = names.x.map((name, i) =>
    row(name, i, name === 'sp' || name === 'gp' || name === 'tp' ? 'data_ptr' : 'int'),
  );
  const f = names.f.map((name, i) => row(name, firstFloat + i, 'ieee_double', ' group="float"'));
  const c = csrs.map(({ number, name }) => row(name, firstCsr + number, 'int', ' group="csr" save-restore="no"'));
  return [
    '<?xml version="1.0"?>',
    '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
    '<target version="1.0">',
    '  <architecture>riscv:rv64</architecture>',
    '  <feature name="org.gnu.gdb.riscv.cpu">',
    ...x,
    row('pc', pcNumber, 'code_ptr'),
    '  </feature>',
    '  <feature name="org.gnu.gdb.riscv.fpu">',
    ...f,
    '  </feature>',
    '  <feature name="org.gnu.gdb.riscv.csr">',
    ...c,
    '  </feature>',
    '  <feature name="org.gnu.gdb.riscv.virtual">',
    row('priv', privilegeNumber, 'int', ' save-restore="no"'),
    '  </feature>',
    '</target>',
    '',
  ].join('\n');
}
