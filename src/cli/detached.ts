/** The entry of the process that owns a detached machine; `kage run -d` starts it. */
import { startProcessorAhead } from '../host/machine/processor-worker-start.ts';
import { keepCompiledModules } from './code-cache.ts';

keepCompiledModules();
startProcessorAhead();
const { createMachine, receiveMachine, restoreMachine } = await import('../host/index.ts');
const { ownDetachedMachine } = await import('./detach.ts');

ownDetachedMachine(createMachine, restoreMachine, receiveMachine);
