/**
 * What the two machines boot: Debian's stock kernel with an initramfs of our bench programs, which are compiled once
 * for each state of their sources and kept in the cache folder; and the stock image itself, up to its shell.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError, OperatorError } from '../src/base/errors.ts';
import { cacheFolder, publishFolder, tryRun } from '../src/host/debian/index.ts';
import { type CpioEntry, cpio } from '../src/host/images/cpio.ts';
import type { GuestImage } from '../src/host/images/index.ts';
import { programPath, provide, versions } from '../test/toolbox.ts';
import { programs, shorten, sourceFolder } from './classes.ts';

/** How a guest's devices show themselves. */
export type IoTransport = 'mmio' | 'pci';

export interface Guest {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  /** A workload that begins with the machine's process, and whose result the guest tells. */
  readonly begins?: string;
  /** User networking, and this raw file as a disk. Default: no devices. */
  readonly io?: { readonly disk: string; readonly transport: IoTransport };
  /** Answers what the console shows with what is typed; undefined: nothing (yet). */
  readonly answer?: (console: string) => string | undefined;
}

const compilerFlags = ['-std=gnu17', '-O2', '-march=rv64gc', '-mabi=lp64d', '-static', '-Wall', '-Wextra', '-Werror'];
/** Sources beside the program's own and the common main program. */
const further: Readonly<Record<string, readonly string[]>> = { integer: ['mix.c'] };
export const prompt = 'root@kage:~# ';

/** Fetches the oracle and the compiler unless they are there. Throws OperatorError `bench-tool`. */
export async function provideTools(say: (line: string) => void): Promise<void> {
  for (const tool of ['qemu', 'cross'] as const) {
    const failure = await provide(tool, say);
    if (failure !== undefined) {
      throw new OperatorError('bench-tool', failure, 'run it on a Debian machine whose apt sources can be reached');
    }
  }
}

/** The initramfs with the bench programs; its path. */
export async function benchInitrd(): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([compilerFlags, versions('cross')]));
  const files = (await readdir(sourceFolder)).sort();
  for (const file of files) hash.update(`${file}\0`).update(await readFile(join(sourceFolder, file)));
  const folder = cacheFolder('bench', hash.digest('hex').slice(0, 16));
  await publishFolder(folder, {}, async (temporary) => {
    const compiled = await Promise.all(programs.map(async (name) => await compileProgram(temporary, name)));
    const entries: CpioEntry[] = [
      { kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
      program('init', await compile(join(temporary, 'init'), ['init.c'])),
      ...compiled.map((data, i) => program(`bench/${programs[i]}`, data)),
    ];
    await writeFile(join(temporary, 'initrd.cpio'), cpio(entries));
  });
  const path = join(folder, 'initrd.cpio');
  if (!existsSync(path)) throw new HostError('bench-cache', `${path} vanished while it was made`);
  return path;
}

/** A guest that runs `wanted` of `all` workloads (CLASS/NAME) at `permille` of their full size and powers off. */
export function benchGuest(
  files: { readonly kernel: string; readonly initrd: string },
  work: { readonly all: readonly string[]; readonly wanted: readonly string[]; readonly permille: number },
): Guest {
  const run = shorten(work.all, work.wanted).join(',');
  const words = ['console=ttyS0', 'quiet', `bench.run=${run}`, `bench.permille=${work.permille}`];
  return { ...files, append: words.join(' ') };
}

/** The stock image, switched off as soon as its shell asks for a command. */
export function bootGuest(image: GuestImage): Guest {
  return {
    kernel: image.kernel,
    initrd: image.initrd,
    append: `${image.commandLine} kage.net=off kage.agent=off`,
    answer: (console) => (console.includes(prompt) ? 'poweroff -f\n' : undefined),
  };
}

async function compileProgram(folder: string, name: string): Promise<Uint8Array> {
  return await compile(join(folder, name), ['bench.c', `${name}.c`, ...(further[name] ?? [])]);
}

async function compile(target: string, sources: readonly string[]): Promise<Uint8Array> {
  const args = [...compilerFlags, '-o', target, ...sources.map((file) => join(sourceFolder, file)), '-lm'];
  const result = await tryRun(programPath('riscv64-linux-gnu-gcc'), args);
  if (result.exitCode !== 0)
    throw new HostError('bench-compile', `${sources.join(' ')} did not compile:\n${result.stderr}`);
  return await readFile(target);
}

function program(path: string, data: Uint8Array): CpioEntry {
  return { kind: 'file', path, mode: 0o755, data };
}
