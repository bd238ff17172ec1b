/** Changing protection tables of a machine that runs: until every hart and device goes by the new rights. */
import { RUN } from '../../hypervisor/index.ts';
import { type Board, type ProtectionChange, protectionOf, rightsChange } from '../../machine/index.ts';

/** On the thread that serves the devices. Rejects with OperatorError; then nothing has changed. */
export async function changeProtection(board: Board, change: ProtectionChange): Promise<void> {
  const protection = protectionOf(board);
  const wanted = rightsChange(board, change);
  let epoch = protection.tryChange(board, wanted);
  // Another thread keeps the harts outside: it drops decoded code, which takes a moment.
  while (epoch === undefined) {
    await moment();
    epoch = protection.tryChange(board, wanted);
  }
  while (!protection.isKnown(epoch) && board.world.run === RUN.running) await moment();
}

function moment(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
