/**
 * The house rules that neither the type checker nor the formatter holds, as data: each rule has a name, a reason and
 * a check over the repository's files. test/tidy.test.ts proves every rule on a bad example and holds the
 * repository to all of them. Left to biome: `any`, unused names, import types, file names.
 */
import { dirname, join, posix } from 'node:path';
import { coreFolders, drawingFile, withDrawing } from './drawing.ts';
import { openRooms, rooms } from './layers.ts';

export interface TidyFile {
  /** Path from the repository's root. */
  readonly path: string;
  /** Text, or '' for binary files. */
  readonly text: string;
  readonly sizeBytes: number;
}

export interface TidyRule {
  readonly name: string;
  readonly why: string;
  /** Sentences, each starting with `path:` or `path:line:`. */
  check(files: readonly TidyFile[]): string[];
}

const longestFileLines = 500;
const largestFileBytes = 1 << 20;

export const tidyRules: readonly TidyRule[] = [
  {
    name: 'opening comment',
    why: 'a reader learns what a file models and what it leaves out before the first line of code',
    check: (files) =>
      files
        .filter((file) => isCode(file.path) && !file.path.endsWith('.test.ts') && openingComment(file.text).length < 40)
        .map((file) => `${file.path}:1: opens without a comment that says what it is`),
  },
  {
    name: 'length',
    why: 'a file holds one noun; a long one says why in its opening comment: `Long: reason`',
    check: (files) =>
      files
        .filter((file) => isCode(file.path) && lineCount(file.text) > longestFileLines)
        .filter((file) => !/^[\s*/]*Long: \S/m.test(openingComment(file.text)))
        .map((file) => `${file.path}: ${lineCount(file.text)} lines, more than ${longestFileLines} without a reason`),
  },
  {
    name: 'no switched-off tests',
    why: 'what a machine lacks is said by requires() in test/capability.ts, and nothing else leaves a test out',
    check: lines(
      /\b(?:test|it|describe|suite)\.(?:only|skip|todo)\b|\bt\.(?:skip|todo)\(|\{\s*(?:skip|todo|only):\s*(?:true|['"`])/,
      'switches a test off',
      (path) => path.endsWith('.test.ts') && path !== 'test/tidy.test.ts',
    ),
  },
  {
    name: 'no open ends',
    why: 'work that is left belongs to an issue',
    check: lines(/\b(?:TO[D]O|FIX[M]E)\b/, 'leaves an open end', (path) => path !== 'test/tidy.test.ts'),
  },
  {
    name: 'no suppressed types',
    why: 'the types hold without exception',
    check: lines(
      /@ts-(?:ignore|nocheck)|biome-ignore lint\/suspicious\/noExplicitAny/,
      'silences the type checker',
      isCode,
    ),
  },
  {
    name: 'no package registry',
    why: "addresses of archives come from the user's own configuration",
    check: lines(
      /(?:deb|security|snapshot|ftp\.\w+)\.debian\.org|registry\.(?:npmjs|yarnpkg)\.(?:org|com)|deb\.nodesource\.com|proxy\.golang\.org|static\.crates\.io/,
      'names a package registry',
      () => true,
    ),
  },
  {
    name: 'no path of a machine',
    why: 'the repository works wherever it lies',
    // Files under guest/ run inside the guest, where /root and /home are its own.
    check: lines(
      /(?:^|[^\w.~-])\/(?:work|root|home)\//,
      'names a path of somebody’s machine',
      (path) => !path.startsWith('guest/'),
    ),
  },
  {
    name: 'size',
    why: 'what is large is downloaded or generated, never kept',
    check: (files) =>
      files
        .filter((file) => file.sizeBytes > largestFileBytes)
        .map((file) => `${file.path}: ${file.sizeBytes} bytes, more than ${largestFileBytes}`),
  },
  {
    name: 'reasons of dependencies',
    why: 'every package is a cost that somebody accepted for a reason',
    check: (files) => {
      const manifest = JSON.parse(textOf(files, 'package.json') || '{}') as Record<string, Record<string, string>>;
      const table = textOf(files, 'docs/DEPENDENCIES.md');
      const kinds = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'];
      return kinds
        .flatMap((kind) => Object.keys(manifest[kind] ?? {}))
        .filter((name) => !table.includes(`\n| \`${name}\` |`))
        .map((name) => `package.json: ${name} has no row in docs/DEPENDENCIES.md`);
    },
  },
  {
    name: 'links',
    why: 'a document that points nowhere is worse than none',
    check: (files) => files.filter((file) => file.path.endsWith('.md')).flatMap((file) => brokenLinks(file, files)),
  },
  {
    name: 'drawing',
    why: "the drawing of the rooms follows from the linter's data",
    check: (files) => {
      const document = textOf(files, drawingFile);
      const stale = document !== '' && withDrawing(document) !== document;
      return stale ? [`${drawingFile}: the drawing is out of date; \`npm run format\` renews it`] : [];
    },
  },
  {
    name: 'core configuration',
    why: 'tsconfig.core.json proves that the core needs neither Node nor the DOM: it must name every core room',
    check: (files) => {
      const config = JSON.parse(textOf(files, 'tsconfig.core.json') || '{}') as { include?: string[] };
      const wanted = coreFolders().join(', ');
      const present = (config.include ?? []).join(', ');
      return wanted === present ? [] : [`tsconfig.core.json: include names ${present}, the layers ${wanted}`];
    },
  },
  {
    name: 'doors',
    why: 'a room is entered by its index.ts',
    check: (files) =>
      rooms
        .filter((room) => !openRooms.includes(room.name))
        .filter((room) => files.some((file) => file.path.startsWith(`src/${room.name}/`)))
        .filter((room) => !files.some((file) => file.path === `src/${room.name}/index.ts`))
        .filter((room) => room.name !== 'cli')
        .map((room) => `src/${room.name}/: has no index.ts`),
  },
];

/** What every rule says of `files`, each sentence followed by the rule's name. */
export function tidyProblems(files: readonly TidyFile[]): string[] {
  return tidyRules.flatMap((rule) => rule.check(files).map((problem) => `${problem} (${rule.name}: ${rule.why})`));
}

function lines(pattern: RegExp, says: string, applies: (path: string) => boolean): TidyRule['check'] {
  return (files) =>
    files
      .filter((file) => applies(file.path) && file.path !== 'package-lock.json')
      .flatMap((file) =>
        file.text.split('\n').flatMap((line, i) => (pattern.test(line) ? [`${file.path}:${i + 1}: ${says}`] : [])),
      );
}

function isCode(path: string): boolean {
  return /^(?:src|test|tools|bench)\/.*\.(?:ts|mjs)$/.test(path);
}

function lineCount(text: string): number {
  return text.split('\n').length - 1;
}

/** The comment at the head of a file, after a `#!` line and marks such as `// hot`; '' when code comes first. */
function openingComment(text: string): string {
  const match = /^(?:#!.*\n)?(?:\/\/ (?:hot|biome-ignore).*\n+)*(\/\*[\s\S]*?\*\/|(?:\/\/.*\n)+)/.exec(text);
  return match?.[1] ?? '';
}

function textOf(files: readonly TidyFile[], path: string): string {
  return files.find((file) => file.path === path)?.text ?? '';
}

function brokenLinks(file: TidyFile, files: readonly TidyFile[]): string[] {
  const prose = file.text.replace(/```[\s\S]*?```/g, (block) => block.replace(/[^\n]/g, ' '));
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap((match) => {
    const link = match[1] ?? '';
    if (/^[a-z]+:/.test(link)) return [];
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? file.path : posix.normalize(join(dirname(file.path), path)).replace(/\/$/, '');
    const at = `${file.path}:${prose.slice(0, match.index).split('\n').length}`;
    const found = files.find((other) => other.path === target);
    if (!found && !files.some((other) => other.path.startsWith(`${target}/`))) return [`${at}: ${link} leads nowhere`];
    return anchor && found && !anchorsOf(found.text).has(anchor) ? [`${at}: ${link} names no heading`] : [];
  });
}

/** Anchors as forges make them: lower case, punctuation dropped, blanks to hyphens. */
function anchorsOf(document: string): Set<string> {
  const headings = [...document.matchAll(/^#+ +(.+)$/gm)].map((match) => match[1] ?? '');
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}
