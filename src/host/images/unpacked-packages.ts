/**
 * The first stage of a Debian root disk, without root and without a foreign processor: the packages' files, owners
 * and modes as they stand in the packages, go into one tar archive, together with dpkg's database, in which every
 * package is "unpacked" (deb-control(5), dpkg(1): package states). What is left for the second stage, in the
 * guest, is to run the packages' own scripts: `dpkg --configure`. To unpack there would mean to decompress there.
 *
 * Deviation from debootstrap, which unpacks in the second stage too. `preinst` scripts run there, after unpacking.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { HostError } from '../../base/errors.ts';
import { type PackageFile, run, type WorkOptions } from '../debian/index.ts';
import { readTar, readTarData, type TarEntry, type TarWriter } from './tar.ts';

/** Top folders that are links into usr/ (Debian's merged /usr); a package may still name files through them. */
const merged = /^(bin|sbin|lib|lib32|lib64|libx32)(?=\/|$)/;

export interface AddOptions extends WorkOptions {
  /** A folder for passing files. */
  scratch: string;
  /** Packages that somebody asked for by name; apt will call the others automatically installed. */
  wanted: ReadonlySet<string>;
  /** The folders in the archive so far; added to. */
  folders: Set<string>;
}

/** Adds packages and dpkg's database to the archive; base-files first, for it brings the top folders. */
export async function addUnpacked(
  writer: TarWriter,
  packages: readonly PackageFile[],
  options: AddOptions,
): Promise<void> {
  const { folders } = options;
  const status: string[] = [];
  const ordered = [...packages].sort((a, b) => Number(b.name === 'base-files') - Number(a.name === 'base-files'));
  const database: { path: string; data: Buffer; mode: number }[] = [];
  for (const [index, file] of ordered.entries()) {
    options.progress?.({ step: 'unpacking packages', done: index, total: ordered.length });
    options.signal?.throwIfAborted();
    const control = await readControl(file, options);
    const conffiles = lines(control.get('conffiles')).map((line) => line.replace(/^remove-on-upgrade /, ''));
    const hashes = new Map<string, string>();
    const paths = await copyFiles(writer, file, folders, options, (path, data) => {
      if (conffiles.includes(`/${path}`)) hashes.set(`/${path}`, createHash('md5').update(data).digest('hex'));
    });
    const fields = (control.get('control')?.data.toString('utf8') ?? '').trimEnd();
    const conffileRows = [...hashes].map(([path, hash]) => ` ${path} ${hash}`);
    status.push(
      [fields.replace(/^Package: .*$/m, (line) => `${line}\nStatus: install ok unpacked`)]
        .concat(conffileRows.length > 0 ? ['Conffiles:', ...conffileRows] : [])
        .join('\n'),
    );
    const stem = /^Multi-Arch: same$/m.test(fields) ? `${file.name}:${file.architecture}` : file.name;
    database.push({ path: `info/${stem}.list`, data: Buffer.from(`${paths.join('\n')}\n`), mode: 0o644 });
    for (const [name, { data, mode }] of control) {
      if (name !== 'control') database.push({ path: `info/${stem}.${name}`, data, mode });
    }
  }
  database.push({ path: 'info/format', data: Buffer.from('1\n'), mode: 0o644 });
  database.push({ path: 'status', data: Buffer.from(`${status.join('\n\n')}\n`), mode: 0o644 });
  for (const path of ['available', 'diversions', 'statoverride'])
    database.push({ path, data: Buffer.alloc(0), mode: 0o644 });
  const add = (path: string, data: Buffer, mode: number): void => {
    addFolders(writer, folders, path);
    writer.add({ path, kind: 'file', mode, uid: 0, gid: 0, modifiedAt: 0, target: '' }, data);
  };
  for (const { path, data, mode } of database) add(`var/lib/dpkg/${path}`, data, mode);
  const automatic = packages.filter(({ name }) => !options.wanted.has(name));
  const states = automatic.map(({ name }) => `Package: ${name}\nArchitecture: riscv64\nAuto-Installed: 1\n`);
  add('var/lib/apt/extended_states', Buffer.from(states.join('\n')), 0o644);
}

/** The files of the package's control archive: control, conffiles, preinst, postinst, triggers, ... */
async function readControl(
  file: PackageFile,
  options: AddOptions,
): Promise<Map<string, { data: Buffer; mode: number }>> {
  const entries = new Map<string, { data: Buffer; mode: number }>();
  await withArchive('--ctrl-tarfile', file, options, (archive) => {
    for (const entry of readTar(archive)) {
      if (entry.kind === 'file') entries.set(entry.path, { data: readTarData(archive, entry), mode: entry.mode });
    }
  });
  if (!entries.has('control')) throw new HostError('bad-archive', `${file.name} has no control file`);
  return entries;
}

/** Copies the package's files; gives the paths as dpkg lists them (`/.` first). */
async function copyFiles(
  writer: TarWriter,
  file: PackageFile,
  folders: Set<string>,
  options: AddOptions,
  onFile: (path: string, data: Buffer) => void,
): Promise<string[]> {
  const paths: string[] = [];
  await withArchive('--fsys-tarfile', file, options, (archive) => {
    for (const entry of readTar(archive)) {
      paths.push(entry.path === '' ? '/.' : `/${entry.path}`);
      const isTopLink = entry.kind === 'link' && !entry.path.includes('/');
      const placed: TarEntry = isTopLink ? entry : { ...entry, path: entry.path.replace(merged, 'usr/$1') };
      if (placed.kind === 'hard-link') placed.target = placed.target.replace(/^\.\//, '').replace(merged, 'usr/$1');
      if (placed.kind === 'folder') {
        if (folders.has(placed.path)) continue;
        folders.add(placed.path);
      }
      addFolders(writer, folders, placed.path);
      writer.copy(archive, placed);
      if (placed.kind === 'file' && entry.path.startsWith('etc/')) onFile(entry.path, readTarData(archive, entry));
    }
  });
  return paths;
}

/** Folders above `path` that no package has brought so far. */
export function addFolders(writer: TarWriter, folders: Set<string>, path: string): void {
  const steps = path.split('/');
  for (let depth = 1; depth < steps.length; depth += 1) {
    const folder = steps.slice(0, depth).join('/');
    if (folders.has(folder)) continue;
    folders.add(folder);
    writer.add({ path: folder, kind: 'folder', mode: 0o755, uid: 0, gid: 0, modifiedAt: 0, target: '' });
  }
}

/** dpkg-deb decompresses into a file of ours. */
async function withArchive(
  option: '--ctrl-tarfile' | '--fsys-tarfile',
  file: PackageFile,
  options: AddOptions,
  body: (archive: number) => void,
): Promise<void> {
  const path = `${options.scratch}/archive.tar`;
  await run('sh', ['-c', `exec dpkg-deb ${option} "$1" > "$2"`, 'sh', file.path, path], { signal: options.signal });
  const archive = openSync(path, 'r');
  try {
    body(archive);
  } finally {
    closeSync(archive);
    await rm(path, { force: true });
  }
}

function lines(file: { data: Buffer } | undefined): string[] {
  return (file?.data.toString('utf8') ?? '').split('\n').filter((line) => line !== '');
}
