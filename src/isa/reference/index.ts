/** The door of the reference machine. */
export { type Execution, ReferenceHart, type ReferenceOptions, type Step } from './hart.ts';
export { type PhysicalMemory, Ram } from './memory.ts';
export { type ReferenceState, resetState } from './state.ts';
