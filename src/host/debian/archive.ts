/**
 * A door to Debian's archive: the ordinary apt client with a configuration of its own. Lists, cache, package
 * status and locks live in a private root in the user's cache folder, so nothing on the host changes, no root is
 * needed, and any architecture and suite can be asked for. The mirror comes from the machine's own apt sources,
 * proxies and the like from its own apt configuration; signatures are always checked.
 *
 * A mirror may carry one suite's index only in part (a cache between two point releases). Then the same release
 * is asked for by its other name (`stable`), and the signed code name is checked to be the one wanted.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, realpath, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import { cacheFolder } from './cache-folder.ts';
import { run, tryRun } from './command.ts';
import { withLock } from './lock.ts';
import type { WorkOptions } from './progress.ts';
import { type AptSource, type DebianMirror, debianKeyring, findDebianMirror } from './sources.ts';

/** The Debian release that guests are made from. */
export const defaultSuite = 'trixie';

export interface ArchiveRequest {
  /** A code name: `trixie`. */
  suite: string;
  /** A Debian architecture: `riscv64`, `amd64`. */
  architecture: string;
}

/** An opened archive: apt's commands run as `apt-get -c configuration ...`. */
export interface Archive extends ArchiveRequest {
  configuration: string;
  /** Held by whoever renews the package lists; hold it while reading them, lest they change meanwhile. */
  lock: string;
  /** The release as signed: `13.7`. */
  release: string;
}

/** How long package lists are good for; a file that has gone from the mirror makes them renewed at once. */
const listsMaxAgeMs = 6 * 3600 * 1000;
const fixWithoutArchive = 'give a kernel and an initramfs of your own with --kernel and --initrd';

export interface OpenOptions extends WorkOptions {
  /** Fetch the package lists even if they are fresh. */
  renew?: boolean;
  /** Overrides what is found in the machine's apt sources (tests; the search for a newer keyring). */
  mirror?: DebianMirror;
}

/** Opens the archive, fetching its package lists if they are missing or old. */
export async function openArchive(request: ArchiveRequest, options: OpenOptions = {}): Promise<Archive> {
  requireApt();
  const mirror = options.mirror ?? findDebianMirror();
  if (!mirror) {
    throw new OperatorError(
      'no-debian-mirror',
      "this machine's apt sources name no Debian mirror",
      `set KAGEMUSHA_DEBIAN_MIRROR to a mirror's address, or ${fixWithoutArchive}`,
    );
  }
  const folder = cacheFolder('apt', `${request.suite}-${request.architecture}`);
  await mkdir(join(folder, 'sources'), { recursive: true });
  const root = await realpath(folder);
  if (/["\n]/.test(root)) {
    throw new OperatorError(
      'bad-cache-folder',
      `the cache folder's name holds a quotation mark: ${root}`,
      'set XDG_CACHE_HOME to another folder',
    );
  }
  const lock = join(root, 'lock');
  return await withLock(lock, options, async () => {
    const configuration = await writeConfiguration(root, request.architecture);
    const updated = join(root, 'updated');
    const age = existsSync(updated) ? Date.now() - (await stat(updated)).mtimeMs : Infinity;
    if (options.renew || age > listsMaxAgeMs || age < 0) {
      await updateFromAny(root, configuration, request, mirror, options);
      await writeFile(updated, '');
      await utimes(updated, new Date(), new Date());
    }
    return { ...request, configuration, lock, release: await signedRelease(configuration, request.suite) };
  });
}

/** Throws OperatorError `apt-missing` where apt or dpkg-deb is not installed. */
export function requireApt(programs = '/usr/bin'): void {
  for (const tool of ['apt-get', 'apt-cache', 'dpkg-deb'].map((name) => join(programs, name))) {
    if (!existsSync(tool)) {
      throw new OperatorError(
        'apt-missing',
        `${tool} is not on this machine, so Debian packages cannot be fetched`,
        `use a Debian machine, or ${fixWithoutArchive}`,
      );
    }
  }
}

/** A private configuration on top of the machine's own, whose hooks are taken out: they would touch the host. */
async function writeConfiguration(root: string, architecture: string): Promise<string> {
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'preferences']) {
    await mkdir(join(root, folder), { recursive: true });
  }
  if (!existsSync(join(root, 'status'))) await writeFile(join(root, 'status'), '');
  const hooks = [
    'APT::Update::Pre-Invoke',
    'APT::Update::Post-Invoke',
    'APT::Update::Post-Invoke-Success',
    'DPkg::Pre-Invoke',
    'DPkg::Post-Invoke',
    'DPkg::Pre-Install-Pkgs',
  ];
  const settings: Record<string, string> = {
    'APT::Architecture': architecture,
    'APT::Architectures::': architecture,
    'APT::Default-Release': '',
    'APT::Install-Recommends': 'false',
    'APT::Sandbox::User': 'root', // no change of user: the private root is ours alone
    'APT::Get::AllowUnauthenticated': 'false',
    'Acquire::AllowInsecureRepositories': 'false',
    'Acquire::AllowWeakRepositories': 'false',
    'Acquire::AllowDowngradeToInsecureRepositories': 'false',
    'Acquire::Languages': 'none',
    'Dir::State': join(root, 'state'),
    'Dir::State::status': join(root, 'status'),
    'Dir::Cache': join(root, 'cache'),
    // Container images turn these off to be small; here each command would parse all lists anew (3 s).
    'Dir::Cache::pkgcache': 'pkgcache.bin',
    'Dir::Cache::srcpkgcache': 'srcpkgcache.bin',
    'Acquire::GzipIndexes': 'false',
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': join(root, 'sources'),
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': join(root, 'preferences'),
  };
  const path = join(root, 'apt.conf');
  const lines = [...hooks, 'APT::Architectures'].map((name) => `#clear ${name};`);
  for (const [name, value] of Object.entries(settings)) lines.push(`${name} "${value}";`);
  await writeIfOther(path, `${lines.join('\n')}\n`);
  return path;
}

