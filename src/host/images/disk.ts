/**
 * `kage images build`: a full Debian root disk with packages of the user's choice. The first stage runs on the host
 * without root: packages' files and dpkg's database as a tar archive (unpacked-packages.ts), from which mke2fs
 * makes an ext4 image. The second stage, the packages' own scripts, runs in our own guest: this file hands a plan
 * to whoever can boot one, and reads from the disk whether it went well.
 */
import { closeSync, openSync } from 'node:fs';
import { copyFile, link, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError, OperatorError } from '../../base/errors.ts';
import { installedAgent, installedUnit } from '../agent/index.ts';
import {
  defaultSuite,
  type FetchedPackages,
  fetchFileSystemTools,
  fetchPackages,
  findDebianMirror,
  publishFolder,
  run,
  type WorkOptions,
} from '../debian/index.ts';
import { cpioFiles } from './cpio.ts';
import { makeFileSystem } from './file-system.ts';
import { guestFile } from './initramfs.ts';
import { pullDebianImage } from './pull.ts';
import { isPulled } from './pulled.ts';
import { findImage, type GuestImage, type ImageManifest, imageFolder, manifestFile } from './store.ts';
import { TarWriter } from './tar.ts';
import { addFolders, addUnpacked } from './unpacked-packages.ts';

/** What a machine needs to know to run a disk's second stage. */
export interface BootPlan {
  kernel: string;
  initrd: string;
  /** A raw image, to be written to directly. */
  disk: string;
  commandLine: string;
}

export interface BuildOptions extends WorkOptions {
  /** The image's name; an image of that name is replaced. */
  name: string;
  /** On top of the base system (see basePackages). */
  packages?: readonly string[];
  /** Of the disk; at least 1 GiB. The file is sparse. */
  sizeBytes?: number;
  /** The guest's host name; default: the image's name. */
  hostname?: string;
  /** Boots the plan in a machine until the guest powers off; gives the machine's exit code. */
  boot: (plan: BootPlan) => Promise<number>;
}

/** A system with systemd, network and apt: what a login and an installation of more need. */
export const basePackages: readonly string[] = [
  ...[
    '?essential',
    'apt',
    'systemd-sysv',
    'udev',
    'dbus',
    'systemd-resolved',
    'libpam-systemd',
    'login',
    'passwd',
    'kmod',
    'procps',
  ],
  ...['iproute2', 'iputils-ping', 'netbase', 'e2fsprogs', 'less'],
];

const defaultSizeBytes = 4 * 1024 ** 3;
const leastSizeBytes = 1024 ** 3;
const home = 'var/lib/kagemusha';
const diskFile = 'disk.raw';

/** Builds the image and gives it. Throws what fetchPackages throws, `bad-disk`, and `second-stage-failed`. */
export async function buildDebianDisk(options: BuildOptions): Promise<GuestImage> {
  const folder = imageFolder(options.name);
  const sizeBytes = options.sizeBytes ?? defaultSizeBytes;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < leastSizeBytes || sizeBytes % 4096 !== 0) {
    throw new OperatorError(
      'bad-disk',
      `a Debian disk cannot have ${sizeBytes} bytes`,
      'give at least 1 GiB, in whole MiB',
    );
  }
  const hostname = options.hostname ?? options.name.replaceAll(/[^a-z0-9-]/g, '-');
  if (!/^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/.test(hostname)) {
    throw new OperatorError('bad-hostname', `${hostname} is no host name`, 'use letters, digits and dashes');
  }
  if (isPulled(options.name)) {
    throw new OperatorError(
      'bad-image-name',
      `the name ${options.name} belongs to the image that is pulled`,
      'choose another name',
    );
  }
  const platform = await pullDebianImage(options);
  await publishFolder(folder, { ...options, refresh: true }, async (temporary) => {
    const disk = join(temporary, diskFile);
    const packages = await writeDisk(disk, { ...options, sizeBytes, hostname, platform }, temporary);
    for (const [file, from] of [
      ['kernel', platform.kernel],
      ['initrd.cpio', platform.initrd],
    ] as const) {
      await link(from, join(temporary, file)).catch(async () => await copyFile(from, join(temporary, file)));
    }
    options.progress?.({ step: 'second stage, in the guest', done: 0, total: 0 });
    await runSecondStage({ ...plan(temporary), commandLine: secondStageCommandLine }, options);
    const manifest: ImageManifest = {
      ...platform.manifest,
      name: options.name,
      release: packages.release,
      packages: [
        ...platform.manifest.packages,
        ...packages.files.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
      ],
      kernel: { ...platform.manifest.kernel, file: 'kernel' },
      initrd: { ...platform.manifest.initrd, file: 'initrd.cpio' },
      disk: { file: diskFile, sizeBytes, hostname },
      commandLine: diskCommandLine,
    };
    await writeFile(join(temporary, manifestFile), `${JSON.stringify(manifest, undefined, 2)}\n`);
  });
  const image = await findImage(options.name);
  if (!image) throw new HostError('image-broken', `the image in ${folder} vanished while it was made`);
  return image;
}

