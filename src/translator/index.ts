/** The translator's door: hot guest code becomes regions of WebAssembly; and what it makes of code, for people. */
export { type CodePage, CodeSource, codePage, type RegionSource } from './code-source.ts';
export {
  blockLines,
  type ExplainedBlock,
  type ExplainedEdge,
  type ExplainedInstruction,
  type ExplainedRegion,
  explainRegion,
} from './explain.ts';
export { ringHotBell } from './hot-queue.ts';
export type { CodeDecoders } from './instruction.ts';
export { ModuleLog } from './module-log.ts';
export { DEFAULT_TRANSLATION, type PromotionMode, type RegionLimits, type TranslatorOptions } from './options.ts';
export { siteAt } from './promotion.ts';
export { promotionMode, setPromotionMode } from './promotion-mode.ts';
export type { GuestCode } from './region-maker.ts';
export { type RegionText, regionText } from './region-text.ts';
export { TranslationService } from './translation-service.ts';
export { LocalTranslator, RemoteTranslator, type Translator } from './translator.ts';
