#!/usr/bin/env node
/** The command `kage`: sees to what must be done before modules are loaded, then loads them (command.ts). */
import { keepCompiledModules } from './code-cache.ts';
import { startWithMachineFlags } from './machine-flags.ts';

if (process.argv[2] === 'run') startWithMachineFlags(process);
keepCompiledModules();
await import('./command.ts');
