/** From a machine's options to its board: checked, with defaults, as plain data that every thread gets. */
import { OperatorError } from '../base/errors.ts';
import { DEFAULT_SHADOWS, MOST_SHADOWS, type ShadowModel, type ShadowOptions } from '../engine/index.ts';
import { FEATURE, featuresOf, parseCpu, parseCpuModel } from '../isa/index.ts';
import { DEFAULT_TRANSLATION, type PromotionMode, type TranslatorOptions } from '../translator/index.ts';
import type { BoardConfig } from './board.ts';
import { parsePolicies } from './policies.ts';
import { slotsOf } from './slots.ts';
import { VIRTIO_SLOTS } from './virt-map.ts';

const MiB = 2 ** 20;
const DEFAULT_MEMORY = 512 * MiB;
const DEFAULT_CPU = 'rv64';
const DEFAULT_CODE = 64 * MiB;
const LEAST_CODE = MiB;
const MOST_HARTS = 16;
const MOST_THRESHOLD = 65535;
const MOST_ASID_BITS = 16;
/** Overlays at a time: 1 MiB of guest code, for 10 MiB of memory that is taken when first used. */
const OVERLAYS = 256;

/**
 * How code runs where the options do not say. Not constant, so that whole suites can be run another way
 * (test/code-defaults.ts); nothing else changes them.
 */
export const CODE_DEFAULTS = { translate: true, hotThreshold: DEFAULT_TRANSLATION.threshold };

/** What of a machine's options decides its board; docs of each stand with MachineOptions. */
export interface BoardOptions {
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly codeMemoryBytes?: number;
  readonly cpu?: string;
  /** Firmware, which takes the place of the built-in SBI. */
  readonly bios?: string;
  readonly drives?: readonly unknown[];
  readonly network?: boolean;
  readonly clock?: 'real' | 'instructions';
  readonly translate?: boolean;
  readonly hotThreshold?: number;
  readonly promotion?: PromotionMode;
  readonly overlay?: boolean;
  readonly shadows?: number;
  readonly asidBits?: number;
  readonly shadowModel?: ShadowModel;
  readonly traps?: readonly string[];
  readonly protection?: boolean;
}

/** The extensions that `--cpu` names. */
export function extensionsOf(options: BoardOptions): ReadonlySet<string> {
  return parseCpu(options.cpu ?? DEFAULT_CPU);
}

/** `shared`: whether threads share the memory. Throws OperatorError for what cannot be. */
export function boardConfig(options: BoardOptions, shared = true): BoardConfig {
  const harts = options.cpus ?? 1;
  if (!Number.isInteger(harts) || harts < 1 || harts > MOST_HARTS)
    throw new OperatorError('bad-cpus', `${harts} harts are not possible`, `Give -c a number from 1 to ${MOST_HARTS}.`);
  const memoryBytes = options.memoryBytes ?? DEFAULT_MEMORY;
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes % 4096 !== 0 || memoryBytes < MiB)
    throw new OperatorError(
      'bad-memory',
      `${memoryBytes} bytes of memory are not possible`,
      'Give -m at least 1M, in whole pages of 4 KiB.',
    );
  const codeBytes = options.codeMemoryBytes ?? DEFAULT_CODE;
  if (!Number.isSafeInteger(codeBytes) || codeBytes < LEAST_CODE)
    throw new OperatorError(
      'bad-code-memory',
      `${codeBytes} bytes of code memory are not possible`,
      'Give --code-memory at least 1M.',
    );
  const slots = slotsOf(options);
  const drives = options.drives?.length ?? 0;
  if (slots.length > VIRTIO_SLOTS)
    throw new OperatorError(
      'too-many-drives',
      `there are slots for ${VIRTIO_SLOTS - slots.length + drives} drives, not for ${drives}`,
      'Give fewer drives.',
    );
  const { extensions, emulated } = parseCpuModel(options.cpu ?? DEFAULT_CPU);
  return {
    harts,
    memoryBytes,
    codeBytes,
    width: 32,
    shared,
    features: featuresOf(extensions) | (options.bios === undefined ? FEATURE.sbi : 0n),
    misa: misaOf(extensions),
    clock: options.clock ?? 'real',
    cpu: options.cpu ?? DEFAULT_CPU,
    ...((options.translate ?? CODE_DEFAULTS.translate) ? { translation: translationOf(options) } : {}),
    policies: parsePolicies(options.traps ?? [], new Set([...extensions, ...emulated])),
    shadows: shadowsOf(options),
    overlays: options.overlay === false ? 0 : OVERLAYS,
    protection: options.protection ?? true,
    slots,
  };
}

function shadowsOf(options: BoardOptions): ShadowOptions {
  const { shadows = DEFAULT_SHADOWS, asidBits = MOST_ASID_BITS, shadowModel = 'fence' } = options;
  if (!Number.isInteger(shadows) || shadows < 1 || shadows > MOST_SHADOWS)
    throw new OperatorError(
      'bad-shadows',
      `${shadows} shadow tables are not possible`,
      `Give --shadows a number from 1 to ${MOST_SHADOWS}.`,
    );
  if (!Number.isInteger(asidBits) || asidBits < 0 || asidBits > MOST_ASID_BITS)
    throw new OperatorError(
      'bad-asid-bits',
      `an ASID of ${asidBits} bits is not possible`,
      `Give --asid-bits a number from 0 to ${MOST_ASID_BITS}.`,
    );
  return { count: shadows, asidBits, model: shadowModel };
}

function translationOf({
  hotThreshold = CODE_DEFAULTS.hotThreshold,
  promotion = DEFAULT_TRANSLATION.promotion,
}: BoardOptions): TranslatorOptions {
  if (!Number.isInteger(hotThreshold) || hotThreshold < 1 || hotThreshold > MOST_THRESHOLD)
    throw new OperatorError(
      'bad-threshold',
      `code cannot become hot after ${hotThreshold} times`,
      `Give --hot-threshold a number from 1 to ${MOST_THRESHOLD}.`,
    );
  return { ...DEFAULT_TRANSLATION, threshold: hotThreshold, promotion };
}

/** misa: MXL 2 (64 bits), a bit for each single-letter extension, S and U. */
function misaOf(extensions: ReadonlySet<string>): bigint {
  const letters = [...extensions].filter((name) => name.length === 1).concat('s', 'u');
  return letters.reduce((bits, letter) => bits | (1n << BigInt(letter.charCodeAt(0) - 97)), 2n << 62n);
}
