/**
 * Debian's kernel with an initial file system of ours behind its own: a guest that keeps records (records.testing.ts) from its
 * boot on, at an address that its command line names, without anybody telling it to.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cpio } from '../../src/host/images/cpio.ts';
import { debianImage } from './guest.testing.ts';
import { RECORD_SERVER } from './records.testing.ts';

/** Where it serves records. */
export const RECORD_PORT = 7000;

const MAIN = `#!/bin/busybox sh
for word in $(cat /proc/cmdline); do
  case $word in records.address=*) address=\${word#*=} ;; esac
done
for path in /sys/class/net/*; do
  device=\${path##*/}
  [ "$device" = lo ] && continue
  ip addr add "$address" dev "$device"
  ip link set "$device" up
done
while :; do nc -ll -p ${RECORD_PORT} -e sh /records/serve; sleep 1; done
`;

export interface RecordGuestImage {
  readonly kernel: string;
  readonly initrd: string;
  /** For a guest at that address, such as 10.9.0.101/24. */
  commandLine(address: string): string;
}

/** The initrd is written into `folder`. */
export async function recordGuestImage(folder: string): Promise<RecordGuestImage> {
  const { kernel, initrd, commandLine } = await debianImage();
  const file = (path: string, text: string) => ({ kind: 'file', path, mode: 0o755, data: Buffer.from(text) }) as const;
  const ours = cpio([file('records/main', MAIN), file('records/serve', RECORD_SERVER)]);
  const path = join(folder, 'records-initrd.cpio');
  writeFileSync(path, Buffer.concat([readFileSync(String(initrd)), ours]));
  return {
    ...{ kernel, initrd: path },
    commandLine: (address) => `${commandLine} kage.net=off kage.run=/records/main records.address=${address}`,
  };
}
