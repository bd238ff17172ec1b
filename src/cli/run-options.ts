/**
 * From the flags of `kage run` to the machine: which kernel, which disks. The image gives what the flags leave open
 * (host/images/image-options.ts); a kernel or a firmware of one's own stands without an image, unless one is named.
 */
import { resolve } from 'node:path';
import { OperatorError } from '../base/errors.ts';
import { checkMachineName, type MachineOptions, type NetdevOptions } from '../host/index.ts';
import type { FailoverFlags } from './failover-flags.ts';
import { agentOption, type CareFlags, careOptions } from './health-flags.ts';
import {
  parseAia,
  parseCap,
  parseCount,
  parseDrive,
  parseFailback,
  parseNetdev,
  parseProcessors,
  parsePromotion,
  parseShadowModel,
  parseSize,
  parseSwitch,
  parseVolume,
  parseVsock,
} from './values.ts';

/** As commander hands them over. */
export interface RunFlags extends CareFlags, FailoverFlags {
  readonly machine?: string;
  readonly name?: string;
  readonly cpus?: string;
  readonly processors?: string;
  readonly weight?: string;
  readonly cap?: string;
  readonly pin?: string;
  readonly memory?: string;
  readonly forks?: string;
  readonly cpu?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly bios?: string;
  readonly drive?: readonly string[];
  readonly volume?: readonly string[];
  readonly snapshot?: boolean;
  readonly netdev?: readonly string[];
  readonly network?: string;
  readonly mac?: string;
  readonly failback?: string;
  readonly pathFailover?: string;
  readonly publish?: readonly string[];
  readonly vsock?: string;
  readonly clock?: string;
  readonly seed?: string;
  readonly gdb?: string;
  readonly startPaused?: boolean;
  readonly codeMemory?: string;
  readonly translate?: string;
  readonly promotion?: string;
  readonly balloon?: string;
  readonly pci?: string;
  readonly overlay?: string;
  readonly shadows?: string;
  readonly asidBits?: string;
  readonly aia?: string;
  readonly aiaGuests?: string;
  readonly shadowModel?: string;
  readonly nested?: string;
  readonly combinedShadows?: string;
  readonly relay?: string;
  readonly interruptRate?: string;
  readonly trap?: readonly string[];
  readonly trapLog?: string;
  readonly protection?: string;
  readonly protectionLog?: string;
  readonly hotThreshold?: string;
  readonly agent?: string | boolean;
  readonly bootSnapshot?: string;
  readonly restart?: string;
  readonly rm?: boolean;
  readonly exec?: string;
  readonly env?: readonly string[];
  readonly workdir?: string;
  readonly wait?: string;
  readonly detach?: boolean;
  readonly quiet?: boolean;
}

/** A socket's path as any process finds it. */
function withPath(netdev: NetdevOptions, base: string): NetdevOptions {
  return netdev.path === undefined ? netdev : { ...netdev, path: resolve(base, netdev.path) };
}

/** Address space is 4 GiB: with many twins, their blocks take a part of it. */
const ROOM = { few: 2 * 2 ** 30, many: 1.5 * 2 ** 30, manyTwins: 64 } as const;

function roomForTwins(forks: number): NonNullable<MachineOptions['room']> {
  return { partitions: forks + 1, memoryBytes: forks > ROOM.manyTwins ? ROOM.many : ROOM.few };
}

