/** Snapshots of whole machines: the file's chunks, a board's state as plain data, guest memory. Files are the host's. */
export { checkLayouts, layoutDigests, restoreBoard, resumeBoard, type SavedBoard, saveBoard } from './board-state.ts';
export {
  type ByteSource,
  CHUNK,
  CHUNK_HEADER_BYTES,
  type ChunkHeader,
  type ChunkKind,
  ChunkReader,
  CODEC,
  damaged,
  decodeChunkHeader,
  encodeChunkHeader,
  encodePrologue,
  MOST_CHUNK_BYTES,
  notThisVersion,
  type SnapshotCodecs,
} from './chunks.ts';
export { type BasePages, comparePages, noBase, type PageChunk, pageChunks, readPages } from './pages.ts';
export { countData, decodeRuns, encodeRuns, RUN, type Run, RunList } from './runs.ts';
