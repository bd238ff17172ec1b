/**
 * Snapshots of guests that have just booted, in the user's cache folder: whoever starts the same machine again starts
 * where its agent answered for the first time, in a fraction of a second. Which machine it is, is all that the guest
 * could have seen: kernel, initial file system and disks as files of that size and time, command line, harts, memory,
 * extensions, network; and the build of this program. What only the host sees (ports, translation) may differ.
 *
 * Deleting the folder costs time, never data. Files are as secret as the guests were: for the user alone.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, realpathSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import { cacheFolder } from '../debian/index.ts';
import { keepsWrites } from '../machine/drives.ts';
import type { MachineOptions } from '../machine/machine-api.ts';
import { build } from '../package-files.ts';

/** Machines that are started again and again are few; each has a file as large as the memory that its boot touched. */
const MOST_KEPT = 4;

/** Why a machine with such options boots, whatever it finds; undefined where it need not. */
export function whyItBoots(options: MachineOptions): string | undefined {
  const { kernel, initrd, bios, clock, seed, gdbPort, startPaused, traps, agent, drives, room } = options;
  const { protection, protectionLog } = options;
  if (kernel === undefined || initrd === undefined || bios !== undefined) return 'a machine without kernel and initrd';
  if (agent === false || agent === 'off') return 'a machine without agent (--no-agent)';
  if (clock === 'instructions' || seed !== undefined) return '--clock instructions and --seed';
  if (gdbPort !== undefined || startPaused === true) return '--gdb and --start-paused';
  if (protection === false || protectionLog !== undefined) return '--protection off and --protection-log';
  if (traps !== undefined && traps.length > 0) return '--trap';
  if (room !== undefined) return 'room for several guests';
  if (options.netdevs !== undefined || options.mac !== undefined) return 'uplinks of its own (--netdev) and --mac';
  return keepsWrites(drives) ? 'a disk that keeps what is written to it' : undefined;
}

/** Where the snapshot of such a machine is, or would be; undefined where there is none, or a file cannot be found. */
export function bootSnapshotPath(options: MachineOptions): string | undefined {
  if (whyItBoots(options) !== undefined) return undefined;
  const { kernel = '', initrd = '', drives = [] } = options;
  try {
    const named = JSON.stringify([
      build ?? 'source',
      identity(kernel),
      identity(initrd),
      options.append ?? '',
      options.cpus ?? 1,
      options.memoryBytes ?? 0,
      options.cpu ?? '',
      options.nested ?? '',
      options.overlay ?? true,
      options.asidBits ?? 16,
      options.aia ?? 'none',
      options.aiaGuests ?? 0,
      options.pci ?? false,
      options.network ?? true,
      options.agent ?? true,
      options.vsock === undefined ? '' : (options.vsock.cid ?? 3),
      (options.shares ?? []).map(({ guest, readOnly }) => [guest, readOnly ?? false]),
      options.protection ?? true,
      drives.map(({ file, readOnly, format, backing, discard }) => [
        identity(file),
        readOnly ?? false,
        format ?? '',
        backing ?? true,
        discard ?? 'unmap',
      ]),
    ]);
    return join(folder(), `${createHash('sha256').update(named).digest('hex').slice(0, 32)}.kage`);
  } catch {
    return undefined; // whoever makes the machine says what is missing
  }
}

/** Makes room for one, in a folder of the user's own. Throws where there can be none. */
export function prepareFolder(): void {
  mkdirSync(folder(), { recursive: true, mode: 0o700 });
}

/** It was used, or made: the oldest of too many go. */
export function keepBootSnapshot(path: string): void {
  try {
    const now = new Date();
    utimesSync(path, now, now);
    const all = readdirSync(folder()).map((name) => join(folder(), name));
    const dated = all.map((file) => ({ file, ms: statSync(file).mtimeMs })).sort((a, b) => b.ms - a.ms);
    for (const { file } of dated.slice(MOST_KEPT)) rmSync(file, { force: true });
  } catch {
    // Another process tidies up as well, or may write there and we may not.
  }
}

/** What is the matter with the file itself: it goes, and the machine boots. */
export function isFileAtFault(error: unknown): boolean {
  return error instanceof OperatorError && /^(snapshot-|disk-changed|device-changed)/.test(error.code);
}

function folder(): string {
  return cacheFolder('boots');
}

function identity(path: string): readonly string[] {
  const { size, mtimeNs, ino } = statSync(path, { bigint: true });
  return [realpathSync(path), `${size}`, `${mtimeNs}`, `${ino}`];
}
