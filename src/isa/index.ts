/** The door of the instruction set: the table, what derives from it, the state of a hart. */
export { COMPRESSED_CODES } from './code.ts';
export { CSR_BY_NAME, CSR_BY_NUMBER, CSRS, type Csr, readCsr, writeCsr } from './csr/index.ts';
export { createDecoder, type Decoded, type Decoder } from './decoder.ts';
export { featuresOf, isaString, parseCpu } from './extensions.ts';
export { FLOAT_OPERATIONS, type FloatOperation, type FloatOperationShape } from './float-operations.ts';
export type { AccessSize, AmoOperation, FloatLetter, Machine } from './machine.ts';
export type { Immediate } from './pattern.ts';
export { enterTrap, pendingInterrupt } from './privileged/trap.ts';
export type { CompressedRow, Row } from './row.ts';
export { FEATURE, hartState, STATE_FIELDS, type StateField } from './state.ts';
export { COMPRESSED_ROWS, ROWS } from './table.ts';
