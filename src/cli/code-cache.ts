/**
 * The host's compiled form of our own modules, kept in the user's cache folder: a process that finds it there does not
 * parse them again, nor do the threads that it starts. It stands alone, because it must run before anything else is
 * loaded; workers of the machine follow it by themselves (src/host/machine/machine-threads.ts).
 *
 * The folder is the user's own: what it holds is executed, so a folder that others may write to (the system's for
 * temporary files, which is the default) will not do.
 */
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** Has an effect on modules that are loaded later. `NODE_COMPILE_CACHE` and `NODE_DISABLE_COMPILE_CACHE` come first. */
export function keepCompiledModules(): void {
  const { XDG_CACHE_HOME: root } = process.env;
  const cache = root !== undefined && isAbsolute(root) ? root : join(homedir(), '.cache');
  // Where it cannot be had (a read-only home, say) everything works without.
  enableCompileCache(process.env.NODE_COMPILE_CACHE ?? join(cache, 'kagemusha', 'modules'));
}
