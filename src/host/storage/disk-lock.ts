/**
 * Keeps two machines from writing one disk, or one from writing what another reads. Node has no flock, so holders
 * are files in a folder that belongs to the disk (by device and inode, so that other names and links are the same
 * disk):
 *
 *     LOCKS/DEVICE-INODE/{shared,exclusive}.PID.STARTED.BOOT.RANDOM
 *
 * A holder first creates its file, then looks who else is there, and withdraws if they cannot live together: of two
 * that come at once at most one stays, never both. A holder whose process is gone (or whose process id belongs to
 * another by now) does not count and is removed; names are never used twice, so nobody removes a living one.
 * Leaves out: users with different lock folders, other hosts on a network file system, other programs.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../base/errors.ts';
import { runtimeFolder } from '../control/runtime-folder.ts';

export type LockMode = 'shared' | 'exclusive';

export interface DiskLock {
  /** Synchronous, so that it can be done on the way out of a process. */
  release(): void;
}

const ATTEMPTS = 4;

/**
 * Takes the lock of the disk with this identity (`stat`'s dev and ino), or throws OperatorError `disk-in-use`.
 * `path` is for the message, `lockFolder` by default in the user's runtime folder.
 */
export async function lockDisk(
  path: string,
  identity: { readonly dev: bigint; readonly ino: bigint },
  mode: LockMode,
  lockFolder?: string,
): Promise<DiskLock> {
  const locks = lockFolder ?? join(await runtimeFolder(), 'disks');
  const folder = join(locks, `${identity.dev}-${identity.ino}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  let holder: number | undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // Two that came at once have both withdrawn: the next try finds one of them first.
    if (attempt > 0) await sleep(randomInt(5, 40));
    const mine = join(folder, `${mode}.${process.pid}.${startedAt(process.pid) ?? 0}.${bootId()}.${randomUUID()}`);
    await writeFile(mine, '', { flag: 'wx', mode: 0o600 });
    holder = await conflictingHolder(folder, mine, mode);
    if (holder === undefined) return { release: () => rmSync(mine, { force: true }) };
    await rm(mine, { force: true });
  }
  const who = holder === process.pid ? 'this machine' : `process ${holder}`;
  throw new OperatorError(
    'disk-in-use',
    `${path} is in use by ${who}`,
    mode === 'shared'
      ? 'Stop the machine that writes it, or make a copy.'
      : 'Stop the other machine, or share the disk: read-only (`:ro`) in both, or as base of an overlay each.',
  );
}

async function conflictingHolder(folder: string, mine: string, mode: LockMode): Promise<number | undefined> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (path === mine) continue;
    const [theirs, pid, started, boot] = name.split('.');
    if (!alive(Number(pid), started ?? '', boot ?? '')) {
      await rm(path, { force: true });
      continue;
    }
    if (mode === 'exclusive' || theirs === 'exclusive') return Number(pid);
  }
  return undefined;
}

function alive(pid: number, started: string, boot: string): boolean {
  if (boot !== bootId()) return false;
  const now = startedAt(pid);
  if (now !== undefined) return String(now) === started;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When a process started, in clock ticks since boot (proc(5), stat, field 22); undefined where it cannot be known. */
function startedAt(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name in parentheses and may hold anything.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch {
    return undefined;
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return 'unknown';
  }
}
