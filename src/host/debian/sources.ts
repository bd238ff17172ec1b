/**
 * Finds Debian's archive in the machine's own apt sources (sources.list(5)): the address of a mirror and the key
 * file that vouches for it. Nothing but the address and `Signed-By` is taken over; options that weaken checks
 * (`trusted=yes`) are left behind. Reads both formats: one-line `.list` and deb822 `.sources`.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface AptSource {
  uri: string;
  suites: readonly string[];
  components: readonly string[];
  /** As in sources.list: a key file's path, or an armoured key block over several lines. */
  signedBy?: string;
}

export interface DebianMirror {
  main: AptSource;
  /** The security archive, if the machine uses it. */
  security?: AptSource;
}

/** Debian's usual key file; a mirror's own `Signed-By` goes before it. */
export const debianKeyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

const codenames = new Set(
  'stable oldstable oldoldstable testing unstable sid buster bullseye bookworm trixie forky duke'.split(' '),
);

/**
 * The machine's Debian mirror, or undefined if its sources name none (another distribution). The environment
 * variable KAGEMUSHA_DEBIAN_MIRROR goes before them.
 */
export function findDebianMirror(etcApt = '/etc/apt'): DebianMirror | undefined {
  const override = process.env.KAGEMUSHA_DEBIAN_MIRROR;
  if (override) {
    return { main: { uri: override, suites: [], components: ['main'], signedBy: debianKeyring } };
  }
  const sources = readAptSources(etcApt).filter((source) => source.components.includes('main'));
  const main = sources.find((source) => source.suites.some((suite) => codenames.has(suite)));
  if (!main) return undefined;
  const security = sources.find((source) => source.suites.some(isSecuritySuite));
  return security ? { main, security } : { main };
}

/** `trixie-security`, or `buster/updates` as it was called before. */
function isSecuritySuite(suite: string): boolean {
  const [name = '', kind = ''] = suite.split(/[-/]/);
  return codenames.has(name) && (suite === `${name}-security` || (kind === 'updates' && suite.includes('/')));
}

/** Every enabled binary source of the machine, in apt's order. */
export function readAptSources(etcApt = '/etc/apt'): AptSource[] {
  const files = [join(etcApt, 'sources.list')];
  const parts = join(etcApt, 'sources.list.d');
  if (existsSync(parts)) {
    for (const name of readdirSync(parts).sort()) files.push(join(parts, name));
  }
  return files.flatMap((file) => {
    if (!existsSync(file)) return [];
    if (file.endsWith('.list')) return parseOneLine(readFileSync(file, 'utf8'));
    if (file.endsWith('.sources')) return parseDeb822(readFileSync(file, 'utf8'));
    return [];
  });
}

/** `deb [signed-by=/path arch=amd64] URI suite component...` */
export function parseOneLine(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)/.exec(line);
    if (!match) return [];
    const [, options = '', uri = '', suite = '', rest = ''] = match;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1]?.split(',')[0];
    return [{ uri, suites: [suite], components: words(rest), ...(signedBy ? { signedBy } : {}) }];
  });
}

/** Paragraphs of `Field: value`; continuation lines start with a blank; a lone dot stands for an empty line. */
export function parseDeb822(text: string): AptSource[] {
  return paragraphs(text).flatMap((fields) => {
    if (!words(fields.get('types') ?? '').includes('deb') || /^(no|false|0)$/i.test(fields.get('enabled') ?? 'yes'))
      return [];
    const signedBy = fields.get('signed-by');
    return words(fields.get('uris') ?? '').map((uri) => ({
      uri,
      suites: words(fields.get('suites') ?? ''),
      components: words(fields.get('components') ?? ''),
      ...(signedBy ? { signedBy } : {}),
    }));
  });
}

/** Splits deb822 text (also apt-cache's and dpkg's output) into paragraphs of lower-case field names and values. */
export function paragraphs(text: string): Map<string, string>[] {
  const all: Map<string, string>[] = [];
  let fields = new Map<string, string>();
  let name = '';
  for (const line of [...text.split('\n'), '']) {
    if (line.startsWith('#')) continue;
    if (line.trim() === '') {
      if (fields.size > 0) all.push(fields);
      fields = new Map();
    } else if (/^\s/.test(line)) {
      fields.set(name, `${fields.get(name) ?? ''}\n${line}`);
    } else {
      const colon = line.indexOf(':');
      name = line.slice(0, colon).toLowerCase();
      fields.set(name, line.slice(colon + 1).trim());
    }
  }
  return all;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}
