/**
 * Zicbom, Zicboz, Zicbop: cache blocks of 64 bytes. Unprivileged specification, chapter 19 (CMO). Memory here is
 * coherent, so management does nothing but fault where it must. menvcfg, henvcfg and senvcfg permit the instructions to the
 * modes below (privileged specification, 3.1.18 and 10.1.10); CBIE's reserved value never reaches the register.
 * Prefetches are hints that look like ORI with rd = x0.
 */
import type { Machine } from '../machine.ts';
import { type Row, row } from '../row.ts';

const CBIE = 0b11 << 4;
const CBCFE = 1 << 6;
const CBZE = 1 << 7;

/**
 * Machine mode always may; supervisor mode if menvcfg says so; a guest if henvcfg says so too, and user mode if senvcfg
 * does.
 */
const requirePermit = <V, C>(m: Machine<V, C>, field: number): void => {
  const permits = (register: 'menvcfg' | 'henvcfg' | 'senvcfg'): C =>
    m.ne(m.and(m.state(register), m.const(field)), m.const(0));
  const mode = m.let(m.mode());
  m.require(m.either(m.eq(mode, m.const(3)), permits('menvcfg')));
  m.when(m.ne(m.state('virtual'), m.const(0)), () => m.requireVirtual(permits('henvcfg')));
  m.requireVirtual(m.either(m.ne(mode, m.const(0)), permits('senvcfg')));
};

const manage = <V, C>(m: Machine<V, C>, field: number): void => {
  requirePermit(m, field);
  m.touchBlock(m.rs1());
};

// biome-ignore format: table
export const CACHE: readonly Row[] = [
  row('cbo.inval',  '000000000000 rs1 010 00000 0001111', 'cbo.inval (rs1)', 'zicbom', 'system', 'Invalidates a cache block.', (m) => manage(m, CBIE)),
  row('cbo.clean',  '000000000001 rs1 010 00000 0001111', 'cbo.clean (rs1)', 'zicbom', 'system', 'Writes a cache block back.', (m) => manage(m, CBCFE)),
  row('cbo.flush',  '000000000010 rs1 010 00000 0001111', 'cbo.flush (rs1)', 'zicbom', 'system', 'Writes a cache block back and invalidates it.', (m) => manage(m, CBCFE)),
  row('cbo.zero',   '000000000100 rs1 010 00000 0001111', 'cbo.zero (rs1)', 'zicboz', 'store', 'Zeroes a cache block.', (m) => {
    requirePermit(m, CBZE);
    m.zeroBlock(m.rs1());
  }),
  row('prefetch.i', 'imm[11:5] 00000 rs1 110 00000 0010011', 'prefetch.i imm(rs1)', 'zicbop', 'hint', 'The block will be executed soon.', () => {}),
  row('prefetch.r', 'imm[11:5] 00001 rs1 110 00000 0010011', 'prefetch.r imm(rs1)', 'zicbop', 'hint', 'The block will be read soon.', () => {}),
  row('prefetch.w', 'imm[11:5] 00011 rs1 110 00000 0010011', 'prefetch.w imm(rs1)', 'zicbop', 'hint', 'The block will be written soon.', () => {}),
];
