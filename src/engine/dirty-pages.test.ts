import { describe } from 'node:test';
import { dirtyPagesSuite } from './dirty-pages.testing.ts';

for (const width of [32, 64] as const) describe(`written pages, memory${width}`, () => dirtyPagesSuite(width));
