/** Fetches a boot file or a disk whole, with progress, and errors that say which address and why. */
import { OperatorError } from '../../base/errors.ts';

export type FetchProgress = (doneBytes: number, totalBytes: number | undefined) => void;

/** Throws OperatorError `KIND-not-fetched`. */
export async function fetchFile(kind: string, address: string, onProgress: FetchProgress): Promise<Uint8Array> {
  const failed = (why: string, cause?: unknown): OperatorError =>
    new OperatorError(
      `${kind}-not-fetched`,
      `the ${kind} ${address} ${why}`,
      'Name an address that this page may read.',
      { cause },
    );
  let response: Response;
  try {
    response = await fetch(address);
  } catch (cause) {
    throw failed('cannot be reached', cause);
  }
  if (!response.ok || response.body === null) throw failed(`is not to be had: ${response.status}`);
  // What a Content-Length says of a compressed answer is not what arrives here.
  const length = response.headers.has('content-encoding') ? null : response.headers.get('content-length');
  const total = length === null ? undefined : Number(length);
  const pieces: Uint8Array[] = [];
  let done = 0;
  onProgress(done, total);
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { value } = await reader.read();
      if (value === undefined) break;
      pieces.push(value);
      done += value.length;
      onProgress(done, total);
    }
  } catch (cause) {
    throw failed(`broke off after ${done} bytes`, cause);
  }
  return join(pieces, done);
}

/** The pieces one behind the other. */
export function join(pieces: readonly Uint8Array[], sizeBytes: number): Uint8Array {
  const out = new Uint8Array(sizeBytes);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
