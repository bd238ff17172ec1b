/** Bare harts that translate, for tests. */
import type { BareHartOptions } from '../engine/engine.testing.ts';
import type { CodeDecoders } from './instruction.ts';
import { DEFAULT_TRANSLATION, type TranslatorOptions } from './options.ts';
import { LocalTranslator } from './translator.ts';

/** Translates at once, unless `options` say otherwise. */
export function translating(options: Partial<TranslatorOptions> = {}) {
  return ({ decoder, ...others }: CodeDecoders): BareHartOptions['translate'] =>
    ({ memory, processor, signatures }) => {
      const hasCompressed = decoder.rows.some(({ row }) => row.extension === 'c') || decoder.expansions.some(Boolean);
      return new LocalTranslator(
        memory,
        processor,
        { decoder, ...others, hasCompressed, signatures },
        { ...DEFAULT_TRANSLATION, threshold: 1, batch: 1, ...options },
      );
    };
}
