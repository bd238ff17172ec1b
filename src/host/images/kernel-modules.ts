/**
 * Picks kernel modules with all that they depend on. Debian's kernel package carries no modules.dep (depmod makes
 * it when the package is installed), so the modules themselves are asked: the ELF section .modinfo holds
 * `name=value` strings, among them `depends`, `softdep` and `alias` (include/linux/module.h). From the chosen ones
 * modules.dep and modules.alias are written for busybox's modprobe.
 */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { HostError } from '../../base/errors.ts';
import { run, type WorkOptions } from '../debian/index.ts';
import { leanModule } from './module-symbols.ts';

export interface KernelModule {
  /** As lsmod shows it: `virtio_net`. */
  name: string;
  /** Below the modules' folder, without compression: `kernel/drivers/net/virtio_net.ko`. */
  path: string;
  /**
   * The module, lean (module-symbols.ts) and uncompressed: decompressing it in the guest would cost more than the
   * memory it saves.
   */
  bytes: Uint8Array;
  depends: string[];
  aliases: string[];
}

/** apt's own tool decompresses by what apt links with; so no xz program is needed. */
const aptHelper = '/usr/lib/apt/apt-helper';

/**
 * Loads the wanted modules and their dependencies from an unpacked /usr/lib/modules/VERSION; a dependency comes
 * before what needs it. Modules that are built into this kernel, or that it does not have, are left out: `lacking`
 * names the latter.
 */
export async function collectModules(
  folder: string,
  wanted: readonly string[],
  options: WorkOptions = {},
): Promise<{ modules: KernelModule[]; lacking: string[] }> {
  const files = new Map<string, string>();
  for (const path of await readdir(join(folder, 'kernel'), { recursive: true })) {
    const match = /([^/]+)\.ko(\.xz|\.gz|\.zst)?$/.exec(path);
    if (match?.[1]) files.set(canonical(match[1]), join(folder, 'kernel', path));
  }
  const builtIn = new Set(
    (await readFile(join(folder, 'modules.builtin'), 'utf8'))
      .split('\n')
      .map((path) => canonical(basename(path, '.ko'))),
  );
  const chosen = new Map<string, KernelModule>();
  const lacking: string[] = [];
  const visiting = new Set<string>();
  const add = async (name: string): Promise<void> => {
    if (chosen.has(name) || builtIn.has(name) || visiting.has(name)) return;
    const file = files.get(name);
    if (file === undefined) {
      lacking.push(name);
      return;
    }
    visiting.add(name);
    const bytes = leanModule(await readModule(file, options), name);
    const information = moduleInformation(bytes, name);
    const all = (key: string): string[] => information.filter(([field]) => field === key).map(([, value]) => value);
    const depends = all('depends')
      .flatMap((list) => list.split(','))
      .filter((entry) => entry !== '')
      .map(canonical);
    // A soft dependency may be an alias (crypto-crc32c), which only an index of all modules could resolve.
    const soft = all('softdep').flatMap((line) => (/\bpre:\s*(.*?)(?:\bpost:|$)/.exec(line)?.[1] ?? '').split(/\s+/));
    for (const dependency of [...depends, ...soft.map(canonical).filter((entry) => files.has(entry))])
      await add(dependency);
    const path = relative(folder, file).replace(/\.(xz|gz|zst)$/, '');
    chosen.set(name, { name, path, bytes, depends, aliases: all('alias') });
  };
  for (const [index, name] of wanted.entries()) {
    options.progress?.({ step: 'unpacking kernel modules', done: index, total: wanted.length });
    await add(canonical(name));
  }
  return { modules: [...chosen.values()], lacking };
}

/** modules.dep: each module's file and, behind the colon, the files of everything it needs, directly or not. */
export function modulesDep(modules: readonly KernelModule[]): string {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const closure = (module: KernelModule, into: Set<string>): Set<string> => {
    for (const name of module.depends) {
      const dependency = byName.get(name);
      if (!dependency || into.has(dependency.path)) continue;
      into.add(dependency.path);
      closure(dependency, into);
    }
    return into;
  };
  return modules.map((module) => `${[`${module.path}:`, ...closure(module, new Set())].join(' ')}\n`).join('');
}

/** modules.alias: `alias PATTERN MODULE` lines, from which the kernel's requests (`fs-ext4`) find their module. */
export function modulesAlias(modules: readonly KernelModule[]): string {
  return modules.flatMap((module) => module.aliases.map((alias) => `alias ${alias} ${module.name}\n`)).join('');
}

async function readModule(file: string, options: WorkOptions): Promise<Uint8Array> {
  if (file.endsWith('.xz')) return (await run(aptHelper, ['cat-file', file], { signal: options.signal })).stdout;
  const bytes = await readFile(file);
  if (file.endsWith('.gz')) return gunzipSync(bytes);
  return file.endsWith('.zst') ? zstdDecompressSync(bytes) : bytes;
}

/** The strings of .modinfo as pairs. Little-endian ELF64 only; offsets are checked, for the file is foreign. */
export function moduleInformation(bytes: Uint8Array, name: string): [string, string][] {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bad = (): HostError => new HostError('bad-kernel-module', `kernel module ${name} is not a whole ELF64 file`);
  const slice = (at: number, length: number): Buffer => {
    if (!Number.isSafeInteger(at) || at < 0 || length < 0 || at + length > file.length) throw bad();
    return file.subarray(at, at + length);
  };
  const start = slice(0, 64);
  if (start.readUInt32BE(0) !== 0x7f454c46 || start[4] !== 2 || start[5] !== 1) throw bad();
  const tableAt = Number(start.readBigUInt64LE(0x28));
  const [entrySize, count, namesIndex] = [start.readUInt16LE(0x3a), start.readUInt16LE(0x3c), start.readUInt16LE(0x3e)];
  if (entrySize !== 64) throw bad();
  const section = (index: number): { nameAt: number; data: () => Buffer } => {
    const row = slice(tableAt + index * entrySize, entrySize);
    const data = (): Buffer => slice(Number(row.readBigUInt64LE(0x18)), Number(row.readBigUInt64LE(0x20)));
    return { nameAt: row.readUInt32LE(0), data };
  };
  const names = section(namesIndex).data();
  for (let index = 0; index < count; index += 1) {
    const { nameAt, data } = section(index);
    if (names.toString('latin1', nameAt, nameAt + 9) !== '.modinfo\0') continue;
    return data()
      .toString('utf8')
      .split('\0')
      .filter((entry) => entry.includes('='))
      .map((entry) => {
        const equals = entry.indexOf('=');
        return [entry.slice(0, equals), entry.slice(equals + 1)];
      });
  }
  throw bad();
}

/** Module names write `-` and `_` alike. */
function canonical(name: string): string {
  return name.replaceAll('-', '_');
}
