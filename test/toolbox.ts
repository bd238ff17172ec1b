/**
 * Debian tools that tests and benchmarks compare against (QEMU as the oracle, its disk tools and
 * nbdkit, gdb-multiarch, the cross compiler).
 * Packages come through src/host/debian and are unpacked into the user's cache folder: nothing is installed on the
 * host, no root is needed. Small wrappers start each program through the loader unpacked with it, so that the
 * release of the host does not matter and callers spawn one path.
 *
 * What is left out: maintainer scripts (nothing here needs them), link-time optimization in the cross compiler, and
 * hosts without apt (`provide` says why).
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  cacheFolder,
  defaultSuite,
  fetchFirmware,
  fetchQemu,
  fetchTool,
  hostArchitecture,
  type ProgressListener,
  publishFolder,
  type Tool,
  type WorkOptions,
} from '../src/host/debian/index.ts';

/** `$root` in a program's own arguments is the folder of the unpacked packages, `$parts` that of the compiler's. */
interface ToolRow {
  fetch(options: WorkOptions): Promise<Tool>;
  readonly programs: Readonly<Record<string, readonly string[]>>;
  /** Programs that these start themselves, with the folder or the name under which they lie in the packages. */
  readonly parts?: Readonly<Record<string, string>>;
  /** Other files that callers name, with their place in the folder of libraries. */
  readonly files?: Readonly<Record<string, string>>;
}

const gccParts = 'usr/libexec/gcc-cross/riscv64-linux-gnu';

const rows = {
  qemu: {
    fetch: async (options) => {
      await fetchFirmware(options);
      return await fetchQemu(options);
    },
    programs: { 'qemu-system-riscv64': ['-L', '$root/usr/share/qemu'] },
  },
  disks: {
    fetch: (options) => fetchWithLibraries('disks', ['qemu-utils', 'nbdkit', 'openssl'], options),
    programs: { 'qemu-img': [], 'qemu-io': [], 'qemu-nbd': [], nbdkit: [], openssl: [] },
    // nbdkit looks for short names where it would be installed.
    files: {
      'nbdkit-file-plugin.so': 'nbdkit/plugins/nbdkit-file-plugin.so',
      'nbdkit-cache-filter.so': 'nbdkit/filters/nbdkit-cache-filter.so',
    },
  },
  gdb: {
    fetch: (options) => fetchWithLibraries('gdb-multiarch', ['gdb-multiarch', 'libpython3-stdlib'], options),
    programs: { 'gdb-multiarch': ['--data-directory=$root/usr/share/gdb'] },
  },
  sessions: {
    fetch: (options) => fetchWithLibraries('iperf3-dropbear', ['iperf3', 'dropbear-bin'], options),
    programs: { iperf3: [], dbclient: [], dropbearkey: [] },
  },
  cross: {
    fetch: (options) =>
      fetchWithLibraries('gcc-riscv64-linux-gnu', ['gcc-riscv64-linux-gnu', 'libc6-dev-riscv64-cross'], options),
    programs: {
      'riscv64-linux-gnu-gcc': ['--sysroot=$root', '-B$parts/'],
      'riscv64-linux-gnu-as': [],
      'riscv64-linux-gnu-ld': [],
      'riscv64-linux-gnu-objcopy': [],
      'riscv64-linux-gnu-objdump': [],
      'riscv64-linux-gnu-nm': [],
    },
    parts: {
      cc1: gccParts,
      collect2: gccParts,
      as: 'usr/bin/riscv64-linux-gnu-as',
      ld: 'usr/bin/riscv64-linux-gnu-ld',
    },
  },
} satisfies Record<string, ToolRow>;

export type ToolName = keyof typeof rows;
export const toolNames: readonly ToolName[] = ['qemu', 'disks', 'gdb', 'sessions', 'cross'];

/** Path of a program, for `spawn`; it exists once its tool is provided. */
export function programPath(program: ProgramName): string {
  const name = toolNames.find((tool) => program in rows[tool].programs) ?? 'cross';
  return join(wrapperFolder(name), 'bin', program);
}

