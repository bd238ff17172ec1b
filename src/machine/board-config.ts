/** From a machine's options to its board: checked, with defaults, as plain data that every thread gets. */
import { OperatorError } from '../base/errors.ts';
import { CID_FIRST_GUEST, CID_LAST_GUEST } from '../devices/index.ts';
import {
  DEFAULT_SHADOWS,
  MOST_SHADOWS,
  ProtectionTables,
  type ShadowModel,
  type ShadowOptions,
  shadowBytes,
} from '../engine/index.ts';
import { LEAST_WEIGHT, MOST_PROCESSORS, MOST_WEIGHT, type ShareOptions } from '../hypervisor/index.ts';
import { FEATURE, featuresOf, GUEST_FILES, IMSIC_EXTENSIONS, parseCpu, parseCpuModel } from '../isa/index.ts';
import { DEFAULT_TRANSLATION, type PromotionMode, type TranslatorOptions } from '../translator/index.ts';
import type { BoardConfig, MachineRoom } from './board-shape.ts';
import { machineFrames } from './commons.ts';
import type { Aia } from './interrupt-controller.ts';
import { type PciOptions, planPci } from './pci-plan.ts';
import { parsePolicies } from './policies.ts';
import { slotsOf } from './slots.ts';
import { VIRTIO_SLOTS } from './virt-map.ts';

const MiB = 2 ** 20;
const DEFAULT_MEMORY = 512 * MiB;
const DEFAULT_CPU = 'rv64';
const DEFAULT_CODE = 64 * MiB;
const LEAST_CODE = MiB;
const MOST_HARTS = 16;
const LEAST_CAP = 0.01;
const MOST_PARTITIONS = 256;
const MOST_VCPUS = 256;
/** Room for a partition: of harts, and of blocks but shadows (its map takes 2 MiB and a 1024th of its memory, a hart 100 KiB). */
const VCPUS_EACH = 4;
const BLOCKS_EACH = 4 * MiB;
/** For the shadow tables of all harts of a machine with room, where the number of them is not given. */
const SHADOWS_TOGETHER = 256 * MiB;
const LEAST_SHARED_SHADOWS = 4;
/** Protection tables: of a guest with two disks. */
const TABLES_EACH = 8;
const DEFAULT_ROOM = 2048 * MiB;
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
  readonly processors?: number;
  readonly weight?: number;
  readonly cap?: number;
  readonly pin?: readonly number[];
  readonly room?: { readonly partitions?: number; readonly memoryBytes?: number };
  readonly memoryBytes?: number;
  readonly codeMemoryBytes?: number;
  readonly cpu?: string;
  /** Firmware, which takes the place of the built-in SBI. */
  readonly bios?: string;
  readonly shares?: readonly unknown[];
  readonly drives?: readonly unknown[];
  readonly network?: boolean;
  readonly balloon?: boolean;
  readonly vsock?: { readonly cid?: number };
  readonly clock?: 'real' | 'instructions';
  readonly translate?: boolean;
  readonly hotThreshold?: number;
  readonly promotion?: PromotionMode;
  readonly overlay?: boolean;
  readonly shadows?: number;
  readonly asidBits?: number;
  readonly shadowModel?: ShadowModel;
  readonly nested?: boolean;
  readonly combinedShadows?: boolean;
  readonly relay?: boolean;
  readonly interruptRate?: number;
  readonly traps?: readonly string[];
  readonly protection?: boolean;
  readonly aia?: Aia;
  readonly aiaGuests?: number;
  readonly pci?: boolean | PciOptions;
}

/**
 * Interrupts a second of a function: six times what any of ours comes to (docs/PERFORMANCE.md), and less than a thread
 * makes that does nothing else (test/system/storm.testing.ts).
 */
const INTERRUPT_RATE = 30_000;

/** What guests that are hypervisors need of their harts. */
const NESTED = ['h', 'smstateen', 'svinval', 'sstc'] as const;
/** What goes where they are to have none of it. */
const HYPERVISOR = ['h', 'smstateen'] as const;

