#!/usr/bin/env node
/** The command `kage`: sees to what must be done before modules are loaded, then loads them (command.ts). */
import { keepCompiledModules } from './code-cache.ts';

keepCompiledModules();
await import('./command.ts');
