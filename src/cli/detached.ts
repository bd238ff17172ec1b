/** The entry of the process that owns a detached machine; `kage run -d` and the daemon start it. */
import { startProcessorAhead } from '../host/machine/processor-worker-start.ts';
import { keepCompiledModules } from './code-cache.ts';

keepCompiledModules();
startProcessorAhead();
const { createMachine, ownDetachedMachine, receiveMachine, restoreMachine } = await import('../host/index.ts');

ownDetachedMachine(createMachine, restoreMachine, receiveMachine);