/** The harts as `--cpu` names them, with what `--nested` switches on or off. */
function cpuOf({ cpu = DEFAULT_CPU, nested }: Pick<BoardOptions, 'cpu' | 'nested'>): string {
  if (nested === undefined) return cpu;
  const switches = nested ? NESTED.map((name) => `${name}=on`) : HYPERVISOR.map((name) => `${name}=off`);
  return [cpu, ...switches].join(',');
}

/** The extensions that `--cpu` and `--nested` name, and those that come with the interrupt controller. */
export function extensionsOf(
  options: BoardOptions | Pick<BoardOptions, 'cpu' | 'nested' | 'aia'>,
): ReadonlySet<string> {
  return withImsic(parseCpu(cpuOf(options)), options.aia);
}

/** Harts without supervisor mode have a file for machine level alone. */
function withImsic(extensions: ReadonlySet<string>, aia: Aia | undefined): ReadonlySet<string> {
  if (aia !== 'aplic-imsic') return extensions;
  const all = [...extensions, ...IMSIC_EXTENSIONS];
  return new Set(extensions.has('s') ? all : all.filter((name) => name !== 'ssaia'));
}

/**
 * `shared`: whether threads share the memory. `parallelism`: how many the host can run at a time. Throws OperatorError for
 * what cannot be.
 */
export function boardConfig(options: BoardOptions, shared = true, parallelism = MOST_PROCESSORS): BoardConfig {
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
  checkCid(options.vsock?.cid);
  const balloon = options.balloon ?? options.room !== undefined;
  const { slots, pci } = planPci(slotsOf({ ...options, balloon }), options.pci);
  checkSlots(slots.length, options);
  const cpu = cpuOf(options);
  const { extensions, emulated } = parseCpuModel(cpu);
  const processors = shared && options.clock !== 'instructions' ? processorsOf(options, harts, parallelism) : 0;
  const room = options.room === undefined ? undefined : roomOf(options.room, memoryBytes, processors);
  const shadows = shadowsOf(options, room);
  return {
    harts,
    processors,
    share: shareOf(options, processors),
    ...(room === undefined ? {} : { room: withBlocks(room, shadows) }),
    memoryBytes,
    codeBytes,
    width: 32,
    shared,
    features: featuresOf(withImsic(extensions, options.aia)) | (options.bios === undefined ? FEATURE.sbi : 0n),
    misa: misaOf(extensions),
    clock: options.clock ?? 'real',
    cpu,
    ...((options.translate ?? CODE_DEFAULTS.translate) ? { translation: translationOf(options) } : {}),
    policies: parsePolicies(options.traps ?? [], new Set([...extensions, ...emulated])),
    shadows,
    overlays: options.overlay === false ? 0 : OVERLAYS,
    protection: options.protection ?? true,
    relay: options.relay ?? true,
    interruptRate: interruptRateOf(options),
    aia: options.aia ?? 'none',
    aiaGuests: guestFilesOf(options),
    slots,
    ...(pci === undefined ? {} : { pci }),
  };
}

function checkSlots(slots: number, { drives = [], shares = [] }: BoardOptions): void {
  if (slots <= VIRTIO_SLOTS) return;
  const [what, code, count] =
    drives.length === 0
      ? (['shared folders', 'too-many-shares', shares.length] as const)
      : (['drives', 'too-many-drives', drives.length] as const);
  const fix = shares.length > 0 ? 'Give fewer, or --pci on.' : 'Give fewer drives.';
  const room = Math.max(0, VIRTIO_SLOTS - slots + count);
  throw new OperatorError(code, `there are slots for ${room} ${what}, not for ${count}`, fix);
}

function checkCid(cid = CID_FIRST_GUEST): void {
  if (Number.isInteger(cid) && cid >= CID_FIRST_GUEST && cid <= CID_LAST_GUEST) return;
  throw new OperatorError(
    'bad-vsock',
    `${cid} cannot be a guest's context ID`,
    `Give --vsock a cid from ${CID_FIRST_GUEST} to ${CID_LAST_GUEST}.`,
  );
}

