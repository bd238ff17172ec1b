/** Bare harts that translate, for tests. */
import type { BareHartOptions } from '../engine/engine.testing.ts';
import type { CodeDecoders } from './instruction.ts';
import { DEFAULT_TRANSLATION, Translator, type TranslatorOptions } from './translator.ts';

/** Translates at once, unless `options` say otherwise. */
export function translating(options: Partial<TranslatorOptions> = {}) {
  return ({ decoder, ...others }: CodeDecoders): BareHartOptions['translate'] =>
    ({ memory, processor, signatures }) => {
      const hasCompressed = decoder.rows.some(({ row }) => row.extension === 'c') || decoder.expansions.some(Boolean);
      return new Translator(
        memory,
        processor,
        { decoder, ...others, hasCompressed, signatures },
        { ...DEFAULT_TRANSLATION, threshold: 1, batch: 1, ...options },
      );
    };
}
