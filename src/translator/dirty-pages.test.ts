import { describe } from 'node:test';
import { dirtyPagesSuite } from '../engine/dirty-pages.testing.ts';
import { createDecoder, DEFAULT_EXTENSIONS } from '../isa/index.ts';
import { translating } from './translation.testing.ts';

for (const width of [32, 64] as const)
  describe(`written pages in translated code, memory${width}`, () =>
    dirtyPagesSuite(width, translating()({ decoder: createDecoder(DEFAULT_EXTENSIONS) })));
