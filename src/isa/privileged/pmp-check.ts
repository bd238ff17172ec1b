/**
 * The check of a physical access against PMP, for the reference machine: "Physical Memory Protection", sections
 * "Address Matching", "Locking and Privilege Mode", "Priority and Matching Logic", and Smepmp's truth table.
 */
import { must } from '../../base/assert.ts';
import type { StateField } from '../state.ts';
import { MODE } from './mstatus.ts';
import { MSECCFG, PMP, PMP_A, PMP_ADDRESS_FIELDS } from './pmp.ts';

/** The scalars of a hart's state, as the view of its layout offers them. */
export type HartRegisters = { readonly [K in StateField]: bigint };

/**
 * What an access wants. `cache` is cbo.clean, cbo.flush and cbo.inval: it needs the right to load or to store.
 * Atomics, stores and cbo.zero are stores.
 */
export type Access = 'fetch' | 'load' | 'store' | 'cache';

interface Rights {
  readonly machine: string;
  readonly lower: string;
}

/** Smepmp, with mseccfg.MML set: rights by the bits L R W X of an entry. */
// biome-ignore format: table
const LOCKDOWN_RIGHTS: readonly Rights[] = [
  { machine: '',   lower: '' },    // ---- nobody
  { machine: '',   lower: 'x' },   // ---X
  { machine: 'rw', lower: 'r' },   // --W- shared data
  { machine: 'rw', lower: 'rw' },  // --WX shared data
  { machine: '',   lower: 'r' },   // -R--
  { machine: '',   lower: 'rx' },  // -R-X
  { machine: '',   lower: 'rw' },  // -RW-
  { machine: '',   lower: 'rwx' }, // -RWX
  { machine: '',   lower: '' },    // L--- nobody, locked
  { machine: 'x',  lower: '' },    // L--X
  { machine: 'x',  lower: 'x' },   // L-W- shared code
  { machine: 'rx', lower: 'x' },   // L-WX shared code
  { machine: 'r',  lower: '' },    // LR--
  { machine: 'rx', lower: '' },    // LR-X
  { machine: 'rw', lower: '' },    // LRW-
  { machine: 'r',  lower: 'r' },   // LRWX shared data, read-only
];

/** True if `mode` may access the `sizeBytes` bytes at physical `address`. */
export function pmpAllows(
  hart: HartRegisters,
  mode: bigint,
  address: bigint,
  sizeBytes: number,
  access: Access,
): boolean {
  const isMachine = mode === BigInt(MODE.machine);
  const end = address + BigInt(sizeBytes);
  for (let entry = 0; entry < PMP_ADDRESS_FIELDS.length; entry++) {
    const [start, limit] = rangeOf(hart, entry);
    if (start >= limit || end <= start || address >= limit) continue;
    // The lowest entry that matches any byte decides, and it must match them all.
    if (address < start || end > limit) return false;
    return allows(entryRights(configOf(hart, entry), isMachine, hart.mseccfg), access);
  }
  return allows(rightsWithoutEntry(isMachine, hart.mseccfg), access);
}

function allows(rights: string, access: Access): boolean {
  switch (access) {
    case 'fetch':
      return rights.includes('x');
    case 'load':
      return rights.includes('r');
    case 'store':
      return rights.includes('w');
    case 'cache':
      return rights.includes('r') || rights.includes('w');
  }
}

function entryRights(config: number, isMachine: boolean, mseccfg: bigint): string {
  const locked = (config & PMP.L) !== 0;
  const [r, w, x] = [(config & PMP.R) !== 0, (config & PMP.W) !== 0, (config & PMP.X) !== 0];
  if ((mseccfg & MSECCFG.MML) !== 0n) {
    const row = must(LOCKDOWN_RIGHTS[(locked ? 8 : 0) | (r ? 4 : 0) | (w ? 2 : 0) | (x ? 1 : 0)]);
    return isMachine ? row.machine : row.lower;
  }
  if (isMachine && !locked) return 'rwx';
  return `${r ? 'r' : ''}${w ? 'w' : ''}${x ? 'x' : ''}`;
}

/** No entry matches: M-mode may, unless Smepmp says otherwise; lower modes may not, as entries are implemented. */
function rightsWithoutEntry(isMachine: boolean, mseccfg: bigint): string {
  if (!isMachine || (mseccfg & MSECCFG.MMWP) !== 0n) return '';
  return (mseccfg & MSECCFG.MML) !== 0n ? 'rw' : 'rwx';
}

function configOf(hart: HartRegisters, entry: number): number {
  const register = entry < 8 ? hart.pmpcfg0 : hart.pmpcfg2;
  return Number((register >> BigInt(8 * (entry % 8))) & 0xffn);
}

function addressOf(hart: HartRegisters, entry: number): bigint {
  return hart[must(PMP_ADDRESS_FIELDS[entry])];
}

/** First byte, and the one behind the last; empty for an entry that is off. */
function rangeOf(hart: HartRegisters, entry: number): readonly [bigint, bigint] {
  const address = addressOf(hart, entry);
  switch (configOf(hart, entry) & PMP.A) {
    case PMP_A.tor:
      return [entry === 0 ? 0n : addressOf(hart, entry - 1) << 2n, address << 2n];
    case PMP_A.na4:
      return [address << 2n, (address << 2n) + 4n];
    case PMP_A.napot: {
      // yyy01111: the trailing ones, and the zero above them, give the size: 2^(ones + 3).
      const start = (address & (address + 1n)) << 2n;
      return [start, start + (((address ^ (address + 1n)) + 1n) << 2n)];
    }
    default:
      return [0n, 0n];
  }
}
