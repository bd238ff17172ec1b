/**
 * The built-in Supervisor Binary Interface, version 2.0: BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN and the legacy
 * console and timer calls. An ecall from supervisor mode leaves the engine; the function is in a7 and a6, operands
 * in a0 to a5, results go to a0 (error) and a1 (value). Names follow the specification.
 */
import { must } from '../base/assert.ts';
import { EVERY_GUEST, guestScope, HOST_SCOPE } from '../engine/index.ts';
import { FEATURE } from '../isa/index.ts';
import { HART, IRQ, REQUEST, type RemoteFence, type Vcpu } from './vcpu.ts';

export const SBI_ERROR = {
  success: 0n,
  failed: -1n,
  notSupported: -2n,
  invalidParam: -3n,
  denied: -4n,
  invalidAddress: -5n,
  alreadyAvailable: -6n,
  alreadyStarted: -7n,
  alreadyStopped: -8n,
} as const;

const EXTENSION = {
  base: 0x10n,
  time: 0x54494d45n,
  ipi: 0x735049n,
  rfence: 0x52464e43n,
  hsm: 0x48534dn,
  srst: 0x53525354n,
  dbcn: 0x4442434en,
} as const;
/** What a probe finds; the legacy calls by their numbers, those that `legacy` answers. */
const OFFERED: ReadonlySet<bigint> = new Set([...Object.values(EXTENSION), 0n, 1n, 2n, 3n, 8n]);
/** 0x4b: an implementation number of our own; the specification's list ends before it. */
const IMPLEMENTATION_ID = 0x4bn;
const PROMOTABLE: ReadonlySet<bigint> = new Set([
  ...[EXTENSION.base, EXTENSION.time, EXTENSION.ipi, EXTENSION.dbcn],
  // Legacy: timer, console, clearing of an interrupt.
  ...[0n, 1n, 2n, 3n],
]);
const NEVER = (1n << 64n) - 1n;
/** Of hgatp. */
const VMID_SHIFT = 44n;
/** Most bytes that one DBCN call moves: the guest calls again for the rest. */
const CONSOLE_CHUNK = 4096;

export interface SbiPorts {
  readonly vcpus: readonly Vcpu[];
  consoleWrite(bytes: Uint8Array): number;
  /** What has been typed, at most `limit` bytes. */
  consoleRead(limit: number): Uint8Array;
  /** Guest memory by guest-physical address; false where there is none. */
  readMemory(gpa: number, into: Uint8Array): boolean;
  isWritable(gpa: number, bytes: number): boolean;
  writeMemory(gpa: number, from: Uint8Array): boolean;
  finish(wish: 'poweroff' | 'reboot' | 'failure'): void;
  /** Waits until the vCPUs have served their requests, serving those of `self` meanwhile. */
  awaitRequests(self: Vcpu, targets: readonly Vcpu[]): void;
  /** Waits until what any vCPU has written to code is executed by the next fetch, as fence.i does. */
  awaitMarks(self: Vcpu): void;
}

type Result = { error: bigint; value?: bigint };
const ok = (value = 0n): Result => ({ error: SBI_ERROR.success, value });
const error = (code: bigint): Result => ({ error: code });

/** Answers the call that `vcpu` made. The vCPU goes on behind its ecall, unless it stopped or its hart was restarted. */
export function sbiCall(vcpu: Vcpu, ports: SbiPorts): void {
  const x = vcpu.state.x;
  const extension = BigInt.asUintN(64, x[17] ?? 0n);
  vcpu.hart.calls++;
  if (extension <= 8n) {
    const value = legacy(Number(extension), vcpu, ports);
    x[10] = BigInt.asUintN(64, value);
    return;
  }
  const result = dispatch(extension, BigInt.asUintN(64, x[16] ?? 0n), vcpu, ports);
  if (result === undefined) return;
  x[10] = BigInt.asUintN(64, result.error);
  x[11] = BigInt.asUintN(64, result.value ?? 0n);
}

/**
 * Whether promoted code may answer the call that the vCPU is about to make: it returns, the machine goes on, and nobody
 * is waited for.
 */
export function isPromotable({ state }: Vcpu): boolean {
  const extension = BigInt.asUintN(64, state.x[17] ?? 0n);
  return PROMOTABLE.has(extension);
}

/** Whether the call that the vCPU is about to make reads or writes guest memory. */
export function reachesMemory({ state }: Vcpu): boolean {
  return BigInt.asUintN(64, state.x[17] ?? 0n) === EXTENSION.dbcn;
}

