/**
 * The suite that every BlockBackend passes: memory here, files in src/host/storage. `open` makes a disk of the given
 * size that reads as zeros, or as `content` says.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockBackend } from './block-backend.ts';
import { Random } from './random.testing.ts';

export interface OpenedBackend {
  readonly backend: BlockBackend;
  close(): Promise<void>;
}

const MIB = 1 << 20;

export function blockBackendSuite(name: string, open: (content: Uint8Array) => Promise<OpenedBackend>): void {
  const withDisk = async (content: Uint8Array, body: (disk: BlockBackend) => Promise<void>) => {
    const opened = await open(content);
    try {
      await body(opened.backend);
    } finally {
      await opened.close();
    }
  };
  const readAll = async (disk: BlockBackend, offset: number, sizeBytes: number) => {
    const into = new Uint8Array(sizeBytes).fill(0xee);
    await disk.read(offset, [into]);
    return into;
  };

  test(`${name}: a new disk has its size and reads as what it holds`, () =>
    withDisk(new Random(1).bytes(3 * 4096 + 512), async (disk) => {
      assert.equal(disk.sizeBytes, 3 * 4096 + 512);
      assert.equal(disk.readOnly, false);
      assert.deepEqual(await readAll(disk, 0, disk.sizeBytes), new Random(1).bytes(3 * 4096 + 512));
    }));

  test(`${name}: pieces are filled and written in order, across pages and clusters`, () =>
    withDisk(new Uint8Array(MIB), async (disk) => {
      const bytes = new Random(2).bytes(200 * 512);
      await disk.write(65536 - 1024, [bytes.subarray(0, 100), bytes.subarray(100, 70_000), bytes.subarray(70_000)]);
      const pieces = [new Uint8Array(1), new Uint8Array(99_999), new Uint8Array(2400)];
      await disk.read(65536 - 1024, pieces);
      assert.deepEqual(Uint8Array.from(pieces.flatMap((piece) => [...piece])), bytes);
      assert.deepEqual(await readAll(disk, 65536 - 1536, 512), new Uint8Array(512));
    }));

  test(`${name}: single sectors within what is already there`, () =>
    withDisk(new Uint8Array(64 * 1024).fill(7), async (disk) => {
      for (const sector of [0, 1, 8, 9, 15, 127]) await disk.write(sector * 512, [new Uint8Array(512).fill(sector)]);
      for (let sector = 0; sector < 128; sector++) {
        const expected = [0, 1, 8, 9, 15, 127].includes(sector) ? sector : 7;
        assert.deepEqual(await readAll(disk, sector * 512, 512), new Uint8Array(512).fill(expected), `${sector}`);
      }
    }));

  test(`${name}: many operations at once, none disturbing its neighbours`, () =>
    withDisk(new Uint8Array(MIB).fill(3), async (disk) => {
      await Promise.all(
        Array.from({ length: 2048 }, (_, sector) =>
          sector % 3 === 0 ? disk.write(sector * 512, [new Uint8Array(512).fill(sector & 0xff)]) : undefined,
        ),
      );
      await disk.flush();
      const all = await readAll(disk, 0, MIB);
      for (let sector = 0; sector < 2048; sector++) {
        assert.equal(all[sector * 512 + 511], sector % 3 === 0 ? sector & 0xff : 3, `sector ${sector}`);
      }
    }));

  test(`${name}: against a plain array, with chance choosing`, async () => {
    for (const seed of [11, 12, 13]) {
      const random = new Random(seed);
      const model = random.bytes(256 * 1024);
      await withDisk(model, async (disk) => {
        for (let step = 0; step < 150; step++) {
          const sector = random.below(512);
          const sizeBytes = (1 + random.below(Math.min(64, 512 - sector))) * 512;
          const offset = sector * 512;
          switch (random.below(5)) {
            case 0: {
              const bytes = random.bytes(sizeBytes);
              await disk.write(offset, [bytes]);
              model.set(bytes, offset);
              break;
            }
            case 1:
              await disk.writeZeroes?.(offset, sizeBytes);
              if (disk.writeZeroes !== undefined) model.fill(0, offset, offset + sizeBytes);
              break;
            case 2: {
              // What a discarded range reads as is the disk's choice: zeros or as before, sector by sector.
              await disk.discard?.(offset, sizeBytes);
              const now = await readAll(disk, offset, sizeBytes);
              for (let at = 0; at < sizeBytes; at += 512) {
                const part = now.subarray(at, at + 512);
                if (part.every((byte) => byte === 0)) model.fill(0, offset + at, offset + at + 512);
              }
              break;
            }
            case 3:
              await disk.flush();
              break;
            default:
              assert.deepEqual(
                await readAll(disk, offset, sizeBytes),
                model.subarray(offset, offset + sizeBytes),
                `seed ${seed}`,
              );
          }
        }
        assert.deepEqual(await readAll(disk, 0, model.length), model, `seed ${seed}`);
      });
    }
  });
}
