/** Which control sockets have a machine behind them; those that were left by one that died are removed. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from '../debian/index.ts';
import { isAlive } from '../streams/index.ts';
import { daemonSocketName } from './runtime-folder.ts';

/** Names of the machines whose sockets answer, sorted; removes sockets that were left behind. */
export async function liveNames(folder: string): Promise<string[]> {
  const names = (await readdir(folder))
    .filter((file) => file.endsWith('.sock'))
    .map((file) => file.slice(0, -5))
    .filter((name) => name !== daemonSocketName);
  const live = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, `${name}.sock`);
      if (await isAlive(path)) return [name];
      await withLock(`${path}.lock`, {}, async () => {
        if (!(await isAlive(path))) await rm(path, { force: true });
      });
      return [];
    }),
  );
  return live.flat().sort();
}
