/**
 * A cluster's guest keeps what outlives it behind the storage's gate (docs/gate.md), and names the generation under which it does: a
 * drive `nbd://10.0.0.9/web` is `nbd://10.0.0.9/web@8` to a machine of generation 8. What a guest only reads, or writes to a layer
 * that dies with it, others may use too: no generation goes with that.
 */
import { OperatorError } from '../../base/errors.ts';
import { type DriveOptions, gateExportName } from '../../host/index.ts';

/** Of a gate's control, where a drive's address tells the host alone. */
const GATE_PORT = 10_810;

/** Whether what the guest writes to it is seen by whoever runs it next. */
export function isGated({ file, readOnly, overlay }: DriveOptions): boolean {
  return isNbd(file) && readOnly !== true && overlay === undefined;
}

/** Which drive of a machine is where. */
export interface DriveFile {
  readonly drive: number;
  readonly file: string;
}

/** The machine's drives, and which of them are other than declared. */
export function withGeneration(
  drives: readonly DriveOptions[],
  generation: number,
): { readonly drives: readonly DriveOptions[]; readonly files: readonly DriveFile[] } {
  const files: DriveFile[] = [];
  const gated = drives.map((drive, i) => {
    if (!isGated(drive)) return drive;
    const file = addressAt(drive.file, generation);
    files.push({ drive: i, file });
    return { ...drive, file };
  });
  return { drives: gated, files };
}

/** Exports that a new owner has to have fenced. */
export function gatedExports(drives: readonly DriveOptions[]): string[] {
  return [...new Set(drives.filter(isGated).map(({ file }) => exportOf(file)))];
}

/**
 * Where the gate is told: `failover.gate`, else the host of the drives, at the port of gates. Throws OperatorError `no-gate` where that
 * does not follow.
 */
export function gateOf(drives: readonly DriveOptions[], named: string | undefined): string {
  if (named !== undefined) return named;
  const hosts = new Set(drives.filter(isGated).map(({ file }) => hostOf(file)));
  const [host] = hosts;
  if (hosts.size === 1 && host !== undefined) return `tls:${host}:${GATE_PORT}`;
  throw new OperatorError(
    'no-gate',
    'it is not said which gate guards its disks',
    'Name its control with failover gate=tls:HOST:PORT, or gate=unix:PATH',
  );
}

function isNbd(file: string): boolean {
  return /^nbds?(\+unix)?:\/\//.test(file);
}

/** `scheme://authority` `/export` `?query`; the export is everything behind the first slash. */
function partsOf(file: string): { readonly before: string; readonly path: string; readonly behind: string } {
  const [, before = '', path = '', behind = ''] = /^([a-z+]+:\/\/[^/?#]*)(\/[^?#]*)?(.*)$/s.exec(file) ?? [];
  return { before, path: path === '' ? '/' : path, behind };
}

function exportOf(file: string): string {
  return decodeURIComponent(partsOf(file).path.slice(1));
}

function addressAt(file: string, generation: number): string {
  const { before, path, behind } = partsOf(file);
  gateExportName(exportOf(file), generation); // throws where it cannot be one
  return `${before}${path}@${generation}${behind}`;
}

function hostOf(file: string): string | undefined {
  const [, host] = /^[a-z]+:\/\/(\[[^\]]*\]|[^:/?#]+)/.exec(file) ?? [];
  return /^nbds?:/.test(file) ? host : undefined;
}