/** What the flags alone say; throws OperatorError before anything is fetched or started. `base`: of paths of sockets. */
export function machineOptions(flags: RunFlags, base = process.cwd()): MachineOptions {
  if (flags.name !== undefined) checkMachineName(flags.name);
  const netdevs = [...(flags.netdev ?? []), ...(flags.network === undefined ? [] : [flags.network])].map(parseNetdev);
  const publish = [...(flags.publish ?? []), ...netdevs.flatMap((one) => one.publish)];
  const isOnline = netdevs.every((one) => one.network);
  const uplinks = netdevs.flatMap(({ netdev }) => (netdev === undefined ? [] : [withPath(netdev, base)]));
  const isPlain = uplinks.every(
    ({ kind, network, user, mtuBytes }) => kind === 'user' && (network ?? user ?? mtuBytes) === undefined,
  );
  if (publish.length > 0 && uplinks.length > 0 && !uplinks.some(({ kind }) => kind === 'user')) {
    const fix = 'Add -netdev user behind the others, or reach the guest on its segment';
    throw new OperatorError('bad-usage', 'ports are published by the user-mode network alone', fix);
  }
  if (!isOnline && publish.length > 0) {
    throw new OperatorError('bad-usage', 'ports cannot be published without a network', 'Leave out "none"');
  }
  if (flags.clock !== undefined && flags.clock !== 'real' && flags.clock !== 'instructions') {
    throw new OperatorError('bad-usage', `there is no clock ${flags.clock}`, 'Choose real or instructions');
  }
  if (flags.trapLog !== undefined && flags.trap === undefined) {
    throw new OperatorError('bad-usage', 'there is nothing to log', 'Say with --trap which instructions');
  }
  if (flags.protectionLog !== undefined && flags.protection === 'off') {
    throw new OperatorError('bad-usage', 'there is nothing to log without protection', 'Leave out --protection off');
  }
  const drives = (flags.drive ?? [])
    .map(parseDrive)
    .map((drive) => (flags.snapshot ? { ...drive, overlay: true } : drive));
  return {
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.cpus === undefined ? {} : { cpus: parseCount(flags.cpus, '--cpus', 1, 16) }),
    ...(flags.processors === undefined ? {} : { processors: parseCount(flags.processors, '--processors', 1, 32) }),
    ...(flags.weight === undefined ? {} : { weight: parseCount(flags.weight, '--weight', 2, 262_144) }),
    ...(flags.cap === undefined ? {} : { cap: parseCap(flags.cap, '--cap') }),
    ...(flags.pin === undefined ? {} : { pin: parseProcessors(flags.pin, '--pin') }),
    ...(flags.memory === undefined ? {} : { memoryBytes: parseSize(flags.memory, '--memory') }),
    ...(flags.forks === undefined ? {} : { room: roomForTwins(parseCount(flags.forks, '--forks', 1, 255)) }),
    ...(flags.cpu === undefined ? {} : { cpu: flags.cpu }),
    ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
    ...(flags.initrd === undefined ? {} : { initrd: flags.initrd }),
    ...(flags.append === undefined ? {} : { append: flags.append }),
    ...(flags.bios === undefined || flags.bios === 'default' ? {} : { bios: flags.bios }),
    ...(drives.length === 0 ? {} : { drives }),
    ...(flags.volume === undefined ? {} : { shares: flags.volume.map((value) => parseVolume(value, base)) }),
    ...(isOnline ? {} : { network: false }),
    ...(isPlain ? {} : { netdevs: uplinks }),
    ...(flags.mac === undefined ? {} : { mac: flags.mac }),
    ...(flags.failback === undefined ? {} : { failback: parseFailback(flags.failback) }),
    ...(flags.pathFailover === undefined ? {} : { pathFailover: parseSwitch(flags.pathFailover, '--path-failover') }),
    ...(publish.length === 0 ? {} : { publish }),
    ...(flags.vsock === undefined ? {} : { vsock: parseVsock(flags.vsock, base) }),
    ...(flags.clock === undefined ? {} : { clock: flags.clock }),
    ...(flags.seed === undefined ? {} : { seed: parseCount(flags.seed, '--seed', 0, 2 ** 32 - 1) }),
    ...(flags.gdb === undefined ? {} : { gdbPort: parseCount(flags.gdb, '--gdb', 0, 65535) }),
    ...(flags.startPaused ? { startPaused: true } : {}),
    ...(flags.translate === undefined ? {} : { translate: parseSwitch(flags.translate, '--translate') }),
    ...(flags.hotThreshold === undefined ? {} : { hotThreshold: Number(flags.hotThreshold) }),
    ...(flags.promotion === undefined ? {} : { promotion: parsePromotion(flags.promotion) }),
    ...(flags.pci === undefined ? {} : { pci: parseSwitch(flags.pci, '--pci') }),
    ...(flags.balloon === undefined ? {} : { balloon: parseSwitch(flags.balloon, '--balloon') }),
    ...(flags.overlay === undefined ? {} : { overlay: parseSwitch(flags.overlay, '--overlay') }),
    ...(flags.shadows === undefined ? {} : { shadows: parseCount(flags.shadows, '--shadows', 1, 64) }),
    ...(flags.shadowModel === undefined ? {} : { shadowModel: parseShadowModel(flags.shadowModel) }),
    ...(flags.nested === undefined ? {} : { nested: parseSwitch(flags.nested, '--nested') }),
    ...(flags.combinedShadows === undefined
      ? {}
      : { combinedShadows: parseSwitch(flags.combinedShadows, '--combined-shadows') }),
    ...(flags.relay === undefined ? {} : { relay: parseSwitch(flags.relay, '--relay') }),
    ...(flags.interruptRate === undefined
      ? {}
      : { interruptRate: parseCount(flags.interruptRate, '--interrupt-rate', 100, 10_000_000) }),
    ...(flags.asidBits === undefined ? {} : { asidBits: parseCount(flags.asidBits, '--asid-bits', 0, 16) }),
    ...(flags.aia === undefined ? {} : { aia: parseAia(flags.aia) }),
    ...(flags.aiaGuests === undefined ? {} : { aiaGuests: parseCount(flags.aiaGuests, '--aia-guests', 0, 7) }),
    ...(flags.trap === undefined ? {} : { traps: flags.trap }),
    ...(flags.trapLog === undefined ? {} : { trapLog: flags.trapLog }),
    ...(flags.protection === undefined ? {} : { protection: parseSwitch(flags.protection, '--protection') }),
    ...(flags.protectionLog === undefined ? {} : { protectionLog: flags.protectionLog }),
    ...(flags.codeMemory === undefined ? {} : { codeMemoryBytes: parseSize(flags.codeMemory, '--code-memory') }),
    ...(flags.bootSnapshot === undefined ? {} : { bootSnapshot: parseSwitch(flags.bootSnapshot, '--boot-snapshot') }),
    ...agentOption(flags.agent),
    ...careOptions(flags),
  };
}

/** A disk that a server exports (docs/disks.md). */
const SERVER = /^nbds?(\+unix)?:/;

/** Files as any process finds them: the machine's has a folder of its own. */
export function withPaths<O extends MachineOptions>(options: O, base = process.cwd()): O {
  const { kernel, initrd, bios, protectionLog, trapLog, drives, shares } = options;
  const at = (path: string): string => resolve(base, path);
  return {
    ...options,
    ...(kernel === undefined ? {} : { kernel: at(kernel) }),
    ...(initrd === undefined ? {} : { initrd: at(initrd) }),
    ...(bios === undefined || bios === 'none' ? {} : { bios: at(bios) }),
    ...(protectionLog === undefined ? {} : { protectionLog: at(protectionLog) }),
    ...(trapLog === undefined ? {} : { trapLog: at(trapLog) }),
    ...(shares === undefined ? {} : { shares: shares.map((share) => ({ ...share, host: at(share.host) })) }),
    ...(drives === undefined
      ? {}
      : {
          drives: drives.map((drive) => ({
            ...drive,
            file: SERVER.test(drive.file) ? drive.file : at(drive.file),
            ...(typeof drive.overlay === 'string' ? { overlay: at(drive.overlay) } : {}),
          })),
        }),
  };
}