/** systemd is the first process; its getty comes up on the console that the kernel was given. */
const diskCommandLine = 'console=ttyS0 quiet root=/dev/vda rw';
const secondStageCommandLine = `${diskCommandLine} init=/${home}/second-stage kage.agent=off panic=-1`;

function plan(folder: string): Omit<BootPlan, 'commandLine'> {
  return { kernel: join(folder, 'kernel'), initrd: join(folder, 'initrd.cpio'), disk: join(folder, diskFile) };
}

/** The first stage. */
async function writeDisk(
  disk: string,
  options: BuildOptions & { sizeBytes: number; hostname: string; platform: GuestImage },
  folder: string,
): Promise<FetchedPackages> {
  const wanted = [...basePackages, ...(options.packages ?? [])];
  const request = { suite: defaultSuite, architecture: 'riscv64', packages: wanted, withDependencies: true };
  const packages = await fetchPackages(request, options);
  const scratch = await mkdtemp(join(folder, 'scratch-'));
  try {
    const archive = join(scratch, 'disk.tar');
    const file = openSync(archive, 'w');
    try {
      const writer = new TarWriter(file);
      const folders = new Set<string>();
      await addUnpacked(writer, packages.files, { ...options, scratch, wanted: new Set(wanted), folders });
      await addSettings(writer, folders, packages, options);
      writer.end();
    } finally {
      closeSync(file);
    }
    options.progress?.({ step: 'making the file system', done: 0, total: 0 });
    await makeFileSystem(disk, archive, { ...options, label: 'root' });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return packages;
}

/** What makes the packages this system: names, mounts, network, archive, agent, and the second stage itself. */
async function addSettings(
  writer: TarWriter,
  folders: Set<string>,
  packages: FetchedPackages,
  { hostname, platform }: { hostname: string; platform: GuestImage },
): Promise<void> {
  const add = (path: string, content: string | Uint8Array, mode = 0o644): void => {
    addFolders(writer, folders, path);
    const data = typeof content === 'string' ? Buffer.from(content) : content;
    writer.add({ path, kind: 'file', mode, uid: 0, gid: 0, modifiedAt: 0, target: '' }, data);
  };
  add('etc/hostname', `${hostname}\n`);
  add('etc/hosts', `127.0.0.1 localhost\n127.0.1.1 ${hostname}\n::1 localhost ip6-localhost ip6-loopback\n`);
  add('etc/fstab', '/dev/vda / ext4 errors=remount-ro 0 1\n');
  add('etc/systemd/network/20-wired.network', '[Match]\nType=ether\n\n[Network]\nDHCP=yes\n');
  const uri = findDebianMirror()?.main.uri ?? '';
  if (/^https?:/.test(uri)) {
    const lines = ['Types: deb', `URIs: ${uri}`, `Suites: ${defaultSuite}`, 'Components: main'];
    lines.push('Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg', '');
    add('etc/apt/sources.list.d/debian.sources', lines.join('\n'));
  }
  add('etc/systemd/system/kagemusha-agent.service', await installedUnit());
  add(installedAgent.slice(1), await guestFile('agent/agent'), 0o755);
  add(`${home}/second-stage`, await guestFile('init/second-stage'), 0o755);
  add(`${home}/packages`, packages.files.map(({ name, architecture }) => `${name} ${architecture}\n`).join(''));
  // The modules that the initramfs has; all of Debian's come with the package linux-image-riscv64.
  const kernel = platform.manifest.kernel.version;
  const modules = `lib/modules/${kernel}/`;
  if (!folders.has(`usr/${modules}kernel`)) {
    for (const [path, data] of cpioFiles(await readFile(platform.initrd))) {
      if (path.startsWith(`${modules}kernel/`)) add(`usr/${path}`, data);
    }
  }
  const commands = [
    `depmod ${kernel}`,
    'passwd -d root', // whoever has the console has the machine
    'systemctl enable systemd-networkd.service systemd-resolved.service kagemusha-agent.service',
    'ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf',
  ];
  add(`${home}/commands`, `${commands.join('\n')}\n`);
}

async function runSecondStage(bootPlan: BootPlan, options: BuildOptions): Promise<void> {
  const exitCode = await options.boot(bootPlan);
  options.signal?.throwIfAborted();
  if ((await readFromDisk(bootPlan.disk, `/${home}/second-stage.done`, options)).trim() === 'done') return;
  const log = (await readFromDisk(bootPlan.disk, '/var/log/kagemusha-second-stage.log', options))
    .trim()
    .split('\n')
    .slice(-6);
  throw new HostError(
    'second-stage-failed',
    `the second stage did not end well in the guest (the machine's exit code: ${exitCode}): ${log.join('; ')}`,
  );
}

/** A file's contents out of an ext4 image that nobody has mounted; '' if it is not there. */
async function readFromDisk(disk: string, path: string, options: WorkOptions): Promise<string> {
  const [debugfs = '', ...words] = (await fetchFileSystemTools(options)).debugfs;
  const { stdout } = await run(debugfs, [...words, '-R', `cat ${path}`, disk], { signal: options.signal });
  return stdout.toString('utf8');
}
