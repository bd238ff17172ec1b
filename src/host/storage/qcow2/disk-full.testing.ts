/**
 * `node disk-full.testing.ts IMAGE LOCKS`, in a process whose files may have only so many bytes: fills the disk of the
 * image until it is full, with a flush now and then; then discards half of what was flushed, and writes again. Prints what
 * was flushed, a byte per 64 KiB.
 */
import { openQcow2 } from './index.ts';

const CHUNK_BYTES = 1 << 16;
const [path = '', lockFolder = ''] = process.argv.slice(2);
const { disk, close } = await openQcow2(path, { lockFolder });
const flushed = new Uint8Array(disk.sizeBytes / CHUNK_BYTES);
const pending = new Map<number, number>();

async function write(chunk: number, value: number): Promise<boolean> {
  try {
    await disk.write(chunk * CHUNK_BYTES, [new Uint8Array(CHUNK_BYTES).fill(value)]);
    pending.set(chunk, value);
    return true;
  } catch {
    return false;
  }
}

async function flush(): Promise<boolean> {
  try {
    await disk.flush();
  } catch {
    return false;
  }
  for (const [chunk, value] of pending) flushed[chunk] = value;
  pending.clear();
  return true;
}

let chunk = 0;
let failures = 0;
for (; chunk < flushed.length && failures < 20; chunk++) {
  if (!(await write(chunk, (chunk % 250) + 1))) failures++;
  if (chunk % 3 === 2 && !(await flush())) failures++;
}
const isFull = failures > 0;
const before = flushed.filter((value) => value !== 0).length;
for (let i = 0; i < before / 2; i++) {
  await disk.discard(i * CHUNK_BYTES, CHUNK_BYTES);
  pending.set(i, 0);
}
const isFreed = await flush();
let again = 0;
for (let i = 0; i < before / 4; i++) if (await write(i, 251)) again++;
const isFlushed = await flush();
await close().catch(() => {});
process.stdout.write(JSON.stringify({ isFull, isFreed, isFlushed, again, before, flushed: [...flushed] }));
