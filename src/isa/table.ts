/**
 * The instruction table: every row, in one list. Where one row's bits are a part of another's (pause is a fence, a
 * prefetch an ori), the narrower one is the instruction meant; decoders look for it first.
 */
import { PRIVILEGED } from './privileged/rows.ts';
import type { CompressedRow, Row } from './row.ts';
import { ATOMIC } from './rows/atomic.ts';
import { BIT_MANIPULATION } from './rows/bit-manipulation.ts';
import { CACHE } from './rows/cache.ts';
import { COMPRESSED } from './rows/compressed.ts';
import { FLOAT } from './rows/float.ts';
import { HINT } from './rows/hint.ts';
import { INTEGER } from './rows/integer.ts';
import { MULTIPLY } from './rows/multiply.ts';
import { ZFA } from './rows/zfa.ts';

export const ROWS: readonly Row[] = [
  ...INTEGER,
  ...MULTIPLY,
  ...ATOMIC,
  ...FLOAT,
  ...ZFA,
  ...BIT_MANIPULATION,
  ...CACHE,
  ...HINT,
  ...PRIVILEGED,
];

export const COMPRESSED_ROWS: readonly CompressedRow[] = COMPRESSED;
