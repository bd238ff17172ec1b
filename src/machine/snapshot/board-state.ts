/**
 * What a board's blocks hold, as plain data: each vCPU's architectural state and what the hypervisor keeps of it, each
 * device's block. What the engine derives (translations, decoded code, addresses in this machine's memory) is not in
 * it: a restored machine starts without, as one that was just made.
 *
 * What comes back may come from a hostile file: a shape that does not fit is refused, and so is a hart in a state that
 * no hart reaches. What else a guest could not have brought about is as harmless as what it could.
 */
import { OperatorError } from '../../base/errors.ts';
import { layoutDigest, misfit } from '../../base/saved.ts';
import { restore, type Saved, save, struct } from '../../base/struct.ts';
import { vcpuState } from '../../engine/index.ts';
import { GATE, HART, hartBlock } from '../../hypervisor/index.ts';
import { FEATURE, STATE_FIELDS } from '../../isa/index.ts';
import { type Board, DOORBELL, pciDoorbell } from '../board.ts';
import { countersLayout } from '../interrupts/index.ts';
import { damaged, notThisVersion } from './chunks.ts';

const engine = vcpuState.fields;
/** Of a vCPU's block: architecture, the instruction clock, and an access to a device whose answer it has not taken. */
export const savedVcpu = struct('vcpu', {
  ...STATE_FIELDS,
  steps: engine.steps,
  timeOffset: engine.timeOffset,
  exitKind: engine.exitKind,
  mmioAnswer: engine.mmioAnswer,
  exitGpa: engine.exitGpa,
  exitValue: engine.exitValue,
  exitBytes: engine.exitBytes,
  exitIsWrite: engine.exitIsWrite,
  requests: engine.requests,
  resume: engine.resume,
  pass: engine.pass,
});

export interface SavedBoard {
  readonly vcpus: readonly { readonly state: Saved; readonly hart: Saved }[];
  /** By name. */
  readonly devices: { readonly [name: string]: Saved };
  /** Counters of its PCI Express functions; absent where it has none. */
  readonly interrupts?: Saved | undefined;
}

/** Digests of everything that a board's saved state is laid out by, by name. */
export function layoutDigests(board: Board): Record<string, string> {
  return Object.fromEntries([
    ['vcpu', layoutDigest(savedVcpu)],
    ['hart', layoutDigest(hartBlock)],
    ...board.devices.map((device) => [device.name, layoutDigest(device.layout)]),
    ...(board.pci === undefined ? [] : [['interrupts', layoutDigest(countersLayout(board.requesters.length))]]),
  ]);
}

/** Throws OperatorError `snapshot-version` where the saved state means something else. */
export function checkLayouts(board: Board, digests: Readonly<Record<string, string>>, name: string): void {
  const ours = layoutDigests(board);
  for (const [what, digest] of Object.entries(ours))
    if (digests[what] !== digest) throw notThisVersion(name, `it has another ${what}`);
  for (const what of Object.keys(digests))
    if (ours[what] === undefined) throw notThisVersion(name, `it has a ${what.slice(0, 40)}, which there is not here`);
}

/** The machine stands still. */
export function saveBoard(board: Board): SavedBoard {
  // Then relays hold nothing but levels, which functions tell again when they are restored.
  const fabric = board.commons.interrupts?.fabric;
  fabric?.settle();
  return {
    vcpus: board.vcpus.map(({ state, hart }) => ({ state: save(savedVcpu, state), hart: save(hartBlock, hart) })),
    devices: Object.fromEntries(
      board.devices.map((device) => [device.name, board.locked(device, () => save(device.layout, device.state))]),
    ),
    ...(board.pci && fabric ? { interrupts: fabric.saveCounters(board.partition, board.requesters) } : {}),
  };
}

/**
 * Brings a board that has not run yet into the saved state, its clock at the saved one's ticks already. `resumeBoard`
 * follows once guest memory is there. `name` is the file's. Throws OperatorError.
 */
