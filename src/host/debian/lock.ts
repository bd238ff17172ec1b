/**
 * A lock between processes, as a file that names its holder. Node has no flock, so the file is created exclusively
 * and polled. A holder that died is recognised by its process id and start time, and its file is taken away.
 * Deviation from a perfect lock: two processes that find the same dead holder in the same instant could both enter.
 * What the lock guards is published by rename, so the price would be work done twice, never a broken result.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode } from './command.ts';

const pollMs = 50;

/** Runs `body` while holding the lock file `path`, whose folder must exist; waits for its holder if there is one. */
export async function withLock<T>(path: string, options: { signal?: AbortSignal }, body: () => Promise<T>): Promise<T> {
  const mine = `${process.pid} ${startTime(process.pid) ?? '?'} ${randomUUID()}\n`;
  while (!(await tryCreate(path, mine))) {
    options.signal?.throwIfAborted();
    await removeIfHolderDied(path);
    await sleep(pollMs, undefined, options.signal ? { signal: options.signal } : {});
  }
  try {
    return await body();
  } finally {
    if ((await readIfThere(path)) === mine) await rm(path, { force: true });
  }
}

/** Creates the lock with its contents in one step (a link), so that nobody ever reads it half written. */
async function tryCreate(path: string, contents: string): Promise<boolean> {
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, contents);
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

async function removeIfHolderDied(path: string): Promise<void> {
  const seen = await readIfThere(path);
  if (seen === undefined) return;
  const [pid, started] = seen.split(' ');
  const now = startTime(Number(pid));
  if (now !== undefined && (started === '?' || started === now)) return;
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    // Between reading and renaming, a living process may have replaced the file: then give it back.
    if ((await readIfThere(aside)) !== seen) await link(aside, path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' && errorCode(error) !== 'EEXIST') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** When the process began, in clock ticks since boot; '?' where /proc does not tell; undefined if it is not alive. */
function startTime(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return undefined;
  }
  try {
    // Field 22, counted behind the command's closing parenthesis (the command may hold spaces).
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return '?';
  }
}
