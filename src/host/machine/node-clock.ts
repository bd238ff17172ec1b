/** Node's clock for conversations with guests; its alarms keep no process alive. */
import type { HeartClock } from '../agent/index.ts';

export const nodeClock: HeartClock = {
  nowMs: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
