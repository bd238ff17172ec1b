/**
 * Random operations on a qcow2 image, by turns ours and QEMU's (qemu-io), compared with plain bytes; between the turns
 * `qemu-img check` must find nothing, and what QEMU reads must be the same. Images are of every kind that qemu-img makes:
 * versions, cluster sizes, refcount widths, compression, files below, snapshots, lazy refcounts left dirty.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../../src/devices/virtio/random.testing.ts';
import { openQcow2 } from '../../src/host/storage/index.ts';
import { programPath } from '../toolbox.ts';

const SECTOR_BYTES = 512;

export function qemuImg(...args: string[]): string {
  // It tells on stderr what it repairs of an image that was left dirty.
  return execFileSync(programPath('qemu-img'), args, { encoding: 'utf8', stdio: 'pipe' });
}

/** A check that finds neither errors nor leaks. */
export function assertClean(path: string, what: string): void {
  const { stdout, stderr, status } = spawnSync(programPath('qemu-img'), ['check', '-f', 'qcow2', path], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, `${what}: ${stdout}${stderr}`);
  assert.match(stdout, /No errors were found/, what);
}

interface Kind {
  readonly options: string;
  readonly refcountBits: number;
  readonly isLazy: boolean;
}

function chooseKind(random: Random): Kind {
  const isV3 = !random.oneIn(3);
  const refcountBits = isV3 ? random.pick([1, 2, 4, 8, 16, 16, 32, 64]) : 16;
  const isLazy = isV3 && random.oneIn(4);
  const words = [
    `cluster_size=${random.pick([512, 1024, 4096, 65536, 1 << 21])}`,
    `compat=${isV3 ? '1.1' : '0.10'}`,
    ...(isV3 ? [`refcount_bits=${refcountBits}`, `lazy_refcounts=${isLazy ? 'on' : 'off'}`] : []),
    ...(isV3 && random.oneIn(2) ? ['compression_type=zstd'] : []),
    `preallocation=${random.pick(['off', 'off', 'off', 'metadata'])}`,
  ];
  return { options: words.join(','), refcountBits, isLazy };
}

/** One image, from its making to its end, in an empty folder. Throws with the seed where anything differs. */
export async function runQcow2Oracle(folder: string, seed: number, rounds = 4): Promise<void> {
  const random = new Random(seed);
  const trial = new Trial(folder, random);
  try {
    await trial.run(rounds);
  } catch (error) {
    throw new Error(`qcow2 oracle, seed ${seed} (${trial.options}): ${(error as Error).message}`, { cause: error });
  } finally {
    rmSync(join(folder, 'disk.qcow2'), { force: true });
  }
}

class Trial {
  readonly options: string;
  readonly #random: Random;
  readonly #kind: Kind;
  readonly #path: string;
  readonly #folder: string;
  readonly #model: Uint8Array;
  #isPacked = false;