function guestFilesOf({ aia, aiaGuests = 0 }: BoardOptions): number {
  if (!Number.isInteger(aiaGuests) || aiaGuests < 0 || aiaGuests > GUEST_FILES)
    throw new OperatorError(
      'bad-aia-guests',
      `${aiaGuests} guest interrupt files are not possible`,
      `Give --aia-guests a number from 0 to ${GUEST_FILES}.`,
    );
  if (aiaGuests > 0 && aia !== 'aplic-imsic')
    throw new OperatorError(
      'bad-aia-guests',
      'there are guest interrupt files only where there is an IMSIC',
      'Say --aia aplic-imsic, or leave out --aia-guests.',
    );
  return aiaGuests;
}

function shadowsOf(options: BoardOptions, room?: MachineRoom): ShadowOptions {
  const { asidBits = MOST_ASID_BITS, shadowModel = 'fence', combinedShadows = true } = options;
  const shadows = options.shadows ?? (room === undefined ? DEFAULT_SHADOWS : sharedShadows(room));
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
  // What is written is looked up in one table for all who write: the machine's.
  if (shadowModel === 'tracked' && room !== undefined)
    throw new OperatorError(
      'bad-shadow-model',
      'write-tracked shadow tables serve machines made for one guest',
      'Make the machine without room for others, or leave out the shadow model.',
    );
  return { count: shadows, asidBits, model: shadowModel, combined: combinedShadows ? 'on' : 'off' };
}

/** Shadows of a hart by default: in a machine of many harts each has fewer. */
function sharedShadows({ vcpus }: MachineRoom): number {
  let count = DEFAULT_SHADOWS;
  while (count > LEAST_SHARED_SHADOWS && vcpus * shadowBytes({ count }) > SHADOWS_TOGETHER) count--;
  return count;
}

/** A thread for each hart, but no more than the host can run: two on one of its processors would wait for each other. */
function processorsOf({ processors }: BoardOptions, harts: number, parallelism: number): number {
  if (processors === undefined) return Math.max(1, Math.min(harts, parallelism, MOST_PROCESSORS));
  if (Number.isInteger(processors) && processors >= 1 && processors <= MOST_PROCESSORS) return processors;
  throw new OperatorError(
    'bad-processors',
    `${processors} processors are not possible`,
    `Give --processors a number from 1 to ${MOST_PROCESSORS}.`,
  );
}

/** What is reserved for all partitions of a machine: of the host's memory it takes what is touched. */
function roomOf(
  { partitions = 16, memoryBytes = DEFAULT_ROOM }: NonNullable<BoardOptions['room']>,
  least: number,
  processors: number,
): MachineRoom {
  if (processors === 0)
    throw new OperatorError(
      'no-processors',
      'by the instruction clock a machine runs one guest',
      'Leave out what makes room for more, or --clock instructions.',
    );
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > MOST_PARTITIONS)
    throw new OperatorError(
      'bad-room',
      `${partitions} partitions are not possible`,
      `Give a number from 1 to ${MOST_PARTITIONS}.`,
    );
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes % 4096 !== 0 || memoryBytes < least)
    throw new OperatorError(
      'bad-room',
      `${memoryBytes} bytes are no room for the partitions of a machine`,
      'Give at least what its first partition has, in whole pages of 4 KiB.',
    );
  const vcpus = Math.min(partitions * VCPUS_EACH, MOST_VCPUS);
  return { partitions, vcpus, memoryBytes, blockBytes: 0 };
}

function withBlocks(room: MachineRoom, shadows: ShadowOptions): MachineRoom {
  const { partitions, vcpus, memoryBytes } = room;
  const tables = { frames: machineFrames({ memoryBytes, harts: 0, room }), tables: TABLES_EACH };
  const each = BLOCKS_EACH + ProtectionTables.sizeBytes(tables);
  return { ...room, blockBytes: partitions * each + vcpus * shadowBytes(shadows) };
}

/** What a guest may claim of so many processors. */
/** Throws OperatorError `bad-cap`. */
export function checkCap(cap: number): void {
  if (cap >= LEAST_CAP && cap <= MOST_PROCESSORS) return;
  throw new OperatorError(
    'bad-cap',
    `a cap of ${cap} processors is not possible`,
    `Give --cap a number from ${LEAST_CAP} to ${MOST_PROCESSORS}, as 0.5 for half of one.`,
  );
}

