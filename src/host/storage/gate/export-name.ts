/**
 * What a client of the gate asks for: an export of the server behind, and the generation under which it is used.
 *
 *     disk0@7      export "disk0", generation 7      @7     the server's default export
 *
 * The last @ counts, so an export's own name may have some. A generation is a decimal integer of 0 to 2^53-1.
 */
import { OperatorError } from '../../../base/errors.ts';

/** Of an export's name; the protocol would allow 4096, with the generation. */
const NAME_BYTES_MAX = 1024;

export interface GatedName {
  readonly exportName: string;
  readonly generation: number;
}

/** Throws OperatorError `gate-name`. */
export function gateExportName(exportName: string, generation: number): string {
  checkExport(exportName);
  checkGeneration(generation);
  return `${exportName}@${generation}`;
}

/** Undefined: it names no export with a generation. */
export function parseGatedName(text: string): GatedName | undefined {
  const [, exportName, digits] = /^(.*)@(0|[1-9]\d{0,15})$/s.exec(text) ?? [];
  const generation = Number(digits);
  if (exportName === undefined || !Number.isSafeInteger(generation)) return undefined;
  return Buffer.byteLength(exportName) > NAME_BYTES_MAX ? undefined : { exportName, generation };
}

/** Throws OperatorError `gate-name`. */
export function checkExport(exportName: unknown): asserts exportName is string {
  if (typeof exportName === 'string' && Buffer.byteLength(exportName) <= NAME_BYTES_MAX) return;
  throw new OperatorError('gate-name', 'that is no name of an export', `It has at most ${NAME_BYTES_MAX} bytes.`);
}

/** Throws OperatorError `gate-name`. */
export function checkGeneration(generation: unknown): asserts generation is number {
  if (Number.isSafeInteger(generation) && (generation as number) >= 0) return;
  throw new OperatorError('gate-name', `${String(generation)} is no generation`, 'It is an integer from 0 to 2^53-1.');
}