  constructor(folder: string, random: Random) {
    this.#random = random;
    this.#folder = folder;
    this.#path = join(folder, 'disk.qcow2');
    this.#kind = chooseKind(random);
    this.#model = new Uint8Array((64 + random.below(6000)) * SECTOR_BYTES);
    this.options = this.#kind.options;
    const below = random.oneIn(2) && !this.options.includes('preallocation=metadata') ? this.#makeBelow() : [];
    qemuImg('create', '-q', '-f', 'qcow2', '-o', this.options, ...below, this.#path, String(this.#model.length));
  }

  async run(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      await this.#ours(30);
      this.#compare(`after round ${round}`);
      this.#theirs(6);
      if (this.#hasRoomForSnapshots() && this.#random.oneIn(2)) qemuImg('snapshot', '-c', `s${round}`, this.#path);
      if (this.#random.oneIn(3)) this.#compress();
    }
    await this.#ours(10);
    this.#compare('at the end');
  }

  /** A snapshot takes one of a cluster's refcount; compressed, it takes one for each that is packed there. */
  #hasRoomForSnapshots(): boolean {
    return this.#kind.refcountBits >= (this.#isPacked ? 16 : 4);
  }

  /** A shorter file below, raw or qcow2; qemu-img's words for it. */
  #makeBelow(): string[] {
    const sizeBytes = SECTOR_BYTES * (1 + this.#random.below(this.#model.length / SECTOR_BYTES));
    const bytes = this.#random.bytes(sizeBytes);
    this.#model.set(bytes);
    const raw = join(this.#folder, 'below.img');
    writeFileSync(raw, bytes);
    if (this.#random.oneIn(2)) return ['-b', 'below.img', '-F', 'raw'];
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, join(this.#folder, 'below.qcow2'));
    return ['-b', 'below.qcow2', '-F', 'qcow2'];
  }

  /** Some place on the disk. */
  #range(): { offset: number; sizeBytes: number } {
    const sectors = this.#model.length / SECTOR_BYTES;
    const first = this.#random.below(sectors);
    const count = 1 + this.#random.below(Math.min(sectors - first, 300));
    return { offset: first * SECTOR_BYTES, sizeBytes: count * SECTOR_BYTES };
  }

  async #ours(steps: number): Promise<void> {
    const { disk, close } = await openQcow2(this.#path, { lockFolder: join(this.#folder, 'locks') });
    for (let step = 0; step < steps; step++) {
      const { offset, sizeBytes } = this.#range();
      const model = this.#model.subarray(offset, offset + sizeBytes);
      const now = new Uint8Array(sizeBytes);
      switch (this.#random.below(6)) {
        case 0:
        case 1:
          model.set(this.#random.bytes(sizeBytes));
          await disk.write(offset, [model]);
          break;
        case 2:
          model.fill(0);
          await disk.writeZeroes(offset, sizeBytes);
          break;
        case 3:
          await disk.discard(offset, sizeBytes);
          await disk.read(offset, [now]);
          this.#acceptZeros(model, now);
          break;
        case 4:
          await disk.flush();
          break;
        default:
          await disk.read(offset, [now]);
          assert.ok(Buffer.compare(now, model) === 0, `read at ${offset}+${sizeBytes}`);
      }
    }
    await close();
  }

  /** QEMU's turn: patterns, zeros, discards; now and then it is killed with an image whose refcounts are not written. */
  #theirs(steps: number): void {
    const commands: string[] = [];
    for (let step = 0; step < steps; step++) {
      const { offset, sizeBytes } = this.#range();
      const model = this.#model.subarray(offset, offset + sizeBytes);
      if (this.#random.oneIn(4)) {
        commands.push(`write -z ${offset} ${sizeBytes}`);
        model.fill(0);
      } else {
        const pattern = 1 + this.#random.below(255);
        commands.push(`write -P ${pattern} ${offset} ${sizeBytes}`);
        model.fill(pattern);
      }
    }
    const isKilled = this.#kind.isLazy;
    if (isKilled) commands.push('flush', 'abort');
    const words = commands.flatMap((command) => ['-c', command]);
    const { status, stderr } = spawnSync(programPath('qemu-io'), ['-f', 'qcow2', ...words, this.#path], {
      encoding: 'utf8',
    });
    if (!isKilled) assert.equal(status, 0, stderr);
  }

  /** Compressed clusters as QEMU packs them; what is below, and snapshots, are gone with it. */
  #compress(): void {
    const packed = join(this.#folder, 'packed.qcow2');
    const options = this.options.replace(/,preallocation=\w+/, '');
    qemuImg('convert', '-f', 'qcow2', '-O', 'qcow2', '-c', '-o', options, this.#path, packed);
    renameSync(packed, this.#path);
    this.#isPacked = true;
  }

  #acceptZeros(model: Uint8Array, now: Uint8Array): void {
    for (let at = 0; at < model.length; at += SECTOR_BYTES) {
      if (now.subarray(at, at + SECTOR_BYTES).every((byte) => byte === 0)) model.fill(0, at, at + SECTOR_BYTES);
    }
  }

  #compare(when: string): void {
    assertClean(this.#path, when);
    const raw = join(this.#folder, 'disk.raw');
    qemuImg('convert', '-f', 'qcow2', '-O', 'raw', this.#path, raw);
    assert.ok(Buffer.compare(readFileSync(raw), this.#model) === 0, `${when}: QEMU reads something else`);
  }
}
