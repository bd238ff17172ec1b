/** The instruction table, the aliases and the extensions as tables of docs/isa.md, which a test keeps up to date. */
import { ALIASES } from './aliases.ts';
import { EXTENSIONS } from './extensions.ts';
import { COMPRESSED_ROWS, ROWS } from './table.ts';

/** Every row by extension, in the table's order. */
export function rowsAsMarkdown(): string {
  const extensions = [...new Set(ROWS.map(({ extension }) => extension))];
  return extensions
    .map((extension) => {
      const rows = ROWS.filter((row) => row.extension === extension);
      const lines = rows.map(
        ({ assembly, pattern, summary }) => `| ${code(assembly)} | ${code(pattern)} | ${summary} |`,
      );
      return [
        `### ${titled(extension)}`,
        '',
        '| assembly | bits, from 31 down | what it does |',
        '|---|---|---|',
        ...lines,
      ].join('\n');
    })
    .join('\n\n');
}

export function compressedAsMarkdown(): string {
  const lines = COMPRESSED_ROWS.map(
    ({ assembly, pattern, expansion, extension, except }) =>
      `| ${code(assembly)} | ${code(pattern)} | ${code(expansion)} | ${titled(extension)} | ${(except ?? []).map(code).join(', ')} |`,
  );
  const head = ['| assembly | bits, from 15 down | short for | extension | reserved where |', '|---|---|---|---|---|'];
  return [...head, ...lines].join('\n');
}

export function aliasesAsMarkdown(): string {
  const lines = ALIASES.map(([alias, instruction]) => `| ${code(alias)} | ${code(instruction)} |`);
  return ['| alias | instruction |', '|---|---|', ...lines].join('\n');
}

export function extensionsAsMarkdown(): string {
  const lines = EXTENSIONS.map(
    ({ name, summary, needs, parts }) =>
      `| ${code(name)} | ${summary} | ${needs.map(code).join(', ')} | ${parts.map(code).join(', ')} |`,
  );
  return ['| name | what it is | needs | consists of |', '|---|---|---|---|', ...lines].join('\n');
}

/** A vertical bar would end the table's cell. */
function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}

function titled(extension: string): string {
  const names = extension
    .split('+')
    .map((name) => (name.length === 1 ? name.toUpperCase() : `${name.charAt(0).toUpperCase()}${name.slice(1)}`));
  return names.join(' and ');
}
