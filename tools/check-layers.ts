/**
 * The linter of the layers in tools/layers.ts. It reads every import, export-from, dynamic import and
 * `new URL('./x.ts', import.meta.url)` of src/ and reports those that cross a room's border without right, pass
 * by a room's door, leave src/, reach for Node from the core or from the web's room, or name a package that the room's row does not grant
 * (the core has no dependency).
 *
 * Tests and fakes (`*.test.ts`, `*.testing.ts`) keep the same directions, but may use Node and open other rooms'
 * fakes. It works on source text, not on a syntax tree: docs/DEPENDENCIES.md says why.
 */
import { posix } from 'node:path';
import { libraryImports, openRooms, type Room, rooms } from './layers.ts';

export interface SourceFile {
  /** Path from the repository's root, such as `src/isa/index.ts`. */
  readonly path: string;
  readonly text: string;
}

/** One sentence for each import that breaks a rule, each starting with `path:line`. */
export function layerProblems(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    importsOf(file.text).flatMap(({ specifier, line }) => {
      const problem = problemWith(file.path, specifier);
      return problem === undefined ? [] : [`${file.path}:${line}: ${problem}`];
    }),
  );
}

/** Every module specifier in `text` with its line (from 1); those in comments are not counted. */
export function importsOf(text: string): { specifier: string; line: number }[] {
  // Comments become blanks of the same shape, so that offsets still tell lines.
  const code = text.replace(/^\s*\/\*[\s\S]*?\*\/|(?:^|\s)\/\/.*$/gm, (comment) => comment.replace(/[^\n]/g, ' '));
  const forms = [
    /^(?:import|export)\b[^;'"`]*?\bfrom\s*(['"])(.+?)\1/gm,
    /^import\s*(['"])(.+?)\1/gm,
    /\bimport\(\s*(['"])(.+?)\1/g,
    /\bnew URL\(\s*(['"])(.+?)\1\s*,\s*import\.meta\.url/g,
  ];
  return forms
    .flatMap((form) => [...code.matchAll(form)])
    .sort((a, b) => a.index - b.index)
    .map((match) => ({ specifier: match[2] ?? '', line: code.slice(0, match.index).split('\n').length }));
}

function problemWith(path: string, specifier: string): string | undefined {
  const isTest = /\.(test|testing)\.ts$/.test(path);
  const from = roomOf(path);
  if (path !== 'src/index.ts' && from === undefined) return 'lies in no room (tools/layers.ts)';
  if (!specifier.startsWith('.')) return problemWithPackage(specifier, from, isTest);

  const target = posix.normalize(posix.join(posix.dirname(path), specifier));
  // Files for the inside of guests are read, not imported.
  if (target.startsWith('guest/') && from?.core !== true) return undefined;
  if (!/\.[a-z]+$/.test(specifier)) return `'${specifier}' needs its ending`;
  if (/\.(test|testing)\.ts$/.test(target) && !isTest) return `'${specifier}' is only for tests`;
  if (!target.startsWith('src/')) {
    return isTest && target.startsWith('test/') ? undefined : `'${specifier}' leaves src/`;
  }
  const to = roomOf(target);
  if (to === undefined) return `'${specifier}' lies in no room`;
  if (from === to) return undefined;
  const allowed = from === undefined ? libraryImports : from.imports;
  if (!allowed.includes(to.name)) return `${from?.name ?? 'the library'} may not import ${to.name} ('${specifier}')`;
  const isDoor =
    openRooms.includes(to.name) ||
    ['index.ts', to.early, to.late].some((door) => door !== undefined && target === `src/${to.name}/${door}`);
  if (!isDoor && !(isTest && target.endsWith('.testing.ts'))) {
    return `'${specifier}' passes by the door src/${to.name}/index.ts`;
  }
  return undefined;
}

function problemWithPackage(specifier: string, from: Room | undefined, isTest: boolean): string | undefined {
  if (!specifier.startsWith('node:')) {
    if (from?.packages?.includes(specifier)) return undefined;
    return `'${specifier}' is a package, which the layers do not grant here`;
  }
  if (isTest || from === undefined) return undefined;
  const kind = from.core ? 'core' : from.web ? 'web' : undefined;
  return kind === undefined ? undefined : `the ${kind} room ${from.name} may not import '${specifier}'`;
}

function roomOf(path: string): Room | undefined {
  return rooms.find((room) => path.startsWith(`src/${room.name}/`));
}