/** Undefined: the call does not return. */
function dispatch(extension: bigint, fn: bigint, vcpu: Vcpu, ports: SbiPorts): Result | undefined {
  switch (extension) {
    case EXTENSION.base:
      return base(fn, vcpu);
    case EXTENSION.time:
      if (fn !== 0n) return error(SBI_ERROR.notSupported);
      setTimer(vcpu, arg(vcpu, 0));
      return ok();
    case EXTENSION.ipi: {
      if (fn !== 0n) return error(SBI_ERROR.notSupported);
      const targets = selectHarts(arg(vcpu, 0), arg(vcpu, 1), ports);
      if (!targets) return error(SBI_ERROR.invalidParam);
      for (const target of targets) target.request(REQUEST.softwareInterrupt);
      return ok();
    }
    case EXTENSION.rfence:
      return remoteFence(fn, vcpu, ports);
    case EXTENSION.hsm:
      return hartState(fn, vcpu, ports);
    case EXTENSION.srst: {
      if (fn !== 0n) return error(SBI_ERROR.notSupported);
      // Shutdown, cold and warm reboot; no reason, system failure. The others are reserved, or a platform's own.
      const [type, reason] = [BigInt.asUintN(32, arg(vcpu, 0)), BigInt.asUintN(32, arg(vcpu, 1))];
      if (type > 2n || reason > 1n) return error(SBI_ERROR.invalidParam);
      ports.finish(type === 0n ? (reason === 1n ? 'failure' : 'poweroff') : 'reboot');
      return ok();
    }
    case EXTENSION.dbcn:
      return debugConsole(fn, vcpu, ports);
    default:
      return error(SBI_ERROR.notSupported);
  }
}

function base(fn: bigint, vcpu: Vcpu): Result {
  switch (fn) {
    case 0n:
      return ok(2n << 24n);
    case 1n:
      return ok(IMPLEMENTATION_ID);
    case 2n:
      return ok(1n);
    case 3n:
      return ok(OFFERED.has(arg(vcpu, 0)) ? 1n : 0n);
    case 4n:
    case 5n:
    case 6n:
      return ok();
    default:
      return error(SBI_ERROR.notSupported);
  }
}

function setTimer(vcpu: Vcpu, ticks: bigint): void {
  vcpu.hart.sbiDeadline = ticks;
  vcpu.setPending(IRQ.sti, false);
}

/** Functions of RFENCE: those of a nested guest need harts that have the hypervisor extension. */
const RFENCE = { code: 0n, vma: 1n, vmaAsid: 2n, gvmaVmid: 3n, gvma: 4n, vvmaAsid: 5n, vvma: 6n } as const;

function remoteFence(fn: bigint, vcpu: Vcpu, ports: SbiPorts): Result {
  if (fn > RFENCE.vvma) return error(SBI_ERROR.notSupported);
  if (fn > RFENCE.vmaAsid && (vcpu.state.features & FEATURE.h) === 0n) return error(SBI_ERROR.notSupported);
  const targets = selectHarts(arg(vcpu, 0), arg(vcpu, 1), ports);
  if (!targets) return error(SBI_ERROR.invalidParam);
  for (const target of targets) {
    if (fn === RFENCE.code) target.request(REQUEST.flushWrites);
    else target.requestFence(fenceOf(fn, vcpu));
  }
  ports.awaitRequests(vcpu, targets);
  if (fn === RFENCE.code) ports.awaitMarks(vcpu);
  return ok();
}

/** hfence.gvma drops what a guest's second stage gave, wherever that is: translations of virtual addresses know no other. */
function fenceOf(fn: bigint, vcpu: Vcpu): RemoteFence {
  const whole = { va: 0n, bytes: 0n, asid: -1n };
  const range = { va: arg(vcpu, 2), bytes: arg(vcpu, 3), asid: -1n };
  const asid = arg(vcpu, 4) & 0xffffn;
  const own = guestScope(vcpu.state.hgatp >> VMID_SHIFT);
  switch (fn) {
    case RFENCE.vmaAsid:
      return { ...range, asid, scope: HOST_SCOPE };
    case RFENCE.gvmaVmid:
      return { ...whole, scope: guestScope(arg(vcpu, 4)) };
    case RFENCE.gvma:
      return { ...whole, scope: EVERY_GUEST };
    case RFENCE.vvmaAsid:
      return { ...range, asid, scope: own };
    case RFENCE.vvma:
      return { ...range, scope: own };
    default:
      return { ...range, scope: HOST_SCOPE };
  }
}

