/** The Wasm writer's door: build a module, its functions, typed expressions. */
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
  type Ptr,
  type TypeOf,
  type Value,
} from './function.ts';
export { type FunctionRef, type MemoryDescription, ModuleBuilder } from './module.ts';
export type { ValueType } from './opcodes.ts';
