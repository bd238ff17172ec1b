/** The translator's door: hot guest code becomes regions of WebAssembly. */
export { DEFAULT_TRANSLATION, type PromotionMode, type TranslatorOptions } from './options.ts';
export type { GuestCode } from './region-maker.ts';
export { TranslationService } from './translation-service.ts';
export { LocalTranslator, RemoteTranslator, type Translator } from './translator.ts';