/** In one step, and only if need be: another process may be reading it. */
async function writeIfOther(path: string, text: string): Promise<void> {
  if (existsSync(path) && (await readFile(path, 'utf8')) === text) return;
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

/** Tries the ways to name the release until one gives whole lists whose signed code name is the suite. */
async function updateFromAny(
  root: string,
  configuration: string,
  request: ArchiveRequest,
  mirror: DebianMirror,
  options: OpenOptions,
): Promise<void> {
  const attempts: AptSource[][] = [[{ ...mirror.main, suites: [request.suite] }]];
  if (mirror.security) {
    attempts.unshift([
      { ...mirror.main, suites: [request.suite] },
      { ...mirror.security, suites: [`${request.suite}-security`] },
    ]);
  }
  for (const alias of ['stable', 'oldstable', 'testing']) attempts.push([{ ...mirror.main, suites: [alias] }]);
  let firstFailure = '';
  for (const sources of attempts) {
    await writeFile(join(root, 'sources', 'debian.sources'), sources.map(formatSource).join('\n'));
    options.progress?.({
      step: `reading Debian ${request.suite}'s package lists (${request.architecture})`,
      done: 0,
      total: 0,
    });
    const { exitCode, stderr } = await tryRun('apt-get', ['-c', configuration, '-q', 'update'], {
      signal: options.signal,
    });
    if (exitCode === 0 && (await signedRelease(configuration, request.suite)) !== '') return;
    firstFailure ||= stderr;
    if (/NO_PUBKEY|EXPKEYSIG/.test(stderr)) throw untrusted(stderr);
    if (exitCode !== 0 && !/unexpected size|Hash Sum mismatch|404 |does not have a Release file/.test(stderr)) break;
  }
  throw new OperatorError(
    'archive-unreachable',
    `Debian's archive gave no package lists for ${request.suite} ${request.architecture}: ${lastErrors(firstFailure)}`,
    `try later, check the network and the machine's apt sources, or ${fixWithoutArchive}`,
  );
}

function untrusted(stderr: string): OperatorError {
  return new OperatorError(
    'archive-untrusted',
    `Debian's archive is signed with a key that this machine does not know: ${lastErrors(stderr)}`,
    `upgrade the package debian-archive-keyring, or ${fixWithoutArchive}`,
  );
}

function lastErrors(stderr: string): string {
  const errors = stderr.split('\n').filter((line) => /^[EW]: /.test(line));
  return (
    errors
      .slice(0, 2)
      .map((line) => line.slice(3))
      .join('; ') ||
    stderr.trim().split('\n').at(-1) ||
    'no reason given'
  );
}

/** One paragraph of a deb822 sources file. */
function formatSource(source: AptSource): string {
  const signedBy = source.signedBy ?? (existsSync(debianKeyring) ? debianKeyring : undefined);
  return [
    'Types: deb',
    `URIs: ${source.uri}`,
    `Suites: ${source.suites.join(' ')}`,
    'Components: main',
    ...(signedBy ? [`Signed-By: ${signedBy}`] : []),
    '',
  ].join('\n');
}

/** The release's version if the lists at hand are signed with code name `suite`; else ''. */
async function signedRelease(configuration: string, suite: string): Promise<string> {
  const { stdout } = await run('apt-get', [
    '-c',
    configuration,
    'indextargets',
    '--format',
    '$(CODENAME) $(VERSION) $(TRUSTED)',
    'Created-By: Packages',
  ]);
  const rows = stdout
    .toString('utf8')
    .trim()
    .split('\n')
    .map((row) => row.split(' '));
  const row = rows.find(([codename]) => codename === suite);
  const foreign = rows.some(([codename]) => codename !== suite && codename !== `${suite}-security`);
  return row?.[2] === 'yes' && !foreign ? row[1] || suite : '';
}
