/** The shapes of what a machine tells of its code (machine/explanation.ts), for the protocol. */
import {
  CODE_STATUSES,
  type CodeExplanation,
  type HotRegion,
  MOST_TOUCHING,
  type PromotedSite,
} from '../../machine/index.ts';
import { integer, limits, listOf, oneOf, optional, record, type Shape, ShapeError, text, truth } from './shape.ts';

/** Blocks and instructions of the largest regions are far fewer. */
const MOST_BLOCKS = 4096;
const MOST_LINES = 100_000;

const count = integer(0, 2 ** 32 - 1);
const line = text(limits.dataBytes);

/** `0x80000000`, at most 64 bits. */
export const addressText: Shape<string> = (value, at) => {
  const given = text(18)(value, at);
  if (!/^0x[0-9a-f]{1,16}$/.test(given)) throw new ShapeError(`${at} is no address`);
  return given;
};

const instruction = record({ at: addressText, bits: text(8), text: text(256), emulated: optional(truth) });

const block = record({
  at: addressText,
  depth: count,
  instructions: listOf(instruction, MOST_BLOCKS),
  ending: oneOf('goto', 'branch', 'register'),
  edges: listOf(record({ to: addressText, leaves: optional(text(256)) }), MOST_BLOCKS),
  reached: count,
});

const members = { number: count, instructions: count, entered: count, module: count };
const region = record({ at: addressText, ...members });

const mode = oneOf('user', 'supervisor', 'machine', 'virtual user', 'virtual supervisor');

/** The guest, and its guest. */
export const level: Shape<1 | 2> = (value, at) => (integer(1, 2)(value, at) === 1 ? 1 : 2);

export const explanation: Shape<CodeExplanation> = record({
  hart: count,
  pc: addressText,
  mode,
  level,
  physical: optional(addressText),
  status: oneOf(...CODE_STATUSES),
  summary: text(),
  reached: count,
  thresholds: listOf(count, 2),
  page: optional(
    record({
      at: addressText,
      decoded: count,
      hasOverlay: truth,
      regions: listOf(region, MOST_BLOCKS),
      touching: listOf(count, MOST_TOUCHING),
    }),
  ),
  region: optional(region),
  blocks: listOf(block, MOST_BLOCKS),
  wasm: optional(
    record({ of: oneOf('region', 'proposal'), isCurrent: truth, bytes: count, lines: listOf(line, MOST_LINES) }),
  ),
});

export const hotRegion: Shape<HotRegion> = record({
  ...members,
  at: optional(addressText),
  physical: optional(addressText),
  hart: optional(count),
  level: optional(level),
});

export const promotedSite: Shape<PromotedSite> = record({
  ...{ number: count, executions: count, physical: addressText, text: line },
  at: optional(addressText),
  hart: optional(count),
  level: optional(level),
});
