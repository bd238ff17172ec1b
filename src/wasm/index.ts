/** The Wasm writer's door: build a module, its functions, typed expressions; read one again, and list it. */
export { Bytes } from './bytes.ts';
export {
  type F32,
  type F64,
  FunctionBuilder,
  type I32,
  type I64,
  type IntegerOps,
  type Label,
  type Local,
  type Note,
  type Ptr,
  type TypeOf,
  type Value,
} from './function.ts';
export { type Expression, eachStatement, type ListingOptions, listFunction } from './listing.ts';
export { type FunctionRef, type MemoryDescription, ModuleBuilder } from './module.ts';
export { type ReadFunction, type ReadModule, readModule } from './module-reader.ts';
export type { ValueType } from './opcodes.ts';
