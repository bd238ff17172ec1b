/**
 * Aliases that the assembler accepts, as data: the alias with names for its operands, and the instruction that it
 * stands for. Unprivileged specification, chapter "RISC-V Assembly Programmer's Handbook". `li` and `la` take several
 * instructions and are the assembler's own.
 */

// biome-ignore format: table
export const ALIASES: readonly (readonly [alias: string, instruction: string])[] = [
  ['nop', 'addi zero, zero, 0'],
  ['mv D, S', 'addi D, S, 0'],
  ['not D, S', 'xori D, S, -1'],
  ['neg D, S', 'sub D, zero, S'],
  ['negw D, S', 'subw D, zero, S'],
  ['sext.w D, S', 'addiw D, S, 0'],
  ['zext.w D, S', 'add.uw D, S, zero'],
  ['zext.b D, S', 'andi D, S, 255'],
  ['seqz D, S', 'sltiu D, S, 1'],
  ['snez D, S', 'sltu D, zero, S'],
  ['sltz D, S', 'slt D, S, zero'],
  ['sgtz D, S', 'slt D, zero, S'],
  ['beqz S, L', 'beq S, zero, L'],
  ['bnez S, L', 'bne S, zero, L'],
  ['blez S, L', 'bge zero, S, L'],
  ['bgez S, L', 'bge S, zero, L'],
  ['bltz S, L', 'blt S, zero, L'],
  ['bgtz S, L', 'blt zero, S, L'],
  ['bgt S, T, L', 'blt T, S, L'],
  ['ble S, T, L', 'bge T, S, L'],
  ['bgtu S, T, L', 'bltu T, S, L'],
  ['bleu S, T, L', 'bgeu T, S, L'],
  ['j L', 'jal zero, L'],
  ['jal L', 'jal ra, L'],
  ['call L', 'jal ra, L'],
  ['jr S', 'jalr zero, 0(S)'],
  ['jalr S', 'jalr ra, 0(S)'],
  ['jalr D, S, I', 'jalr D, I(S)'],
  ['ret', 'jalr zero, 0(ra)'],
  ['fence', 'fence iorw, iorw'],
  ['sfence.vma', 'sfence.vma zero, zero'],
  ['sfence.vma S', 'sfence.vma S, zero'],
  ['sinval.vma', 'sinval.vma zero, zero'],
  ['hfence.vvma', 'hfence.vvma zero, zero'],
  ['hfence.vvma S', 'hfence.vvma S, zero'],
  ['hfence.gvma', 'hfence.gvma zero, zero'],
  ['hfence.gvma S', 'hfence.gvma S, zero'],
  ['unimp', 'csrrw zero, cycle, zero'],
  ['csrr D, C', 'csrrs D, C, zero'],
  ['csrw C, S', 'csrrw zero, C, S'],
  ['csrs C, S', 'csrrs zero, C, S'],
  ['csrc C, S', 'csrrc zero, C, S'],
  ['csrwi C, I', 'csrrwi zero, C, I'],
  ['csrsi C, I', 'csrrsi zero, C, I'],
  ['csrci C, I', 'csrrci zero, C, I'],
  ['rdcycle D', 'csrrs D, cycle, zero'],
  ['rdtime D', 'csrrs D, time, zero'],
  ['rdinstret D', 'csrrs D, instret, zero'],
  ['frcsr D', 'csrrs D, fcsr, zero'],
  ['fscsr S', 'csrrw zero, fcsr, S'],
  ['frrm D', 'csrrs D, frm, zero'],
  ['fsrm S', 'csrrw zero, frm, S'],
  ['fsrmi I', 'csrrwi zero, frm, I'],
  ['frflags D', 'csrrs D, fflags, zero'],
  ['fsflags S', 'csrrw zero, fflags, S'],
  ['fsflagsi I', 'csrrwi zero, fflags, I'],
  ...['s', 'd', 'h'].flatMap((f): [string, string][] => [
    [`fmv.${f} D, S`, `fsgnj.${f} D, S, S`],
    [`fneg.${f} D, S`, `fsgnjn.${f} D, S, S`],
    [`fabs.${f} D, S`, `fsgnjx.${f} D, S, S`],
    [`fgt.${f} D, S, T`, `flt.${f} D, T, S`],
    [`fge.${f} D, S, T`, `fle.${f} D, T, S`],
  ]),
  ['fmv.x.s D, S', 'fmv.x.w D, S'],
  ['fmv.s.x D, S', 'fmv.w.x D, S'],
];

interface Alias {
  readonly operands: readonly string[];
  readonly instruction: string;
}

const BY_NAME = new Map<string, Alias[]>();
for (const [alias, instruction] of ALIASES) {
  const [name, ...operands] = alias.split(/,? /) as [string, ...string[]];
  BY_NAME.set(name, [...(BY_NAME.get(name) ?? []), { operands, instruction }]);
}

/** The instruction that an alias with these operands stands for; undefined if it is none. */
export function expandAlias(mnemonic: string, operands: readonly string[]): string | undefined {
  const alias = BY_NAME.get(mnemonic)?.find((candidate) => candidate.operands.length === operands.length);
  return alias?.instruction.replace(/\b[A-Z]\b/g, (name) => operands[alias.operands.indexOf(name)] as string);
}
