/** A web worker as the host of a machine: its clock, timers, turns of its event loop, randomness. */
import { type HostPorts, TICKS_PER_MS } from '../../machine/index.ts';

const MOST_DELAY_MS = 2 ** 31 - 1;
/** The most that crypto.getRandomValues gives at a time. */
const RANDOM_CHUNK_BYTES = 65536;

export const webPorts: HostPorts = {
  wallMs: () => Date.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, Math.min(delayMs, MOST_DELAY_MS));
    return () => clearTimeout(timer);
  },
  defer: (callback) => queueMicrotask(callback),
  fillRandom: (into) => {
    const chunk = new Uint8Array(Math.min(into.length, RANDOM_CHUNK_BYTES));
    for (let at = 0; at < into.length; at += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, into.length - at));
      crypto.getRandomValues(part);
      into.set(part, at);
    }
  },
};

/** A moment that all workers of the page agree on, in milliseconds: their clocks start apart but run alike. */
export function clockEpoch(): number {
  return performance.timeOrigin + performance.now();
}

/** Timebase ticks since the epoch. */
export function ticksSince(epochMs: number): () => number {
  const offsetMs = performance.timeOrigin - epochMs;
  return () => (performance.now() + offsetMs) * TICKS_PER_MS;
}

/** Resolves behind the events that wait now. A message comes at once, where a timer would wait for milliseconds. */
export function turns(): () => Promise<void> {
  const { port1, port2 } = new MessageChannel();
  let resolve = (): void => {};
  port1.onmessage = () => resolve();
  return () =>
    new Promise<void>((done) => {
      resolve = done;
      port2.postMessage(null);
    });
}
