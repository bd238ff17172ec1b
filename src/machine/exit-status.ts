/** How a machine ended, from the world's run state. */
import { RUN, type World } from '../hypervisor/index.ts';

/** `migrated`: the guest goes on elsewhere. `code`: 0 after poweroff, the test device's code after failure, 125 where the platform failed. */
export interface ExitStatus {
  readonly reason: 'poweroff' | 'reboot' | 'failure' | 'killed' | 'migrated' | 'error';
  readonly code: number;
  readonly message?: string;
}

/** To be asked once the world no longer runs. What the host knows better (it killed it, a thread failed) goes first. */
export function exitStatus(world: World): ExitStatus {
  switch (world.run) {
    case RUN.poweroff:
      return { reason: 'poweroff', code: 0 };
    case RUN.reboot:
      return { reason: 'reboot', code: 0 };
    case RUN.failure:
      return { reason: 'failure', code: world.block.code & 255 || 1 };
    case RUN.memoryFull:
      return { reason: 'error', code: 125, message: 'the guests own all frames of the machine' };
    default:
      return { reason: 'error', code: 125, message: 'the machine stopped' };
  }
}
