/** What this process's threads used of the processors so far, by thread name; empty where there is no /proc. */
import { readdirSync, readFileSync } from 'node:fs';

const tasks = '/proc/self/task';

/** Milliseconds; threads of the same name (the host's compilers) are added up. */
export function threadTimes(): Map<string, number> {
  const times = new Map<string, number>();
  try {
    for (const thread of readdirSync(tasks)) {
      const name = readFileSync(`${tasks}/${thread}/comm`, 'utf8').trim();
      const ns = Number(readFileSync(`${tasks}/${thread}/schedstat`, 'utf8').split(' ')[0]);
      times.set(name, (times.get(name) ?? 0) + ns / 1e6);
    }
  } catch {
    // A thread has just ended, or there is no /proc.
  }
  return times;
}
