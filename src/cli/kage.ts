#!/usr/bin/env node
/** The entry of `kage`. A machine's process starts over with the flags that spare memory, before anything is loaded. */
import { startWithMachineFlags } from './machine-flags.ts';

if (process.argv[2] === 'run') startWithMachineFlags(process);
await import('./command.ts');
