/** Numbered datagrams at a steady pace: what was sent and what came, by number, at which time of the host's one clock. */
export const INTERVAL_MS = 10;
export const PORT = 7000;
export const TCP_PORT = 7001;

/** Of a TCP connection on which both ends count up. */
export interface TcpTally {
  sent: number;
  got: number;
  isBroken: boolean;
  isOutOfOrder: boolean;
}

export interface Ledger {
  readonly sent: [number: number, atMs: number][];
  readonly got: [number: number, atMs: number][];
  /** Of guests that have TCP. */
  readonly tcp?: TcpTally;
}

/** A guest's, whose clock began at another time: what took least from it to the peer took no time. */
export function onHostClock(guest: Ledger, peer: Ledger): Ledger {
  const sentAt = new Map(guest.sent);
  const apart = peer.got.flatMap(([number, atMs]) => {
    const sent = sentAt.get(number);
    return sent === undefined ? [] : [atMs - sent];
  });
  const offset = apart.reduce((least, one) => Math.min(least, one), Number.POSITIVE_INFINITY);
  const moved = (entries: Ledger['sent']): Ledger['sent'] => entries.map(([number, atMs]) => [number, atMs + offset]);
  return { ...guest, sent: moved(guest.sent), got: moved(guest.got) };
}

export function newLedger(): Ledger {
  return { sent: [], got: [] };
}

/** Of the monotonic clock, which all processes share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Calls `send` with 1, 2, ... at each interval; what a late timer missed is not made up for. Returns how to stop it. */
export function pace(intervalMs: number, send: (number: number) => void): () => void {
  let number = 0;
  let dueMs = nowMs();
  let timer: NodeJS.Timeout;
  const next = (): void => {
    number += 1;
    send(number);
    dueMs = Math.max(dueMs + intervalMs, nowMs());
    timer = setTimeout(next, Math.max(1, dueMs - nowMs()));
  };
  next();
  return () => clearTimeout(timer);
}

/** How many were sent within the window and never came. */
export function lostWithin(sender: Ledger, receiver: Ledger, fromMs: number, toMs: number): number {
  const got = new Set(receiver.got.map(([number]) => number));
  return sender.sent.filter(([number, atMs]) => atMs >= fromMs && atMs < toMs && !got.has(number)).length;
}

/** How many came within the window, however late. */
export function cameWithin(receiver: Ledger, fromMs: number, toMs: number): number {
  return receiver.got.filter(([, atMs]) => atMs >= fromMs && atMs < toMs).length;
}

/** How many came more than once. */
export function doubled(receiver: Ledger): number {
  return receiver.got.length - new Set(receiver.got.map(([number]) => number)).size;
}
