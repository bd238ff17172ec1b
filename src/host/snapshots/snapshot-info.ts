/** What a snapshot says of itself, without making its machine. */
import type { DriveOptions, ShareOptions } from '../machine/machine-api.ts';
import { SnapshotFile } from './snapshot-file.ts';

export interface SnapshotInfo {
  readonly id: string;
  /** The machine's name when it was taken. */
  readonly name: string;
  readonly createdAt: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly drives: readonly DriveOptions[];
  /** Folders that the guest had; others may be given it for the same places. */
  readonly shares: readonly ShareOptions[];
}

/** Throws OperatorError `snapshot-not-found` and others of `snapshot-`. */
export function inspectSnapshot(path: string): SnapshotInfo {
  const file = SnapshotFile.open(path);
  file.close();
  const { id, name, createdAt, harts, options } = file.head;
  const { memoryBytes, drives = [], shares = [] } = options;
  return { id, name, createdAt, cpus: harts, memoryBytes, drives, shares };
}
