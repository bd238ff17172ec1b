/** How a guest that was before comes to be on a machine that is held: out of a snapshot, from another process, as a twin. */
import { restoreBoard, resumeBoard, TICKS_PER_MS } from '../../machine/index.ts';
import type { GuestState, Succession } from '../replication/index.ts';
import type { SavedMachine } from '../snapshots/index.ts';
import type { MachineInfo } from './machine-api.ts';
import type { MachineBody } from './machine-body.ts';
import { checkLeasable } from './machine-lease.ts';
import { changeProtection } from './protection-change.ts';
import { becomeTwin } from './twin.ts';

/** The last that a machine needs of its snapshot; it runs from here on. */
export async function arriveFromSnapshot(body: MachineBody, saved: SavedMachine): Promise<void> {
  const { board, io, backends } = body;
  await saved.fillShares(backends.shares);
  await saved.loadMemory(board, io);
  await saved.denyAgain((change) => changeProtection(board, change));
  body.renewGeneration({ tells: true });
  board.world.setHeld(false);
}

/** The twin is where its original stands; then it goes on by itself. What it is to be told of it. */
export async function arriveAsTwin(
  body: MachineBody,
  original: MachineBody,
  { quiesce }: { readonly quiesce: boolean },
): Promise<NonNullable<MachineInfo['fork']>> {
  original.end.checkStays();
  const become = async (check?: () => void): Promise<number> =>
    await becomeTwin(original.sibling, body.sibling, body.readdressing, check);
  const pausedMs = quiesce ? (await original.agents.care.quiesced(become)).result : await become();
  return { of: original.name, pausedMs };
}

/** A guest that was elsewhere goes on here: the same one, with the same numbers, names and time. It was held until now. */
export async function arriveFromElsewhere(
  body: MachineBody,
  { state, console, addresses }: GuestState,
  shiftTicks: number,
  as: Succession,
): Promise<void> {
  const { board, io, backends, agents, history } = body;
  body.end.checkStays();
  const lease = as.lease ?? body.options.lease;
  if (lease !== undefined) {
    checkLeasable(body.options);
    body.lease.begin(lease);
  }
  backends.replaceDrives(as.drives);
  await backends.join({ addresses });
  backends.attachSockets(board);
  board.memory.header.clockShiftMs = shiftTicks / TICKS_PER_MS;
  restoreBoard(board, state.board, 'that is received');
  if (state.network !== undefined) backends.user?.restore(state.network);
  body.changedContexts();
  agents.link.goOnFrom([state.agent.waiting]);
  history.push(console);
  io.writeConsole(state.input);
  for (const { domain, start, end, denied: rights } of state.rules)
    await changeProtection(board, {
      action: 'deny',
      domains: [domain],
      start: Number(start),
      end: Number(end),
      rights,
    });
  resumeBoard(board);
  backends.connectNic(board);
  board.world.setHeld(false);
}
