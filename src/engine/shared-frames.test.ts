import { describe } from 'node:test';
import { sharedFramesSuite } from './shared-frames.testing.ts';

for (const width of [32, 64] as const) describe(`shared frames, memory${width}`, () => sharedFramesSuite(width));
