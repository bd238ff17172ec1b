/** Static programs for the guest, compiled by Debian's cross compiler (the toolbox's `cross`). */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../src/base/errors.ts';
import { tryRun } from '../src/host/debian/index.ts';
import { programPath, versions } from './toolbox.ts';

/** Of every program: RV64GC, so that it runs on any configuration of ours; warnings are errors. */
const commonFlags = ['-std=gnu17', '-O2', '-march=rv64gc', '-mabi=lp64d', '-Wall', '-Wextra', '-Werror'];

/** Compiles and links `sources` into the file `target`. Throws HostError `cross-compile` with what the compiler said. */
export async function crossCompile(
  target: string,
  sources: readonly string[],
  flags: readonly string[] = ['-static'],
): Promise<Uint8Array> {
  const args = [...commonFlags, ...flags, '-o', target, ...sources];
  const { exitCode, stderr } = await tryRun(programPath('riscv64-linux-gnu-gcc'), args);
  if (exitCode !== 0) throw new HostError('cross-compile', `${sources.join(' ')} did not compile:\n${stderr}`);
  return readFileSync(target);
}

/** Names the state of folders of sources and of the compiler, for keeping what was made of them. */
export function sourcesDigest(folders: readonly string[], ...further: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([commonFlags, versions('cross'), ...further]));
  for (const folder of folders) {
    for (const name of readdirSync(folder).sort()) {
      hash.update(`${name}\0`).update(readFileSync(join(folder, name)));
    }
  }
  return hash.digest('hex').slice(0, 16);
}