function shareOf({ weight, cap, pin, processors: given }: BoardOptions, processors: number): ShareOptions {
  if (processors === 0 && (cap !== undefined || pin !== undefined || given !== undefined))
    throw new OperatorError(
      'no-processors',
      'there are no processors to share: by the instruction clock harts take turns on one thread',
      'Leave out --processors, --cap and --pin, or --clock instructions.',
    );
  if (weight !== undefined && !(Number.isInteger(weight) && weight >= LEAST_WEIGHT && weight <= MOST_WEIGHT))
    throw new OperatorError(
      'bad-weight',
      `a weight of ${weight} is not possible`,
      `Give --weight a number from ${LEAST_WEIGHT} to ${MOST_WEIGHT}; 1024 is everybody's.`,
    );
  if (cap !== undefined) checkCap(cap);
  if (
    pin?.length === 0 ||
    pin?.some((processor) => !Number.isInteger(processor) || processor < 0 || processor >= processors)
  )
    throw new OperatorError(
      'bad-pin',
      `there is no processor ${pin.find((processor) => !(processor >= 0 && processor < processors)) ?? ''}`.trimEnd(),
      processors === 1 ? 'Give --pin 0, or more --processors.' : `Give --pin numbers from 0 to ${processors - 1}.`,
    );
  return {
    ...(weight === undefined ? {} : { weight }),
    ...(cap === undefined ? {} : { cap }),
    ...(pin === undefined ? {} : { pins: pin.reduce((set, processor) => set | (1 << processor), 0) >>> 0 }),
  };
}

/** Interrupts a second that a function may have at most. Throws OperatorError for what is no such number. */
function interruptRateOf({ interruptRate = INTERRUPT_RATE }: BoardOptions): number {
  if (Number.isInteger(interruptRate) && interruptRate >= 100 && interruptRate <= 1e7) return interruptRate;
  throw new OperatorError(
    'bad-interrupt-rate',
    `${interruptRate} is no number of interrupts a second`,
    'Give one from 100 to 10000000.',
  );
}

/** What a machine decides for all of its partitions, and a partition's options may not say. */
const OF_THE_MACHINE = [
  ...['processors', 'codeMemoryBytes', 'cpu', 'clock', 'translate', 'hotThreshold', 'promotion', 'overlay'],
  ...['relay', 'interruptRate', 'traps'],
  ...['trapLog', 'gdbPort', 'room'],
] as const;

/** Throws OperatorError where the options say what the machine decides. */
export function checkPartition(options: object): void {
  const given = OF_THE_MACHINE.find((name) => options[name as keyof typeof options] !== undefined);
  if (given === undefined) return;
  throw new OperatorError(
    'set-by-machine',
    `${given} is the same for all partitions of a machine`,
    'Say it where the machine is made.',
  );
}

/** Of the harts' features, those that partitions of a machine may have or be without. */
const OWN_FEATURES = FEATURE.sbi | FEATURE.smaia | FEATURE.ssaia | FEATURE.h | FEATURE.smstateen;

/** For another partition of a machine. Throws OperatorError for what cannot be. */
export function partitionConfig(options: BoardOptions, machine: BoardConfig): BoardConfig {
  checkPartition(options);
  const { processors, codeBytes, cpu, features, policies, overlays, width, shared, clock, translation } = machine;
  const { relay, interruptRate } = machine;
  const balloon = options.balloon ?? machine.room !== undefined;
  const nested = options.nested ?? false;
  if (nested && (features & FEATURE.h) === 0n)
    throw new OperatorError(
      'no-hypervisor-extension',
      "the machine's harts have no hypervisor extension",
      'Make the machine with --nested.',
    );
  const own = boardConfig({ ...options, nested, balloon, cpu, processors }, shared, processors);
  const shadows = options.shadows ?? machine.shadows.count ?? DEFAULT_SHADOWS;
  const { translation: _, ...rest } = own;
  return {
    ...rest,
    // One engine is for all; what it knows and a partition's harts do not have is hidden by features.
    ...{ processors, codeBytes, cpu, nested, policies, overlays, width, clock, relay, interruptRate },
    shadows: shadowsOf({ ...options, shadows }, machine.room),
    features: (features & ~OWN_FEATURES) | (own.features & OWN_FEATURES),
    ...(translation === undefined ? {} : { translation }),
  };
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
