#!/usr/bin/env node
/** The command `kage`: sees to what must be done before modules are loaded, then loads them (command.ts). */
import { startProcessorAhead } from '../host/machine/processor-worker-start.ts';
import { keepCompiledModules } from './code-cache.ts';
import { startWithMachineFlags } from './machine-flags.ts';

const [, , verb, ...rest] = process.argv;
const owns = verb === 'run' || verb === 'restore';
if (owns) startWithMachineFlags(process);
keepCompiledModules();
// Ahead of what the flags say: a machine in the background belongs to another process, help to none. A thread that is
// started for nothing, or not started, does no harm.
if (owns && !rest.some((word) => word === '-d' || word === '--detach' || word.includes('help'))) startProcessorAhead();
await import('./command.ts');
