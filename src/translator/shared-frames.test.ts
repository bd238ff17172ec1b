import { describe } from 'node:test';
import { sharedFramesSuite } from '../engine/shared-frames.testing.ts';
import { createDecoder, DEFAULT_EXTENSIONS } from '../isa/index.ts';
import { translating } from './translation.testing.ts';

for (const width of [32, 64] as const)
  describe(`shared frames in translated code, memory${width}`, () =>
    sharedFramesSuite(width, translating()({ decoder: createDecoder(DEFAULT_EXTENSIONS) })));
