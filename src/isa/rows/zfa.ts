/**
 * Zfa: additional floating-point instructions. Unprivileged specification, chapter 25. In format H they need Zfh
 * besides, in D the D extension. FMVH and FMVP are for RV32 alone.
 */
import type { FloatLetter } from '../machine.ts';
import { type Row, row } from '../row.ts';
import { chosen, compared, FORMATS, rounded } from './float.ts';

function rowsOf(f: FloatLetter): readonly Row[] {
  const { fmt } = FORMATS[f];
  const extension = f === 's' ? 'zfa' : `zfa+${FORMATS[f].extension}`;
  // biome-ignore format: table
  return [
    row(`fli.${f}`,      `11110${fmt} 00001 zimm 000 rd 1010011`, `fli.${f} frd, fconst`, extension, 'float', 'Loads one of 32 constants.', (m) => {
      m.requireFloat();
      m.frd(m.box(f, m.float('loadImmediate', f, m.zimm())));
    }),
    row(`fminm.${f}`,    `00101${fmt} rs2 rs1 010 rd 1010011`, `fminm.${f} frd, frs1, frs2`, extension, 'float', 'The lesser; a NaN if there is one.', (m) => chosen(m, 'minimum', f)),
    row(`fmaxm.${f}`,    `00101${fmt} rs2 rs1 011 rd 1010011`, `fmaxm.${f} frd, frs1, frs2`, extension, 'float', 'The greater; a NaN if there is one.', (m) => chosen(m, 'maximum', f)),
    row(`fround.${f}`,   `01000${fmt} 00100 rs1 rm rd 1010011`, `fround.${f} frd, frs1, rm`, extension, 'float', 'Rounds to an integral number.', (m) => rounded(m, 'roundToIntegral', f, 1)),
    row(`froundnx.${f}`, `01000${fmt} 00101 rs1 rm rd 1010011`, `froundnx.${f} frd, frs1, rm`, extension, 'float', 'Rounds to an integral number and raises inexact.', (m) => rounded(m, 'roundToIntegralExact', f, 1)),
    row(`fleq.${f}`,     `10100${fmt} rs2 rs1 100 rd 1010011`, `fleq.${f} rd, frs1, frs2`, extension, 'float', 'One if less or equal; signaling NaNs are invalid.', (m) => compared(m, 'lessOrEqualQuiet', f)),
    row(`fltq.${f}`,     `10100${fmt} rs2 rs1 101 rd 1010011`, `fltq.${f} rd, frs1, frs2`, extension, 'float', 'One if less; signaling NaNs are invalid.', (m) => compared(m, 'lessQuiet', f)),
  ];
}

// biome-ignore format: table
export const ZFA: readonly Row[] = [
  ...rowsOf('s'),
  ...rowsOf('d'),
  ...rowsOf('h'),
  row('fcvtmod.w.d', '1100001 01000 rs1 001 rd 1010011', 'fcvtmod.w.d rd, frs1, rtz', 'zfa+d', 'float', 'To a word, modulo 2^32, towards zero.', (m) => {
    m.requireFloat();
    m.rd(m.float('toIntegerModulo', 'd', m.unbox('d', m.frs1())));
  }),
];
