/**
 * Fetching packages out of an opened archive and unpacking them. apt checks signatures and hashes; each file's
 * SHA-256 is checked once more against the signed lists when it is taken from our own store, and recorded.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError, OperatorError } from '../../base/errors.ts';
import { type Archive, type ArchiveRequest, openArchive } from './archive.ts';
import { cacheFolder } from './cache-folder.ts';
import { run, tryRun } from './command.ts';
import { withLock } from './lock.ts';
import type { WorkOptions } from './progress.ts';
import { paragraphs } from './sources.ts';

export interface PackageRequest extends ArchiveRequest {
  packages: readonly string[];
  /** Everything that the packages depend on as well (not what they only recommend). */
  withDependencies?: boolean;
}

export interface PackageFile {
  name: string;
  version: string;
  /** The package's own: `all` or the one asked for. */
  architecture: string;
  sizeBytes: number;
  /** Lower-case hex, as the signed package lists state it. */
  sha256: string;
  /** Its `Depends`, unparsed: what a metapackage stands for. */
  depends: string;
  /** The .deb file in the cache folder; not to be changed. */
  path: string;
}

export interface FetchedPackages {
  /** The release's version as signed: `13.7`. */
  release: string;
  files: PackageFile[];
}

/**
 * Fetches packages, or finds them in the store from an earlier time. Throws OperatorError: `apt-missing`,
 * `no-debian-mirror`, `archive-unreachable`, `archive-untrusted`, `package-not-found`.
 */
export async function fetchPackages(request: PackageRequest, options: WorkOptions = {}): Promise<FetchedPackages> {
  const archive = await openArchive(request, options);
  try {
    return await withLock(archive.lock, options, async () => await fetchFrom(archive, request, options));
  } catch (error) {
    options.signal?.throwIfAborted();
    // The lists name a version that the mirror has replaced since.
    if (!(error instanceof HostError && /404 |unexpected size|Hash Sum mismatch/.test(error.message))) throw error;
    const renewed = await openArchive(request, { ...options, renew: true });
    return await withLock(renewed.lock, options, async () => await fetchFrom(renewed, request, options));
  }
}

async function fetchFrom(archive: Archive, request: PackageRequest, options: WorkOptions): Promise<FetchedPackages> {
  const names = request.withDependencies ? await resolve(archive, request.packages, options) : [...request.packages];
  const files = await describe(archive, names, options);
  const missing: PackageFile[] = [];
  for (const file of files) {
    if (!existsSync(file.path) || (await sha256OfFile(file.path)) !== file.sha256) missing.push(file);
  }
  if (missing.length > 0) await download(archive, missing, options);
  return { release: archive.release, files };
}

/** The packages and all that they depend on, as `name=version`: apt's own solver over an empty system. */
async function resolve(archive: Archive, packages: readonly string[], options: WorkOptions): Promise<string[]> {
  const args = ['-c', archive.configuration, '-q', '-s', 'install', '--', ...packages];
  const { exitCode, stdout, stderr } = await tryRun('apt-get', args, { signal: options.signal });
  if (exitCode !== 0) throw notFound(archive, packages, stderr);
  const names = [...stdout.toString('utf8').matchAll(/^Inst (\S+) \((\S+) /gm)].map(
    (match) => `${match[1]}=${match[2]}`,
  );
  if (names.length === 0) throw notFound(archive, packages, stderr);
  return names;
}

/** Reads the packages' records from the signed lists; the candidate version unless `name=version` is given. */
async function describe(archive: Archive, names: readonly string[], options: WorkOptions): Promise<PackageFile[]> {
  const args = ['-c', archive.configuration, 'show', '--no-all-versions', '--', ...names];
  const { exitCode, stdout, stderr } = await tryRun('apt-cache', args, { signal: options.signal });
  if (exitCode !== 0) throw notFound(archive, names, stderr);
  const files = new Map<string, PackageFile>();
  for (const fields of paragraphs(stdout.toString('utf8'))) {
    const field = (name: string): string => {
      const value = fields.get(name);
      if (value === undefined) throw new HostError('bad-package-record', `a package record lacks ${name}`);
      return value;
    };
    const [name, version, architecture] = [field('package'), field('version'), field('architecture')];
    if (files.has(name)) continue; // the same version offered by two sources
    // apt's own naming: the epoch's colon would be a problem on some file systems.
    const path = join(cacheFolder('packages'), `${name}_${version.replaceAll(':', '%3a')}_${architecture}.deb`);
    files.set(name, {
      name,
      version,
      architecture,
      path,
      sizeBytes: Number(field('size')),
      sha256: field('sha256'),
      depends: fields.get('depends') ?? '',
    });
  }
  const lacking = names.find((name) => !files.has(name.split('=')[0] ?? ''));
  if (lacking !== undefined) throw notFound(archive, [lacking], '');
  return [...files.values()];
}

function notFound(archive: Archive, packages: readonly string[], stderr: string): OperatorError {
  const reason = /^E: (.*)$/m.exec(stderr)?.[1];
  return new OperatorError(
    'package-not-found',
    `Debian ${archive.suite} (${archive.architecture}) cannot give ${packages.slice(0, 5).join(', ')}${reason ? `: ${reason}` : ''}`,
    "check the packages' names",
  );
}

/** Lets apt fetch the files into a folder of their own, then moves each into the store. */
async function download(archive: Archive, files: readonly PackageFile[], options: WorkOptions): Promise<void> {
  const store = cacheFolder('packages');
  await mkdir(store, { recursive: true });
  await withLock(join(store, 'lock'), options, async () => {
    for (const name of await readdir(store)) {
      if (name.startsWith('tmp-')) await rm(join(store, name), { recursive: true });
    }
    const temporary = join(store, `tmp-${randomUUID()}`);
    await mkdir(temporary);
    try {
      const total = files.reduce((sum, file) => sum + file.sizeBytes, 0);
      const step = files.length === 1 ? `fetching ${files[0]?.name}` : `fetching ${files.length} packages`;
      const wanted = files.map((file) => `${file.name}=${file.version}`);
      options.progress?.({ step, done: 0, total });
      await run('apt-get', ['-c', archive.configuration, '-q', '-o', 'APT::Status-Fd=3', 'download', '--', ...wanted], {
        cwd: temporary,
        signal: options.signal,
        onStatusLine: (line) => {
          const percent = /^dlstatus:[^:]*:([0-9.]+):/.exec(line)?.[1];
          if (percent)
            options.progress?.({ step, done: Math.min(total, Math.round((total * Number(percent)) / 100)), total });
        },
      });
      for (const file of files) await moveIntoStore(temporary, file);
      options.progress?.({ step, done: total, total });
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  });
}

async function moveIntoStore(temporary: string, file: PackageFile): Promise<void> {
  const prefix = `${file.name}_`;
  const name = (await readdir(temporary)).find((entry) => entry.startsWith(prefix) && entry.endsWith('.deb'));
  const fetched = name === undefined ? undefined : join(temporary, name);
  if (fetched === undefined || (await sha256OfFile(fetched)) !== file.sha256) {
    throw new HostError(
      'bad-package-file',
      `apt fetched ${file.name} ${file.version}, but not as the signed lists describe it: Hash Sum mismatch`,
    );
  }
  await rename(fetched, file.path);
}

/** SHA-256 of a file's contents, lower-case hex. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Unpacks a package's files into a folder; owners become the user when the user is not root. */
export async function unpack(deb: string, into: string, options: WorkOptions = {}): Promise<void> {
  await mkdir(into, { recursive: true });
  await run('dpkg-deb', ['-x', deb, into], { signal: options.signal });
}
