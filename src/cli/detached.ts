/** The entry of the process that owns a detached machine; `kage run -d` starts it. */
import { startVcpuWorkerAhead } from '../host/machine/vcpu-worker-start.ts';
import { keepCompiledModules } from './code-cache.ts';

keepCompiledModules();
startVcpuWorkerAhead();
const { createMachine, restoreMachine } = await import('../host/index.ts');
const { ownDetachedMachine } = await import('./detach.ts');

ownDetachedMachine(createMachine, restoreMachine);
