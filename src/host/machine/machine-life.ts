/**
 * A machine's life from where it runs to where nothing of it is left: served until its guest has ended, then taken apart.
 *
 *     served -> those who stand by are told -> no thread runs it -> what it had of the host's is closed -> vacated
 */
import type { Runner } from '../../hypervisor/index.ts';
import { runInstructionClock } from './instruction-clock.ts';
import type { MachineStats } from './machine-api.ts';
import type { MachineBody } from './machine-body.ts';
import type { MachineGdb } from './machine-gdb.ts';
import type { Member } from './machine-home.ts';
import type { Standbys } from './standbys.ts';

/** A guest that was restored is to answer first: on two processors, what this thread loads holds it up. */
const TRANSLATOR_DELAY_MS = 400;

export interface MachineLifeParts {
  readonly body: MachineBody;
  readonly member: Member;
  readonly standbys: Standbys;
  readonly gdb: MachineGdb | undefined;
  /** By the instruction clock. */
  readonly runner: Runner | undefined;
  readonly wasRestored: boolean;
  counted(): MachineStats;
}

/** Begins it; the machine's end tells when it is over. Nothing that is called here may throw. */
export function beginLife(parts: MachineLifeParts): void {
  const { body, member, standbys, runner } = parts;
  const { board, io, slots, logs, lease, home, end } = body;
  const { signal } = body.options;
  const abort = (): void => void end.kill();
  signal?.addEventListener('abort', abort, { once: true });
  home.parts.threads?.startTranslator({ delayMs: parts.wasRestored ? TRANSLATOR_DELAY_MS : 0 });
  const failed = (error: unknown): void => end.failed(error);
  const serving = runner === undefined ? io.run() : runInstructionClock({ board, io, slots, logs, runner });
  void serving
    .catch(failed)
    .then(async () => {
      lease.end();
      // Behind the deadline nobody is told that the guest has ended: a standby may be it by now, or is to be.
      await standbys.guestEnded({ isOurs: lease.mayAct });
      await home.leave(member);
      io.serve();
    })
    .catch(failed)
    .then(async () => await close(parts))
    .catch(failed)
    .then(() => {
      signal?.removeEventListener('abort', abort);
      end.resolve();
    });
}

/** What the machine had of the host's, once no thread runs it any more. */
async function close(parts: MachineLifeParts): Promise<void> {
  const { logs, backends, agents, end } = parts.body;
  logs.close();
  backends.closeNetworks();
  agents.close();
  await parts.gdb?.close(end.status().code);
  await backends.closeFiles();
  await vacate(parts);
}

/** Where the machine goes on, what it had is free for others: when no disk or socket has anything to write there. */
async function vacate({ body, gdb, counted }: MachineLifeParts): Promise<void> {
  const { slots, home, board, config, end } = body;
  while (slots.underWay > 0) await new Promise((resolve) => setImmediate(resolve));
  if (!home.isOpen) return;
  end.left(counted());
  // What stood where now others may stand.
  if (gdb) board.memory.setBreakpoints([], { inOverlays: config.overlays > 0 });
  home.vacate(board);
}
