/** The door of the machine: the `virt` memory map, device trees, boot loaders. */
export * from './boot/index.ts';
export * from './fdt/index.ts';
export { canonicalExtensions, DEFAULT_EXTENSIONS, isaString } from './isa-string.ts';
export {
  highPcieWindow,
  type MapRow,
  MEMORY_LIMITS,
  mapAsMarkdown,
  PAYLOAD_OFFSET,
  TIMEBASE_HZ,
  VIRT,
  VIRTIO_SLOT_BYTES,
  VIRTIO_SLOTS,
  virtioSlot,
} from './virt-map.ts';
