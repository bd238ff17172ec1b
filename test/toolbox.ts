/**
 * Debian tools that tests and benchmarks compare against (QEMU as the oracle, gdb-multiarch, the cross compiler),
 * unpacked with their libraries and loader into the user's cache folder. Nothing is installed on the host and no
 * root is needed: the ordinary apt client runs with a private configuration, checks signatures and downloads;
 * dpkg-deb unpacks; small wrappers start each program through the unpacked loader, so that the release of the
 * host does not matter.
 *
 * What is left out: maintainer scripts (nothing here needs them), link-time optimization in the cross compiler, and
 * hosts without apt (`provide` says why).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The release that results are compared against, whatever the host runs. */
const release = 'trixie';

interface Tool {
  readonly packages: readonly string[];
  /** Programs to wrap, with arguments that let them find their data in the unpacked tree. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
}

const compilerFlags = ['--sysroot=$tree', '-B$tree/wrap/'] as const;

export const tools = {
  qemu: {
    packages: ['qemu-system-riscv', 'opensbi', 'u-boot-qemu'],
    programs: { 'qemu-system-riscv64': ['-L', '$tree/usr/share/qemu'] },
  },
  gdb: {
    packages: ['gdb-multiarch', 'libpython3-stdlib'],
    programs: { 'gdb-multiarch': ['--data-directory=$tree/usr/share/gdb'] },
  },
  cross: {
    packages: ['gcc-riscv64-linux-gnu', 'libc6-dev-riscv64-cross'],
    programs: {
      'riscv64-linux-gnu-gcc': compilerFlags,
      'riscv64-linux-gnu-as': [],
      'riscv64-linux-gnu-ld': [],
      'riscv64-linux-gnu-objcopy': [],
      'riscv64-linux-gnu-objdump': [],
      'riscv64-linux-gnu-nm': [],
    },
  },
} as const satisfies Record<string, Tool>;

export type ToolName = keyof typeof tools;

/** Firmware images of the `qemu` tool, relative to `treePath()`. */
export const firmware = {
  opensbi: 'usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.bin',
  opensbiElf: 'usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf',
  opensbiDynamic: 'usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin',
  ubootSmode: 'usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin',
  ubootMmode: 'usr/lib/u-boot/qemu-riscv64/u-boot.bin',
} as const;

/** The folder of the unpacked tree. */
export function treePath(): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(cache, 'kagemusha', 'toolbox', `${release}-${process.arch}`);
}

/** Path of a wrapped program, for `spawn`; it exists once `provide` succeeded for its tool. */
export function programPath(program: string): string {
  return join(treePath(), 'bin', program);
}

/** Whether `name` is unpacked already. */
export function isProvided(name: ToolName): boolean {
  return existsSync(marker(name));
}

/**
 * Downloads and unpacks `name` unless that is done. Returns undefined on success, else one sentence that says why
 * not. `say` gets progress, a line at a time. Takes a minute at most on an ordinary line; not safe to run twice at
 * the same time (the test runner calls it once, before any test).
 */
export function provide(name: ToolName, say: (line: string) => void): string | undefined {
  if (isProvided(name)) return undefined;
  for (const program of ['apt-get', 'apt-config', 'dpkg-deb', 'dpkg']) {
    if (spawnSync(program, ['--version'], { stdio: 'ignore' }).status !== 0) return `${program} is not on this machine`;
  }
  const tree = treePath();
  try {
    mkdirSync(tree, { recursive: true });
    const configuration = writeAptConfiguration(tree);
    say(`${name}: reading Debian ${release}'s package lists`);
    apt(configuration, ['update', '-qq']);
    say(`${name}: downloading ${tools[name].packages.join(', ')} and what they need`);
    apt(configuration, ['install', '-qq', '-y', '--download-only', '--no-install-recommends', ...tools[name].packages]);
    unpack(tree, say, name);
    wrap(tree, name);
    rmSync(join(tree, '.apt'), { recursive: true, force: true });
    writeFileSync(marker(name), `${tools[name].packages.join('\n')}\n`);
    return undefined;
  } catch (error) {
    return `${name} could not be unpacked: ${error instanceof Error ? error.message.split('\n').join(' ').slice(0, 300) : String(error)}`;
  }
}

function marker(name: ToolName): string {
  return join(treePath(), `.provided-${name}`);
}

/** The address of the Debian archive that the machine itself uses. */
function archiveAddress(): string {
  const format = '$(CODENAME)|$(RELEASE)|$(REPO_URI)';
  const rows = execFileSync('apt-get', ['indextargets', '--format', format], { encoding: 'utf8' }).split('\n');
  const codenames = /^(bullseye|bookworm|trixie|forky|duke|sid|unstable|testing|stable|oldstable)$/;
  for (const row of rows) {
    const [codename = '', suite = '', address = ''] = row.split('|');
    if ((codenames.test(codename) || codenames.test(suite)) && /\/debian\/?$/.test(address)) return address;
  }
  throw new Error("the machine's apt sources name no Debian archive");
}

