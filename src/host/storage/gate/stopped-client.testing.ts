/** A process that writes to a disk when it is told to: what a test stops in between. Its argument is the disk's URI. */
import { once } from 'node:events';
import { openNbd } from '../nbd/index.ts';

const { disk } = await openNbd(process.argv[2] ?? '');
process.stdout.write('ready\n');
await once(process.stdin, 'data');
let outcome = 'written';
try {
  await disk.write(0, [new Uint8Array(512).fill(1)]);
} catch (error) {
  outcome = `refused: ${String(error)}`;
}
process.stdout.write(`${outcome}\n`, () => process.exit(0));