export function restoreBoard(board: Board, saved: SavedBoard, name: string): void {
  for (const [i, vcpu] of board.vcpus.entries()) {
    const { state, hart } = saved.vcpus[i] ?? {};
    const wrong = misfit(savedVcpu, state) ?? misfit(hartBlock, hart);
    if (state === undefined || hart === undefined || wrong !== undefined) throw unfit(name, wrong ?? `vcpu ${i}`);
    const { features, misa, mhartid, asidAbsent, guestFiles } = vcpu.state;
    if (state['features'] !== `${features}` || state['misa'] !== `${misa}` || state['mhartid'] !== `${mhartid}`)
      throw otherHart(name);
    if (state['asidAbsent'] !== `${asidAbsent}` || state['guestFiles'] !== `${guestFiles}`) throw otherHart(name);
    restore(savedVcpu, vcpu.state, state);
    restore(hartBlock, vcpu.hart, hart);
    const strange = strangeIn(vcpu.state, vcpu.status);
    if (strange !== undefined) throw unfit(name, strange);
    // A reservation that is gone makes a store-conditional fail, as it may at any time.
    Object.assign(vcpu.state, { reservationSize: 0n });
    vcpu.hart.running = vcpu.hart.busy = 0;
    vcpu.hart.gate = GATE.open;
    vcpu.hart.seenFlushes = board.memory.header.codeFlushes;
    vcpu.hart.seenDecoded = board.memory.header.decodedEpoch;
    vcpu.forgetTranslations();
  }
  for (const device of board.devices) {
    const state = saved.devices[device.name];
    const wrong = misfit(device.layout, state);
    if (state === undefined || wrong !== undefined) throw unfit(name, `${device.name}: ${wrong ?? 'nothing'}`);
    board.locked(device, () => restore(device.layout, device.state, state));
  }
  if (board.pci) restoreInterrupts(board, saved.interrupts, name);
}

function restoreInterrupts(board: Board, saved: Saved | undefined, name: string): void {
  const wrong = misfit(countersLayout(board.requesters.length), saved);
  if (saved === undefined || wrong !== undefined) throw unfit(name, wrong ?? 'interrupts');
  board.commons.interrupts?.fabric.restoreCounters(board.partition, board.requesters, saved);
}

/** Every output is driven again, and devices take up what they had under way. Throws OperatorError `device-changed`. */
export function resumeBoard(board: Board): void {
  const { interrupts, aclint, uart, rtc, world } = board;
  interrupts.drive();
  for (const device of [aclint, uart, rtc]) board.locked(device, () => device.drive());
  board.pci?.drive();
  for (const device of board.virtioDevices) board.locked(device, () => device.resume());
  const doorbells = [...board.slots.keys(), ...(board.pci?.functions ?? []).map((_, i) => pciDoorbell(i))];
  for (const doorbell of [DOORBELL.uart, DOORBELL.rtc, ...doorbells]) world.ring(doorbell);
}

type Registers = Readonly<
  Record<'mode' | 'virtual' | 'satp' | 'vsatp' | 'hgatp' | 'frm' | 'fflags' | 'pc' | 'mstatus' | 'features', bigint> &
    Record<'asidAbsent', bigint>
>;

/** What no hart can be in. */
function strangeIn(state: Registers, status: number): string | undefined {
  if (![0n, 1n, 3n].includes(state.mode)) return 'vcpu.mode';
  const { sv39, sv48, sv57, h } = FEATURE;
  const mayBeGuest = (state.features & h) !== 0n && state.mode !== 3n;
  if (state.virtual !== 0n && !(state.virtual === 1n && mayBeGuest)) return 'vcpu.virtual';
  const modes: Partial<Record<string, bigint>> = { 8: sv39, 9: sv48, 10: sv57 };
  for (const field of ['satp', 'vsatp', 'hgatp'] as const) {
    const mode = state[field] >> 60n;
    if (mode !== 0n && (state.features & (modes[`${mode}`] ?? 0n)) === 0n) return `vcpu.${field}`;
  }
  for (const field of ['satp', 'vsatp'] as const) if ((state[field] & state.asidAbsent) !== 0n) return `vcpu.${field}`;
  // The root is four pages; bits 58 and 59 are nobody's, and the engine counts on that (engine/fence-scope.ts).
  if ((state.hgatp & ((3n << 58n) | 3n)) !== 0n) return 'vcpu.hgatp';
  if (state.frm > 7n || state.fflags > 31n) return 'vcpu.frm';
  if ((state.pc & 1n) !== 0n) return 'vcpu.pc';
  if (((state.mstatus >> 11n) & 3n) === 2n) return 'vcpu.mstatus';
  if (!(Object.values(HART) as number[]).includes(status)) return 'hart-block.status';
  return undefined;
}

function unfit(name: string, what: string): OperatorError {
  return damaged(name, `is damaged: ${what} is not what a machine has`);
}

function otherHart(name: string): OperatorError {
  return new OperatorError(
    'snapshot-other-machine',
    `the snapshot ${name} is of a machine whose harts have other extensions`,
    'Restore it with the kage that took it.',
  );
}
