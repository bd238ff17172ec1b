/** Small schemas that others are made of. A name in `meta` makes a component of the OpenAPI document. */
import * as z from 'zod';

/** Of a partition, as the control socket takes it (host/control/runtime-folder.ts). */
export const nameText = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'is no name: up to 63 letters, digits, "-", "_" and "."')
  .meta({ id: 'Name', description: "A partition's name: up to 63 letters, digits, `-`, `_` and `.`." });

/** Files are the daemon's to find, so their paths are absolute. */
export const path = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, 'is no absolute path')
  .meta({ id: 'Path', description: 'An absolute path on the host.' });

export const address = z
  .string()
  .regex(/^0x[0-9a-f]{1,16}$/, 'is no address: 0x and up to 16 hexadecimal digits')
  .meta({ id: 'Address', description: 'An address: `0x80200000`.' });

export const moment = z.iso.datetime({ offset: false }).meta({ id: 'Moment', description: 'A moment in UTC.' });

export const count = z.int().min(0);
export const text = (longest = 4096) => z.string().max(longest);

/** Bytes as base64. */
export const data = z
  .base64()
  .max(1 << 20)
  .meta({ id: 'Bytes', description: 'Bytes in base64; at most 1 MiB of characters.' });
