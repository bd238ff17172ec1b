/** The door of exact floating point: formats, flags and rounding modes, and one function per operation. */
export * from './arithmetic.ts';
export * from './box.ts';
export * from './compare.ts';
export * from './convert.ts';
export * from './format.ts';
