/**
 * A twin comes to where its original stands (docs/fork.md): all that can be prepared was, so that the original stands
 * still for as long as it takes to copy blocks and map.
 *
 *   twin: board, devices, disks, network, threads attached     original: runs
 *   ------ held: no vCPU runs, no device serves ------------------------------
 *   copied: vCPUs, devices, map, protection; disks at this moment; what the agent has not been given
 *   ------ goes on -----------------------------------------------------------
 *   twin: another generation, another hardware address, its link down, its disks; then it runs
 */
import { must } from '../../base/assert.ts';
import {
  type Board,
  type BoardConfig,
  forkBoard,
  type IoThread,
  partitionConfig,
  prepareFork,
  resumeBoard,
} from '../../machine/index.ts';
import type { UserNetwork } from '../../network/index.ts';
import type { Nic } from '../network/guest-network.ts';
import type { OpenShare } from '../shares/index.ts';
import { holdAtOnce, holdStill } from '../snapshots/index.ts';
import type { OpenedDrive } from './drives.ts';
import type { GuestAgents } from './guest-agents.ts';
import type { ForkOptions } from './machine-api.ts';
import { moved, type Readdressing } from './readdressing.ts';

/** Within so long, slices that had begun are over, and short ones follow. */
const SLICE_MS = 3;

/** What there is of each of the two. */
export interface Sibling {
  readonly board: Board;
  readonly io: IoThread;
  readonly agents: GuestAgents;
  readonly network: UserNetwork | undefined;
  /** Holds its carrier down, or lets it be as it is. */
  readonly carrier: Pick<Nic, 'setLinkUp'> | undefined;
  readonly drives: readonly OpenedDrive[];
  readonly shares: readonly OpenShare[];
}

/** As the original's board is, with claims of its own on the processors. Throws OperatorError for what cannot be. */
export function twinConfig(
  { weight, cap, pin }: ForkOptions,
  original: BoardConfig,
  machine: BoardConfig,
): BoardConfig {
  const claims = {
    ...(weight === undefined ? {} : { weight }),
    ...(cap === undefined ? {} : { cap }),
    ...(pin === undefined ? {} : { pin }),
  };
  const { share } = partitionConfig({ ...claims, memoryBytes: original.memoryBytes }, machine);
  const { room: _, ...same } = original;
  return { ...same, share };
}

/**
 * Resolves when the twin may run: how long the original stood still, in milliseconds. Both are held, or ended, if it rejects.
 * `stands` is called when the original stands still, and nothing of it was taken yet.
 */
export async function becomeTwin(
  original: Sibling,
  twin: Sibling,
  readdressing: Readdressing | undefined,
  stands?: () => void,
): Promise<number> {
  prepareFork(original.board, twin.board);
  original.board.world.hurries = true;
  await new Promise((resolve) => setTimeout(resolve, SLICE_MS));
  const start = performance.now();
  let release = (): void => {};
  let connections: ReturnType<UserNetwork['save']> | undefined;
  try {
    release = holdAtOnce(original.board, original.io) ?? (await holdStill(original.board, original.io));
    stands?.();
    forkBoard(original.board, twin.board);
    for (const drive of twin.drives) drive.freeze?.();
    for (const [i, share] of twin.shares.entries()) share.goOnFrom(must(original.shares[i]));
    twin.agents.link.goOnFrom(original.agents.link.waiting);
    connections = original.network?.save();
  } finally {
    release();
    original.board.world.hurries = false;
  }
  const pausedMs = performance.now() - start;
  if (twin.network !== undefined && connections !== undefined)
    twin.network.restore(readdressing === undefined ? connections : moved(connections, readdressing.mac));
  twin.carrier?.setLinkUp(false);
  resumeBoard(twin.board);
  if (twin.carrier !== undefined) readdressing?.begin(twin.carrier, twin.agents.care);
  return pausedMs;
}
