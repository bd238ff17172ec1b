/**
 * Programs of Debian's archive unpacked into the cache folder and run from there, next to whatever the host has:
 * QEMU (the reference that our machine is compared with) and firmware for the guest. A dynamically linked program
 * of a newer release runs on an older host because it is started through the loader that was unpacked with it.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HostError, OperatorError } from '../../base/errors.ts';
import { defaultSuite } from './archive.ts';
import { cacheFolder, publishFolder } from './cache-folder.ts';
import { run } from './command.ts';
import { fetchPackages, type PackageRequest, unpack } from './packages.ts';
import type { WorkOptions } from './progress.ts';

/** What a folder of unpacked packages was made from; kept in it as manifest.json. */
export interface ToolManifest {
  suite: string;
  release: string;
  packages: { name: string; version: string; sha256: string }[];
}

export interface Tool {
  /** The folder that stands for `/` of the unpacked packages. */
  root: string;
  manifest: ToolManifest;
}

export interface Qemu extends Tool {
  /** Start QEMU with these words, then its own arguments. */
  command: string[];
  /** The package's version: `1:10.0.13+ds-0+deb13u1`. */
  version: string;
}

export interface FileSystemTools extends Tool {
  /** Start the programs with these words, then their own arguments. */
  mke2fs: string[];
  debugfs: string[];
  e2fsck: string[];
}

export interface Firmware extends Tool {
  /** OpenSBI for the generic platform: a dynamic-info binary and a jump binary (next stage at 0x80200000), raw. */
  openSbiDynamic: string;
  openSbiJump: string;
  /** U-Boot for M-mode (`-bios`) and for S-mode (behind OpenSBI), raw binaries and ELF files. */
  uBoot: string;
  uBootElf: string;
  uBootSupervisor: string;
  uBootSupervisorElf: string;
}

/** The loader's file and the libraries' folder of each host architecture that the tools are run on. */
const loaders: Readonly<Record<string, { loader: string; libraries: string }>> = {
  amd64: { loader: 'usr/lib64/ld-linux-x86-64.so.2', libraries: 'usr/lib/x86_64-linux-gnu' },
  arm64: { loader: 'usr/lib/ld-linux-aarch64.so.1', libraries: 'usr/lib/aarch64-linux-gnu' },
};

/** QEMU of Debian trixie (version 10) for riscv64 guests, fetched once. */
export async function fetchQemu(options: WorkOptions = {}): Promise<Qemu> {
  const packages = ['qemu-system-riscv', 'opensbi'];
  const { tool, command } = await fetchPrograms('qemu-system-riscv', packages, options);
  const version = tool.manifest.packages.find(({ name }) => name === 'qemu-system-riscv')?.version ?? '';
  const words = [...command('usr/bin/qemu-system-riscv64'), '-L', join(tool.root, 'usr/share/qemu')];
  return { ...tool, command: words, version };
}

/** e2fsprogs of Debian trixie, which makes a file system out of a tar archive (`mke2fs -d`, since 1.47.1). */
export async function fetchFileSystemTools(options: WorkOptions = {}): Promise<FileSystemTools> {
  const { tool, command } = await fetchPrograms('e2fsprogs', ['e2fsprogs', 'libarchive13t64'], options);
  return {
    ...tool,
    mke2fs: command('usr/sbin/mke2fs'),
    debugfs: command('usr/sbin/debugfs'),
    e2fsck: command('usr/sbin/e2fsck'),
  };
}

/** Programs for the host's processor, with all that they depend on. */
async function fetchPrograms(
  name: string,
  packages: readonly string[],
  options: WorkOptions,
): Promise<{ tool: Tool; command: (program: string) => string[] }> {
  const architecture = await hostArchitecture(options);
  const layout = loaders[architecture];
  if (!layout) {
    const message = `${name} cannot be unpacked for a ${architecture} host`;
    throw new OperatorError('tool-unavailable', message, 'use an amd64 or arm64 machine');
  }
  const request = { suite: defaultSuite, architecture, packages, withDependencies: true };
  const tool = await fetchTool(name, request, options);
  const command = (program: string): string[] => [
    ...[join(tool.root, layout.loader), '--library-path', join(tool.root, layout.libraries)],
    ...['--argv0', basename(program), join(tool.root, program)],
  ];
  return { tool, command };
}

/** OpenSBI and U-Boot for QEMU's virt machine, from Debian trixie, fetched once. */
export async function fetchFirmware(options: WorkOptions = {}): Promise<Firmware> {
  const packages = ['opensbi', 'u-boot-qemu'];
  const tool = await fetchTool('firmware', { suite: defaultSuite, architecture: 'riscv64', packages }, options);
  const openSbi = join(tool.root, 'usr/lib/riscv64-linux-gnu/opensbi/generic');
  const uBoot = join(tool.root, 'usr/lib/u-boot');
  return {
    ...tool,
    openSbiDynamic: join(openSbi, 'fw_dynamic.bin'),
    openSbiJump: join(openSbi, 'fw_jump.bin'),
    uBoot: join(uBoot, 'qemu-riscv64/u-boot.bin'),
    uBootElf: join(uBoot, 'qemu-riscv64/uboot.elf'),
    uBootSupervisor: join(uBoot, 'qemu-riscv64_smode/u-boot.bin'),
    uBootSupervisorElf: join(uBoot, 'qemu-riscv64_smode/uboot.elf'),
  };
}

/** Fetches packages and unpacks them into `tools/NAME`, once; later calls need neither apt nor network. */
export async function fetchTool(name: string, request: PackageRequest, options: WorkOptions = {}): Promise<Tool> {
  const folder = cacheFolder('tools', name);
  await publishFolder(folder, options, async (temporary) => {
    const { release, files } = await fetchPackages(request, options);
    for (const [index, file] of files.entries()) {
      options.progress?.({ step: `unpacking ${name}`, done: index, total: files.length });
      await unpack(file.path, join(temporary, 'root'), options);
    }
    const packages = files.map((file) => ({ name: file.name, version: file.version, sha256: file.sha256 }));
    const manifest: ToolManifest = { suite: request.suite, release, packages };
    await writeFile(join(temporary, 'manifest.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  });
  const path = join(folder, 'manifest.json');
  if (!existsSync(path))
    throw new HostError('cache-broken', `${path} is missing: remove the folder ${folder} and try again`);
  return { root: join(folder, 'root'), manifest: JSON.parse(await readFile(path, 'utf8')) as ToolManifest };
}

/** The host's Debian architecture: `amd64`, `arm64`, ... */
export async function hostArchitecture(options: WorkOptions = {}): Promise<string> {
  const known: Partial<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', riscv64: 'riscv64' };
  return known[process.arch] ?? (await run('dpkg', ['--print-architecture'], options)).stdout.toString('utf8').trim();
}