function writeAptConfiguration(tree: string): string {
  const home = join(tree, '.apt');
  mkdirSync(join(home, 'lists', 'partial'), { recursive: true });
  mkdirSync(join(home, 'archives', 'partial'), { recursive: true });
  writeFileSync(join(home, 'status'), '');
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const options = existsSync(keyring) ? `[signed-by=${keyring}] ` : '';
  writeFileSync(join(home, 'sources.list'), `deb ${options}${archiveAddress()} ${release} main\n`);
  const architecture = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
  // The machine's way out (proxies, timeouts) stays; its hooks and preferences do not.
  const acquire = execFileSync('apt-config', ['dump'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.startsWith('Acquire'));
  const path = join(home, 'apt.conf');
  const lines = [
    ...acquire,
    'Acquire::Languages "none";',
    'Dir::Etc::main "/dev/null";',
    'Dir::Etc::parts "/dev/null";',
    'Dir::Etc::preferencesparts "/dev/null";',
    `Dir::Etc::sourcelist "${home}/sources.list";`,
    'Dir::Etc::sourceparts "/dev/null";',
    `Dir::State "${home}";`,
    `Dir::State::status "${home}/status";`,
    `Dir::Cache "${home}";`,
    `APT::Architecture "${architecture}";`,
    `APT::Architectures "${architecture}";`,
    'APT::Sandbox::User "root";',
    'Debug::NoLocking "1";',
  ];
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

function apt(configuration: string, args: readonly string[]): void {
  const environment = { ...process.env, APT_CONFIG: configuration, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  const result = spawnSync('apt-get', [...args], {
    env: environment,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (result.error) throw result.error;
  if (result.status !== 0 || /^W: Failed to fetch/m.test(result.stderr)) {
    throw new Error(`apt-get ${args[0]} failed: ${result.stderr.trim()}`);
  }
}

function unpack(tree: string, say: (line: string) => void, name: ToolName): void {
  const archives = join(tree, '.apt', 'archives');
  const packages = readdirSync(archives).filter((file) => file.endsWith('.deb'));
  say(`${name}: unpacking ${packages.length} packages`);
  for (const link of ['lib', 'lib64']) {
    mkdirSync(join(tree, 'usr', link), { recursive: true });
    if (!existsSync(join(tree, link))) symlinkSync(join('usr', link), join(tree, link));
  }
  for (const file of packages) {
    execFileSync('dpkg-deb', ['-x', join(archives, file), tree], { stdio: ['ignore', 'ignore', 'pipe'] });
    rmSync(join(archives, file));
  }
}

/** Writes `bin/` (what callers start) and `wrap/` (what the compiler starts: cc1, as, ld). */
function wrap(tree: string, name: ToolName): void {
  for (const [program, args] of Object.entries(tools[name].programs)) {
    writeWrapper(tree, 'bin', program, join('usr/bin', program), args);
  }
  if (name !== 'cross') return;
  const libexec = 'usr/libexec/gcc-cross/riscv64-linux-gnu';
  const version = readdirSync(join(tree, libexec))[0] ?? '';
  for (const part of ['cc1', 'collect2']) writeWrapper(tree, 'wrap', part, join(libexec, version, part), []);
  for (const part of ['as', 'ld']) writeWrapper(tree, 'wrap', part, join('usr/bin', `riscv64-linux-gnu-${part}`), []);
}

function writeWrapper(tree: string, folder: string, name: string, target: string, args: readonly string[]): void {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const loader = process.arch === 'arm64' ? 'ld-linux-aarch64.so.1' : 'ld-linux-x86-64.so.2';
  const quoted = args.map((argument) => ` "${argument}"`).join('');
  const path = join(tree, folder, name);
  mkdirSync(join(tree, folder), { recursive: true });
  const text = [
    '#!/bin/sh',
    'tree=$(cd "$(dirname "$0")/.." && pwd)',
    `libraries=$tree/usr/lib/${triplet}:$tree/usr/lib/${triplet}/pulseaudio`,
    // gdb's Python and the compiler's prefix are found relative to the program itself.
    'export PYTHONHOME="$tree/usr" GCC_EXEC_PREFIX="$tree/usr/lib/gcc-cross/"',
    `exec "$tree/usr/lib/${triplet}/${loader}" --library-path "$libraries" --argv0 "${name}" "$tree/${target}"${quoted} "$@"`,
    '',
  ].join('\n');
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

/** The versions of what is unpacked, for the head of a comparison's report. */
export function versions(name: ToolName): string {
  return Object.keys(tools[name].programs)
    .map(
      (program) =>
        `${program}: ${firstLine(spawnSync(programPath(program), ['--version'], { encoding: 'utf8' }).stdout ?? '')}`,
    )
    .join('\n');
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
