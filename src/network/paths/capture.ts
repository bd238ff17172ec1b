/** A capture: frames of one port, or of all, as pcapng, until it is closed. */
import { OperatorError } from '../../base/errors.ts';
import { type Direction, LONGEST_SNAP_BYTES, PcapngWriter } from './pcapng.ts';

export interface CaptureOptions {
  /** An interface or an uplink; all of them without. */
  readonly port?: string;
  /** What is kept of each frame, 1 to 262144 bytes; all of it by default. */
  readonly snapBytes?: number;
}

export class Capture {
  readonly #port: string | undefined;
  readonly #writer: PcapngWriter;
  readonly #wallMs: () => number;

  constructor(
    { port, snapBytes = LONGEST_SNAP_BYTES }: CaptureOptions,
    write: (bytes: Uint8Array) => void,
    wallMs: () => number,
  ) {
    if (!Number.isInteger(snapBytes) || snapBytes < 1 || snapBytes > LONGEST_SNAP_BYTES)
      throw new OperatorError(
        'bad-usage',
        `a snap length of ${snapBytes} is not possible`,
        `Give 1 to ${LONGEST_SNAP_BYTES}`,
      );
    this.#port = port;
    this.#writer = new PcapngWriter(write, snapBytes);
    this.#wallMs = wallMs;
  }

  take(port: string, direction: Direction, frame: Uint8Array): void {
    if (this.#port === undefined || this.#port === port) this.#writer.packet(port, direction, frame, this.#wallMs());
  }
}
