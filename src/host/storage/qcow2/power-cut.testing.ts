/**
 * A qcow2 image whose host loses power at any write: after each write and each sync, the medium is taken as it may be then,
 * with nothing, all or some sectors of what was not synced. Each such image is looked at: no leak, no error, and every
 * sector holds what was last flushed or something that was written since.
 */
import assert from 'node:assert/strict';
import { Random } from '../../../devices/virtio/random.testing.ts';
import { CrashFile } from '../crash-file.testing.ts';
import { checkImage } from './check.ts';
import { emptyImage } from './create.ts';
import { readImage } from './open-image.ts';
import { Qcow2Disk } from './qcow2-disk.ts';

const SECTORS = 192;
const SECTOR_BYTES = 512;
/** What an image is before its first write: every sector reads as this. */
const BELOW = 255;

export interface PowerCutOptions {
  readonly seed: number;
  readonly clusterBytes: number;
  readonly rounds?: number;
  /** Writes and syncs fail for a while, now and then, as on a full or broken disk. */
  readonly withErrors?: boolean;
  /** Gets some of the media, once each was looked at here. */
  readonly sample?: (medium: Uint8Array) => void;
}

/** How many media were looked at. */
export async function runPowerCuts(options: PowerCutOptions): Promise<number> {
  const trial = new Trial(options);
  await trial.run(options.rounds ?? 6);
  return trial.media;
}

class Trial {
  media = 0;
  readonly #options: PowerCutOptions;
  readonly #random: Random;
  readonly #below: BlockBelow;
  readonly #file: CrashFile;
  /** By sector: the values that it may have after a crash. Every write has a value of its own. */
  readonly #possible = Array.from({ length: SECTORS }, () => new Set([BELOW]));
  #taken: { readonly medium: Uint8Array; readonly allowed: readonly ReadonlySet<number>[] }[] = [];
  #value = 0;

  constructor(options: PowerCutOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#below = new BlockBelow();
    const image = emptyImage('the image', { sizeBytes: SECTORS * SECTOR_BYTES, clusterBytes: options.clusterBytes });
    const content = new Uint8Array(image.length + 128 * options.clusterBytes + 2 * SECTORS * SECTOR_BYTES);
    content.set(image);
    this.#file = new CrashFile(content, async () => {
      const isSlow = this.#random.oneIn(4);
      for (let n = this.#random.below(isSlow ? 600 : 4); n > 0; n--) await Promise.resolve();
    });
    this.#file.onOperation = () => this.#cut();
  }

  async run(rounds: number): Promise<void> {
    const { metadata, file, commits } = await readImage('the image', this.#file, this.#imageBytes());
    const disk = new Qcow2Disk({ metadata, file, commits, readOnly: false, backing: this.#below });
    for (let round = 0; round < rounds; round++) {
      await this.#round(disk);
      await this.#look();
    }
    this.#file.failing = undefined;
    await disk.flush();
    this.#take('nothing');
    await this.#look();
  }

  #imageBytes(): number {
    const { clusterBytes } = this.#options;
    return emptyImage('the image', { sizeBytes: SECTORS * SECTOR_BYTES, clusterBytes }).length;
  }

  async #round(disk: Qcow2Disk): Promise<void> {
    const random = this.#random;
    if (this.#options.withErrors) this.#file.failing = random.pick([undefined, undefined, 'write', 'sync']);
    const busy = new Set<number>();
    const pending: Promise<void>[] = [];
    const written = new Map<number, number>();
    for (let n = 1 + random.below(6); n > 0; n--) {
      const first = random.below(SECTORS);
      const sectors = Array.from({ length: 1 + random.below(Math.min(30, SECTORS - first)) }, (_, i) => first + i);
      if (sectors.some((sector) => busy.has(sector))) continue;
      const isZero = random.oneIn(4);
      const value = isZero ? 0 : (this.#value++ % 250) + 1;
      for (const sector of sectors) {
        busy.add(sector);
        this.#possible[sector]?.add(value);
      }
      const bytes = sectors.length * SECTOR_BYTES;
      const offset = first * SECTOR_BYTES;
      const done = async (): Promise<void> =>
        await (isZero ? disk.writeZeroes(offset, bytes) : disk.write(offset, [new Uint8Array(bytes).fill(value)]));
      pending.push(
        done()
          .then(() => sectors.forEach((sector) => written.set(sector, value)))
          .catch(() => {}),
      );
    }
    if (random.oneIn(3)) pending.push(this.#discard(disk, busy));
    if (random.oneIn(2)) pending.push(this.#flushSoon(disk));
    if (random.oneIn(2)) await Promise.all(pending);
    // What was done before a flush began is what it promises.
    const promised = new Map(written);
    const isFlushed = random.oneIn(2) && (await disk.flush().then(...bothWays));
    if (isFlushed) for (const [sector, value] of promised) this.#possible[sector] = new Set([value]);
    await Promise.all(pending);
    for (const [sector, value] of written)
      if (!isFlushed || promised.get(sector) !== value) this.#possible[sector]?.add(value);
  }

  /** While writes are under way; what it promises is not asked. */
  async #flushSoon(disk: Qcow2Disk): Promise<void> {
    for (let n = this.#random.below(400); n > 0; n--) await Promise.resolve();
    await disk.flush().catch(() => {});
  }

  /** Reads as zeros afterwards, or as before, sector by sector. */
  async #discard(disk: Qcow2Disk, busy: Set<number>): Promise<void> {
    const first = this.#random.below(SECTORS - 16);
    const sectors = Array.from({ length: 16 }, (_, i) => first + i);
    if (sectors.some((sector) => busy.has(sector))) return;
    for (const sector of sectors) {
      busy.add(sector);
      this.#possible[sector]?.add(0);
    }
    await disk.discard(first * SECTOR_BYTES, 16 * SECTOR_BYTES).catch(() => {});
  }

  /** After any operation. */
  #cut(): void {
    this.#take('nothing');
    this.#take('all');
    this.#take();
  }

  #take(kept?: 'all' | 'nothing'): void {
    const allowed = this.#possible.map((values) => new Set(values));
    this.#taken.push({ medium: this.#file.crash(this.#random, kept), allowed });
  }

  async #look(): Promise<void> {
    const taken = this.#taken;
    this.#taken = [];
    for (const { medium, allowed } of taken) {
      const what = `seed ${this.#options.seed}, medium ${this.media++}`;
      const copy = new CrashFile(medium);
      const image = await readImage('the image', copy, medium.length);
      assert.deepEqual(await checkImage('the image', image.metadata, image.file), { leaks: 0, problems: [] }, what);
      const disk = new Qcow2Disk({ ...image, readOnly: true, backing: this.#below });
      const found = new Uint8Array(SECTORS * SECTOR_BYTES);
      await disk.read(0, [found]);
      for (const [sector, values] of allowed.entries()) {
        const bytes = new Set(found.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES));
        const [byte = -1] = bytes;
        assert.ok(
          bytes.size === 1 && values.has(byte),
          `${what}: sector ${sector} holds ${[...bytes]}, not ${[...values]}`,
        );
      }
      this.#options.sample?.(medium);
    }
  }
}

const bothWays = [() => true, () => false] as const;

/** A disk of one value, below the image. */
class BlockBelow {
  readonly sizeBytes = SECTORS * SECTOR_BYTES;
  readonly readOnly = true;

  read(_offset: number, into: readonly Uint8Array[]): void {
    for (const piece of into) piece.fill(BELOW);
  }

  write(): void {
    assert.fail('what is below was written');
  }

  flush(): void {}
}
