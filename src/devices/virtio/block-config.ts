/**
 * What a block device says of itself: features and configuration (virtio 1.2, sections 5.2.3 and 5.2.4) and the limits
 * behind them, from the backend that it stands on.
 */
import { type BlockBackend, SECTOR_BYTES } from './block-backend.ts';
import { SEGMENTS_MAX } from './block-request.ts';

export const VIRTIO_BLK_F = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  TOPOLOGY: 10,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
} as const;
/** Offsets of struct virtio_blk_config. */
const CONFIG = {
  capacity: 0,
  sizeMax: 8,
  segMax: 12,
  blkSize: 20,
  physicalBlockExp: 24,
  minIoSize: 26,
  numQueues: 34,
  maxDiscardSectors: 36,
  maxDiscardSeg: 40,
  discardSectorAlignment: 44,
  maxWriteZeroesSectors: 48,
  maxWriteZeroesSeg: 52,
  writeZeroesMayUnmap: 56,
} as const;
export const CONFIG_BYTES = 60;

export const BLOCK_QUEUES_MAX = 4;
export const QUEUE_SIZE = 256;
/** A chain of the queue's length less header and status. */
const REQUEST_SEGMENTS_MAX = QUEUE_SIZE - 2;
const SEGMENT_BYTES_MAX = 1 << 16;
export const REQUEST_BYTES_MAX = REQUEST_SEGMENTS_MAX * SEGMENT_BYTES_MAX;
const PHYSICAL_BLOCK_EXP = 3;
const DISCARD_SECTORS_MAX = 1 << 22;
const WRITE_ZEROES_SECTORS_MAX = 1 << 15;

/** The feature bits that a device over `backend` with so many queues offers. */
export function blockFeatures(backend: BlockBackend, queues: number): number[] {
  const { SIZE_MAX, SEG_MAX, RO, BLK_SIZE, FLUSH, TOPOLOGY, MQ, DISCARD, WRITE_ZEROES } = VIRTIO_BLK_F;
  const features: number[] = [SIZE_MAX, SEG_MAX, BLK_SIZE, TOPOLOGY, FLUSH];
  if (backend.readOnly) features.push(RO);
  else {
    if (backend.discard !== undefined) features.push(DISCARD);
    if (backend.writeZeroes !== undefined) features.push(WRITE_ZEROES);
  }
  if (queues > 1) features.push(MQ);
  return features;
}

/** A field of struct virtio_blk_config. */
export interface ConfigField {
  readonly at: number;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly value: number;
}

export function blockConfig(backend: BlockBackend, queues: number): ConfigField[] {
  return [
    { at: CONFIG.capacity, bytes: 8, value: Math.floor(backend.sizeBytes / SECTOR_BYTES) },
    { at: CONFIG.sizeMax, bytes: 4, value: SEGMENT_BYTES_MAX },
    { at: CONFIG.segMax, bytes: 4, value: REQUEST_SEGMENTS_MAX },
    { at: CONFIG.blkSize, bytes: 4, value: SECTOR_BYTES },
    { at: CONFIG.physicalBlockExp, bytes: 1, value: PHYSICAL_BLOCK_EXP },
    { at: CONFIG.minIoSize, bytes: 2, value: 1 << PHYSICAL_BLOCK_EXP },
    { at: CONFIG.numQueues, bytes: 2, value: queues },
    { at: CONFIG.maxDiscardSectors, bytes: 4, value: DISCARD_SECTORS_MAX },
    { at: CONFIG.maxDiscardSeg, bytes: 4, value: SEGMENTS_MAX },
    { at: CONFIG.discardSectorAlignment, bytes: 4, value: 1 << PHYSICAL_BLOCK_EXP },
    { at: CONFIG.maxWriteZeroesSectors, bytes: 4, value: WRITE_ZEROES_SECTORS_MAX },
    { at: CONFIG.maxWriteZeroesSeg, bytes: 4, value: SEGMENTS_MAX },
    { at: CONFIG.writeZeroesMayUnmap, bytes: 1, value: 1 },
  ];
}
