/** The entry of the process that owns a detached machine; `kage run -d` starts it. */
import { createMachine } from '../host/index.ts';
import { ownDetachedMachine } from './detach.ts';

ownDetachedMachine(createMachine);
