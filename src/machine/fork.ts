/**
 * A twin of a partition (docs/fork.md): another board of the same configuration, in the same machine, comes to where the
 * first one stands. Blocks are copied; of memory, the map is: frames belong to both until one of them writes
 * (engine/shared-frames.ts). What the engine derives (translations, fresh pages) the twin starts without.
 */
import { must } from '../base/assert.ts';
import { copyFields } from '../base/struct.ts';
import { GATE } from '../hypervisor/index.ts';
import type { Board } from './board.ts';
import { savedVcpu } from './snapshot/board-state.ts';

/**
 * What forkBoard does, as far as it can be done while the first one runs: what is copied then is copied once more. The host
 * has compiled that by then, and has memory for the twin's blocks.
 */
export function prepareFork(board: Board, twin: Board): void {
  for (const [i, vcpu] of board.vcpus.entries()) copyFields(savedVcpu, vcpu.state, must(twin.vcpus[i]).state);
  copyDevices(board, twin);
  if (board.protection !== undefined) must(twin.protection).copyFrom(board.protection);
  twin.map.provide();
  board.map.rehearseFork();
}

/**
 * No vCPU of either runs, and no device serves its queues; the first one's may, once this has returned. `resumeBoard`
 * of the twin follows, when its devices have what they stand on. On the thread that made both boards.
 */
export function forkBoard(board: Board, twin: Board): void {
  // The twin's functions tell their levels again (resumeBoard); what else waits in relays is the first one's.
  board.commons.interrupts?.fabric.settle();
  for (const [i, vcpu] of board.vcpus.entries()) {
    const { state, hart } = must(twin.vcpus[i]);
    copyFields(savedVcpu, vcpu.state, state);
    // A reservation that is gone makes a store-conditional fail, as it may at any time.
    Object.assign(state, { reservationSize: 0n });
    vcpu.state.reservationSize = 0n;
    const { status, startAddress, startOpaque, sbiDeadline, machineDeadline } = vcpu.hart;
    Object.assign(hart, { status, startAddress, startOpaque, sbiDeadline, machineDeadline, gate: GATE.open });
  }
  copyDevices(board, twin);
  if (board.protection !== undefined) must(twin.protection).copyFrom(board.protection);
  board.map.forkTo(twin.map);
  // Its pages are written no more where they are.
  for (const vcpu of board.vcpus) vcpu.forgetTranslations();
  for (const vcpu of twin.vcpus) vcpu.forgetTranslations();
}

function copyDevices(board: Board, twin: Board): void {
  const { devices } = twin;
  for (const [i, device] of board.devices.entries())
    board.locked(device, () => copyFields(device.layout, device.state, must(devices[i]).state));
}