function hartState(fn: bigint, vcpu: Vcpu, ports: SbiPorts): Result | undefined {
  const id = arg(vcpu, 0);
  const target = id < BigInt(ports.vcpus.length) ? ports.vcpus[Number(id)] : undefined;
  switch (fn) {
    case 0n: {
      if (!target) return error(SBI_ERROR.invalidParam);
      if (!ports.readMemory(Number(arg(vcpu, 1)), new Uint8Array(2))) return error(SBI_ERROR.invalidAddress);
      // Claimed first, so that of two callers one wins; the operands stand before the hart sees that it may start.
      if (!target.changeStatus(HART.stopped, HART.startClaimed))
        return error(target.status === HART.started ? SBI_ERROR.alreadyAvailable : SBI_ERROR.failed);
      target.hart.startAddress = arg(vcpu, 1);
      target.hart.startOpaque = arg(vcpu, 2);
      target.status = HART.startPending;
      target.wake();
      return ok();
    }
    case 1n:
      vcpu.status = HART.stopped;
      return undefined;
    case 2n:
      return target
        ? ok(BigInt(target.status === HART.startClaimed ? HART.startPending : target.status))
        : error(SBI_ERROR.invalidParam);
    case 3n: {
      const type = BigInt.asUintN(32, arg(vcpu, 0));
      // Retentive suspend is a wait for an interrupt; non-retentive forgets registers and starts at the address.
      if (type !== 0n && type !== 0x8000_0000n)
        return error(type > 0x8000_0000n || type < 0x1000_0000n ? SBI_ERROR.invalidParam : SBI_ERROR.notSupported);
      if (type !== 0n) {
        vcpu.hart.startAddress = arg(vcpu, 1);
        vcpu.hart.startOpaque = arg(vcpu, 2);
      }
      vcpu.state.x[10] = 0n;
      vcpu.state.x[11] = 0n;
      vcpu.status = type === 0n ? HART.suspendPending : HART.suspended;
      return undefined;
    }
    default:
      return error(SBI_ERROR.notSupported);
  }
}

function debugConsole(fn: bigint, vcpu: Vcpu, ports: SbiPorts): Result {
  if (fn === 2n) {
    ports.consoleWrite(Uint8Array.of(Number(arg(vcpu, 0) & 0xffn)));
    return ok();
  }
  if (fn > 2n) return error(SBI_ERROR.notSupported);
  const bytes = Number(arg(vcpu, 0) < BigInt(CONSOLE_CHUNK) ? arg(vcpu, 0) : BigInt(CONSOLE_CHUNK));
  const gpa = arg(vcpu, 1);
  if (arg(vcpu, 2) !== 0n || gpa > 1n << 52n) return error(SBI_ERROR.invalidParam);
  const buffer = new Uint8Array(bytes);
  if (fn === 0n) {
    if (!ports.readMemory(Number(gpa), buffer)) return error(SBI_ERROR.invalidParam);
    return ok(BigInt(ports.consoleWrite(buffer)));
  }
  // Before anything is taken: what was typed is not lost to a bad buffer.
  if (!ports.isWritable(Number(gpa), bytes)) return error(SBI_ERROR.invalidParam);
  const typed = ports.consoleRead(bytes);
  if (!ports.writeMemory(Number(gpa), typed)) return error(SBI_ERROR.invalidParam);
  return ok(BigInt(typed.length));
}

/** SBI 0.1: the function is the extension number, the result a0 alone. Masks are by virtual address: not offered. */
function legacy(number: number, vcpu: Vcpu, ports: SbiPorts): bigint {
  switch (number) {
    case 0:
      setTimer(vcpu, arg(vcpu, 0));
      return 0n;
    case 1:
      ports.consoleWrite(Uint8Array.of(Number(arg(vcpu, 0) & 0xffn)));
      return 0n;
    case 2: {
      const [typed] = ports.consoleRead(1);
      return typed === undefined ? -1n : BigInt(typed);
    }
    case 3:
      vcpu.setPending(IRQ.ssi, false);
      return 0n;
    case 8:
      ports.finish('poweroff');
      return 0n;
    default:
      return SBI_ERROR.notSupported;
  }
}

/** The harts of a mask and its base; base -1 means all. Undefined where the mask names one that is not there. */
function selectHarts(mask: bigint, maskBase: bigint, ports: SbiPorts): readonly Vcpu[] | undefined {
  if (maskBase === NEVER) return ports.vcpus;
  const chosen: Vcpu[] = [];
  for (let bit = 0n; bit < 64n; bit++) {
    if (((mask >> bit) & 1n) === 0n) continue;
    const id = maskBase + bit;
    if (id >= BigInt(ports.vcpus.length)) return undefined;
    chosen.push(must(ports.vcpus[Number(id)]));
  }
  return chosen;
}

function arg(vcpu: Vcpu, index: number): bigint {
  return BigInt.asUintN(64, vcpu.state.x[10 + index] ?? 0n);
}
