/** What a shared folder's guest had open, in a snapshot. Names are checked where they are looked up. */
import { integer, listOf, oneOf, optional, record, type Shape, text, truth } from '../control/shape.ts';
import { FIDS_MAX, type SavedFid, type SavedSession } from '../shares/index.ts';

const DEPTH = 4096;
const NAME = 255;

const openMode = record({ access: oneOf('read', 'write', 'both'), append: truth });
const open: Shape<SavedFid['open']> = (value, at) =>
  value === undefined || value === 'folder' ? value : openMode(value, at);

const savedFid = record({
  number: integer(0, 0xffff_fffe),
  uid: integer(0, 0xffff_ffff),
  path: optional(listOf(text(NAME), DEPTH)),
  inode: optional(text(20)),
  open,
});

export const savedSession: Shape<SavedSession> = record({
  messageBytes: integer(4096, 1 << 20),
  fids: listOf(savedFid, FIDS_MAX),
});
