/**
 * Reassembly of IPv4 fragments (RFC 791, 3.2; RFC 815's idea of holes, here a list of pieces in order). Bounded in
 * datagrams, pieces and time. Pieces that overlap void the whole datagram (as RFC 5722 rules for IPv6): no honest
 * sender makes them.
 */
import type { Ipv4Header } from './ipv4.ts';
import { Packet } from './packet.ts';
import type { Clock } from './ports.ts';

const MAX_PAYLOAD_BYTES = 65535 - 20;
/** 64 KiB in pieces of a 576-byte MTU are 119. */
const MAX_PIECES = 128;

interface Piece {
  readonly start: number;
  readonly end: number;
}

interface Assembly {
  readonly startedMs: number;
  readonly bytes: Uint8Array;
  readonly pieces: Piece[];
  /** The payload's length, once the last fragment is here. */
  totalBytes: number | undefined;
  /** An overlap was seen; what still comes is swallowed. */
  void: boolean;
}

export class Reassembly {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #timeoutMs: number;
  readonly #assemblies = new Map<string, Assembly>();
  readonly #whole = new Packet();
  #dropped = 0;

  constructor(clock: Clock, limit: number, timeoutMs: number) {
    this.#clock = clock;
    this.#limit = limit;
    this.#timeoutMs = timeoutMs;
  }

  /** Fragments and datagrams that were given up. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Takes a fragment, whose payload lies at `at`. When it completes its datagram, `ip` is turned into the header of
   * the whole and the packet that holds it is returned, header at `at - headerBytes` as before; it is lent until the
   * next call.
   */
  add(ip: Ipv4Header, packet: Packet, at: number): Packet | undefined {
    this.#expire();
    const end = ip.fragmentOffset + ip.payloadBytes;
    const uneven = ip.moreFragments && ip.payloadBytes % 8 !== 0;
    if (ip.payloadBytes === 0 || uneven || end > MAX_PAYLOAD_BYTES || at + end > this.#whole.bytes.length) {
      this.#dropped += 1;
      return undefined;
    }
    const key = `${ip.source}>${ip.destination}/${ip.protocol}#${ip.identification}`;
    const assembly = this.#assemblies.get(key) ?? this.#start(key);
    if (!place(assembly, ip.fragmentOffset, end, ip.moreFragments)) {
      assembly.void = true;
      this.#dropped += 1;
      return undefined;
    }
    assembly.bytes.set(packet.bytes.subarray(at, at + ip.payloadBytes), ip.fragmentOffset);
    if (!isWhole(assembly)) return undefined;
    this.#assemblies.delete(key);
    const totalBytes = assembly.totalBytes ?? 0;
    const headerAt = at - ip.headerBytes;
    this.#whole.bytes.set(packet.bytes.subarray(headerAt, at), headerAt);
    this.#whole.bytes.set(assembly.bytes.subarray(0, totalBytes), at);
    ip.fragmentOffset = 0;
    ip.moreFragments = false;
    ip.payloadBytes = totalBytes;
    return this.#whole;
  }

  clear(): void {
    this.#assemblies.clear();
  }

  #start(key: string): Assembly {
    if (this.#assemblies.size >= this.#limit) this.#dropOldest();
    const assembly: Assembly = {
      startedMs: this.#clock.nowMs(),
      bytes: new Uint8Array(MAX_PAYLOAD_BYTES),
      pieces: [],
      totalBytes: undefined,
      void: false,
    };
    this.#assemblies.set(key, assembly);
    return assembly;
  }

  #dropOldest(): void {
    for (const key of this.#assemblies.keys()) {
      this.#assemblies.delete(key);
      this.#dropped += 1;
      return;
    }
  }

  #expire(): void {
    const limitMs = this.#clock.nowMs() - this.#timeoutMs;
    for (const [key, assembly] of this.#assemblies) {
      if (assembly.startedMs > limitMs) return;
      this.#assemblies.delete(key);
      if (!assembly.void) this.#dropped += 1;
    }
  }
}

/** Puts a piece in its place; false when it contradicts the others. An exact duplicate is no contradiction. */
function place(assembly: Assembly, start: number, end: number, more: boolean): boolean {
  if (assembly.void) return false;
  const { pieces } = assembly;
  if (!more) {
    if (assembly.totalBytes !== undefined && assembly.totalBytes !== end) return false;
    if (pieces.some((piece) => piece.end > end)) return false;
    assembly.totalBytes = end;
  } else if (assembly.totalBytes !== undefined && end > assembly.totalBytes) return false;
  const index = pieces.findIndex((piece) => piece.start >= start);
  const after = index < 0 ? undefined : pieces[index];
  const before = index < 0 ? pieces.at(-1) : pieces[index - 1];
  if (after !== undefined && after.start === start && after.end === end) return true;
  if ((before !== undefined && before.end > start) || (after !== undefined && after.start < end)) return false;
  if (pieces.length >= MAX_PIECES) return false;
  pieces.splice(index < 0 ? pieces.length : index, 0, { start, end });
  return true;
}

function isWhole(assembly: Assembly): boolean {
  let reached = 0;
  for (const piece of assembly.pieces) {
    if (piece.start !== reached) return false;
    reached = piece.end;
  }
  return assembly.totalBytes !== undefined && reached === assembly.totalBytes;
}
