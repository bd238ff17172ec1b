/** Refcounts in their blocks: 1 to 64 bits each, the first one lowest in its byte where several share one. */
import { HostError } from '../../../base/errors.ts';

/** How many refcounts of 2^`order` bits a block of a cluster has. */
export function refcountsPerBlock(clusterBytes: number, order: number): number {
  return (clusterBytes * 8) / 2 ** order;
}

/** Counts beyond 2^53 are what they are worth: more than one. */
export function refcountAt(block: DataView, index: number, order: number): number {
  switch (order) {
    case 3:
      return block.getUint8(index);
    case 4:
      return block.getUint16(index * 2);
    case 5:
      return block.getUint32(index * 4);
    case 6:
      return block.getUint32(index * 8) * 2 ** 32 + block.getUint32(index * 8 + 4);
    default: {
      const bits = 1 << order;
      return (block.getUint8((index * bits) >>> 3) >>> ((index * bits) & 7)) & ((1 << bits) - 1);
    }
  }
}

export function setRefcount(block: DataView, index: number, order: number, count: number): void {
  if (count > refcountMax(order)) throw new HostError('disk-refcount', `a refcount of ${count} has no room`);
  switch (order) {
    case 3:
      block.setUint8(index, count);
      break;
    case 4:
      block.setUint16(index * 2, count);
      break;
    case 5:
      block.setUint32(index * 4, count);
      break;
    case 6:
      block.setBigUint64(index * 8, BigInt(count));
      break;
    default: {
      const bits = 1 << order;
      const at = (index * bits) >>> 3;
      const shift = (index * bits) & 7;
      const others = block.getUint8(at) & ~(((1 << bits) - 1) << shift);
      block.setUint8(at, others | (count << shift));
    }
  }
}

export function refcountMax(order: number): number {
  return order >= 6 ? Number.MAX_SAFE_INTEGER : 2 ** (2 ** order) - 1;
}
