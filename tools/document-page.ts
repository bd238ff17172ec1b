/**
 * A document of docs/ as a page for the console: the part of Markdown that our documents use (headings, paragraphs, lists,
 * tables, code, bold, italics). Links to other documents are text: those pages are not there.
 */
export function documentPage(markdown: string): string {
  const blocks = markdown.replace(/<!--[\s\S]*?-->/g, '').split(/\n(?=```)|(?<=\n```)\n|\n{2,}/);
  const title = /^# (.*)$/m.exec(markdown)?.[1] ?? 'Document';
  const body = joinFences(blocks).map(block).join('\n');
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8" /><meta name="viewport" content="width=device-width, initial-scale=1" />
<title>${escaped(title)}</title><link rel="icon" href="../seal.svg" /><link rel="stylesheet" href="../console.css" /></head>
<body class="document">
${body}
</body>
</html>
`;
}

/** Code may hold empty lines. */
function joinFences(blocks: readonly string[]): string[] {
  const joined: string[] = [];
  for (const one of blocks) {
    const last = joined.at(-1);
    const isOpen = last?.startsWith('```') === true && !/\n```\s*$/.test(last);
    if (isOpen) joined[joined.length - 1] = `${last}\n\n${one}`;
    else if (one.trim() !== '') joined.push(one.replace(/^\n+/, ''));
  }
  return joined;
}

function block(text: string): string {
  const [, marks = '', heading] = /^(#{1,4}) (.*)$/.exec(text.trim()) ?? [];
  if (heading !== undefined) return `<h${marks.length}>${inline(heading)}</h${marks.length}>`;
  if (text.startsWith('```')) return `<pre>${escaped(text.replace(/^```.*\n/, '').replace(/\n?```\s*$/, ''))}</pre>`;
  if (text.startsWith('|')) return tableOf(text.trim().split('\n'));
  const items = text.split(/\n(?=- )/);
  const lead = items[0]?.startsWith('- ') ? '' : `<p>${inline(items.shift() ?? '')}</p>`;
  return (
    lead + (items.length === 0 ? '' : `<ul>${items.map((item) => `<li>${inline(item.slice(2))}</li>`).join('')}</ul>`)
  );
}

function tableOf([head = '', , ...rows]: readonly string[]): string {
  const cells = (row: string, tag: string): string =>
    row
      .replace(/^\||\|$/g, '')
      .split(/(?<!\\)\|/)
      .map((cell) => `<${tag}>${inline(cell.replaceAll('\\|', '|').trim())}</${tag}>`)
      .join('');
  const body = rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('');
  return `<div class="scroll"><table><thead><tr>${cells(head, 'th')}</tr></thead><tbody>${body}</tbody></table></div>`;
}

function inline(text: string): string {
  return text
    .split(/(`[^`]+`)/)
    .map((part) =>
      part.startsWith('`') && part.length > 1
        ? `<code>${escaped(part.slice(1, -1))}</code>`
        : escaped(part.replace(/\[([^\]]+)\]\([^)]*\)/g, '$1'))
            .replace(/\*\*([^*]+)\*\*/g, '<strong>$1</strong>')
            .replace(/(?<!\w)[*]([^*]+)[*]/g, '<em>$1</em>'),
    )
    .join('');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