/** Path of a file that a tool brings along. */
export function toolFile(tool: ToolName, file: string): string {
  return join(wrapperFolder(tool), 'files', file);
}

export type ProgramName = { [N in ToolName]: keyof (typeof rows)[N]['programs'] }[ToolName];

/** Whether `name` is unpacked already. */
export function isProvided(name: ToolName): boolean {
  return existsSync(wrapperFolder(name));
}

/**
 * Fetches and unpacks `name` unless that is done. Returns undefined on success, else one sentence that says why not.
 * `say` gets progress, a line at a time. Takes a minute at most on an ordinary line.
 */
export async function provide(name: ToolName, say: (line: string) => void): Promise<string | undefined> {
  const row: ToolRow = rows[name];
  let last = '';
  const progress: ProgressListener = ({ step }) => {
    if (step !== last) say(`${name}: ${step}`);
    last = step;
  };
  try {
    await publishFolder(wrapperFolder(name), {}, async (folder) => {
      const { root } = await row.fetch({ progress });
      const parts = join(wrapperFolder(name), 'parts');
      for (const [program, given] of Object.entries(row.programs)) {
        const args = given.map((text) => text.replace('$root', root).replace('$parts', parts));
        await writeWrapper(join(folder, 'bin'), program, root, join('usr/bin', program), args);
      }
      for (const [part, place] of Object.entries(row.parts ?? {})) {
        const path = place === gccParts ? join(place, await onlyEntry(join(root, place)), part) : place;
        await writeWrapper(join(folder, 'parts'), part, root, path, []);
      }
      await mkdir(join(folder, 'files'));
      for (const [file, place] of Object.entries(row.files ?? {})) {
        await symlink(join(root, 'usr/lib', hostLayout().triplet, place), join(folder, 'files', file));
      }
    });
    return undefined;
  } catch (error) {
    return `${name} is not to be had: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The versions of what is unpacked, a line each, for the head of a comparison's report. */
export function versions(name: ToolName): string {
  const programs = Object.keys(rows[name].programs) as ProgramName[];
  return programs
    .map((program) => spawnSync(programPath(program), ['--version'], { encoding: 'utf8' }).stdout ?? '')
    .map((text) => text.split('\n', 1)[0])
    .join('\n');
}

function wrapperFolder(name: ToolName): string {
  return cacheFolder('toolbox', `${name}-${process.arch}`);
}

async function fetchWithLibraries(name: string, packages: string[], options: WorkOptions): Promise<Tool> {
  const architecture = await hostArchitecture(options);
  return await fetchTool(name, { suite: defaultSuite, architecture, packages, withDependencies: true }, options);
}

/** The folder of the compiler's version: there is one, and its name changes with the release. */
async function onlyEntry(folder: string): Promise<string> {
  const [entry, ...more] = await readdir(folder);
  if (entry === undefined || more.length > 0) throw new Error(`${folder} holds ${more.length + 1} versions`);
  return entry;
}

function hostLayout(): { readonly triplet: string; readonly loader: string } {
  return process.arch === 'arm64'
    ? { triplet: 'aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' }
    : { triplet: 'x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' };
}

async function writeWrapper(folder: string, name: string, root: string, path: string, args: string[]): Promise<void> {
  const { triplet, loader } = hostLayout();
  const libraries = join(root, 'usr/lib', triplet);
  const words = ['--library-path', libraries, '--argv0', name, join(root, path), ...args];
  const text = [
    '#!/bin/sh',
    // gdb's Python and the compiler's prefix would else be found relative to the loader.
    `export PYTHONHOME='${root}/usr' GCC_EXEC_PREFIX='${root}/usr/lib/gcc-cross/'`,
    `exec '${join(libraries, loader)}' ${words.map((word) => `'${word}'`).join(' ')} "$@"`,
    '',
  ].join('\n');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, name), text);
  await chmod(join(folder, name), 0o755);
}
