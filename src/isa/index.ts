/** The door of the instruction set: the table, what derives from it, and the reference machine. */
export { type Assembly, assemble, assembleInstruction } from './assembler.ts';
export {
  COMPRESSED_CODES,
  type CompressedCode,
  encode,
  ROW_CODES,
  type RowCode,
  rowCode,
  templateOperands,
} from './code.ts';
export { CSR_BY_NAME, CSR_BY_NUMBER, CSRS, type Csr, isReadOnly, readCsr, writeCsr } from './csr/index.ts';
export { createDecoder, type Decoded, type Decoder } from './decoder.ts';
export { disassemble, disassembleDecoded } from './disassembler.ts';
export {
  type CpuModel,
  DEFAULT_EXTENSIONS,
  EMULATED_EXTENSIONS,
  EXTENSIONS,
  featuresOf,
  IMSIC_EXTENSIONS,
  isaNames,
  isaString,
  parseCpu,
  parseCpuModel,
} from './extensions.ts';
export { FLOAT_OPERATIONS, type FloatOperation, type FloatOperationShape } from './float-operations.ts';
export {
  EI_WORDS,
  FILE,
  FILE_WORD,
  FILE_WORDS,
  FILES,
  GUEST_FILES,
  IDENTITIES,
} from './interrupt-files.ts';
export type { AccessSize, AmoOperation, FloatLetter, Machine, Semantics } from './machine.ts';
export { FIELD_BITS, type Immediate, type ImmediatePiece, type Pattern, readImmediate } from './pattern.ts';
export { AREA_BY_CAUSE, AREA_COUNTERS, type Area, type AreaRow, CODES } from './privileged/area-by-cause.ts';
export { selectGuestArea, selectHost } from './privileged/areas.ts';
export { EXCEPTION, INTERRUPT } from './privileged/causes.ts';
export { HVICTL } from './privileged/guest-top.ts';
export type { HartRegisters } from './privileged/pmp-check.ts';
export { PSEUDOINSTRUCTION, transformedInstruction } from './privileged/transformed.ts';
export { enterTrap, pendingInterrupt, type Trap } from './privileged/trap.ts';
export {
  type AccessAs,
  type PageTableMemory,
  type Translation,
  type TranslationFault,
  translate,
} from './privileged/walk.ts';
export * from './reference/index.ts';
export { F_NAMES, X_NAMES } from './registers.ts';
export type { CompressedRow, Row, RowKind } from './row.ts';
export {
  AREA_BYTES,
  type AreaField,
  FEATURE,
  GUEST_FIELD,
  hartState,
  type SharedField,
  STATE_FIELDS,
  STATE_SCALARS,
  type StateField,
} from './state.ts';
export { COMPRESSED_ROWS, ROWS } from './table.ts';
