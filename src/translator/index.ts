/** The translator's door: hot guest code becomes regions of WebAssembly. */
export type { PromotionMode } from './promotion.ts';
export { DEFAULT_TRANSLATION, Translator, type TranslatorOptions } from './translator.ts';
