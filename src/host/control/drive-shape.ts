/** A drive as it is asked for on a control socket, and as a snapshot's head names it. */
import type { DriveOptions } from '../machine/machine-api.ts';
import { number, oneOf, optional, record, type Shape, text, truth } from './shape.ts';

const PATH = 4096;

const overlay: Shape<boolean | string | undefined> = (value, at) =>
  value === undefined || typeof value === 'boolean' ? value : text(PATH)(value, at);

export const driveOptions: Shape<DriveOptions> = record({
  file: text(PATH),
  format: optional(oneOf('raw', 'qcow2')),
  readOnly: optional(truth),
  overlay,
  backing: optional(truth),
  discard: optional(oneOf('unmap', 'ignore')),
  reconnectDelaySeconds: optional(number(0, 1e6)),
});
