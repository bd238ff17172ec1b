/** Device trees: write, read, show, and the tree of the `virt` machine. */
export { readDeviceTree } from './reader.ts';
export { deviceTreeSource } from './source.ts';
export {
  cells,
  node,
  nodeAt,
  type PropertyValue,
  readCells,
  readStrings,
  type TreeNode,
  two,
  u64,
  withProperties,
} from './tree.ts';
export { type VirtDescription, virtDeviceTree, virtTree } from './virt-tree.ts';
export { type MemoryReservation, writeDeviceTree } from './writer.ts';
