/**
 * Interrupt transactions: all that a PCI Express function says when it interrupts (PCI Express Base 6.0, sections 2.2.8.1
 * and 6.1). Assert_INTx and Deassert_INTx are messages that stand for a level wire; MSI and MSI-X are memory writes. A
 * function reaches its port only by `TransactionPort.send`: no device holds a callback into the VMM.
 *
 *     function -> port: relay or plain wire -> VMM
 *
 * A requester is named as the fabric knows it: the bus of its port, its device and function number, fixed for the life of
 * the machine. What bus numbers a guest gives away is its own affair, and two guests may give the same.
 */
import { assert } from '../../base/assert.ts';

/** Bus in bits 15:8, device in 7:3, function in 2:0. Bus 0 is the root complex's own, n + 1 is behind port n. */
export type RequesterId = number;

export interface InterruptTransaction {
  readonly requester: RequesterId;
  /** `assert` and `deassert` alternate for each requester and pin, from deasserted on. */
  readonly kind: 'assert' | 'deassert' | 'message';
  /** Of a message: the guest-physical address that it writes, a multiple of 4. Else 0. */
  readonly address: number;
  /** Of a message: the 32 bits written. Else the pin: 1 is INTA, 4 is INTD. */
  readonly data: number;
}

/**
 * Where a function's transactions go. `send` returns when the port has taken the transaction; it may be called on any
 * thread, by several threads for several functions at once, and in order for each function. Whatever the function wrote
 * to memory before is visible to whom the interrupt wakes.
 */
export interface TransactionPort {
  send(transaction: InterruptTransaction): void;
}

/** Pins of a function: INTA to INTD. */
export const INTX_PINS = 4;

export function requesterId(bus: number, device: number, func: number): RequesterId {
  assert(bus >= 0 && bus < 256 && device >= 0 && device < 32 && func >= 0 && func < 8, 'no such requester');
  return (bus << 8) | (device << 3) | func;
}

/** As lspci writes it: `01:00.0`. */
export function requesterName(id: RequesterId): string {
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return `${hex(id >> 8)}:${hex((id >> 3) & 31)}.${id & 7}`;
}
