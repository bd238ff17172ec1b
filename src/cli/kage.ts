#!/usr/bin/env node
/** The command `kage`: sees to what must be done before modules are loaded, then loads them (command.ts). */
import { startProcessorAhead } from '../host/machine/processor-worker-start.ts';
import { keepCompiledModules } from './code-cache.ts';
import { startWithMachineFlags } from './machine-flags.ts';

const [, , verb, ...rest] = process.argv;
const owns = verb === 'run' || verb === 'restore';
// To start anew with them takes as long as Node's own start, for which who restores a guest does not wait. One that is
// restored into the background has them (host/control/detached-process.ts).
if (verb === 'run') startWithMachineFlags(process);
keepCompiledModules();
// Ahead of what the flags say: a machine in the background belongs to another process, help to none. A thread that is
// started for nothing, or not started, does no harm.
if (owns && !rest.some((word) => word === '-d' || word === '--detach' || word.includes('help'))) startProcessorAhead();
await import('./command.ts');
