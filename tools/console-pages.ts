/**
 * The console's files, as the daemon serves them: src/console joined to one script (xterm.js, loaded when a terminal is
 * opened, to a second), its page, style sheets and mark, and the documents of the mechanisms as pages.
 */
import { cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { documentPage } from './document-page.ts';
import { root } from './repository.ts';

/** Fills `folder`. */
export async function writeConsolePages(folder: string): Promise<void> {
  const source = join(root, 'src/console');
  mkdirSync(join(folder, 'docs'), { recursive: true });
  await build({
    entryPoints: { console: join(source, 'index.ts') },
    ...{
      outdir: folder,
      chunkNames: '[name]-[hash]',
      bundle: true,
      splitting: true,
      minify: true,
      legalComments: 'none',
    },
    ...{ format: 'esm', platform: 'browser', target: 'es2022', logLevel: 'warning', absWorkingDir: root },
  });
  for (const name of ['index.html', 'console.css']) cpSync(join(source, name), join(folder, name));
  cpSync(join(root, 'src/browser/demo/seal.svg'), join(folder, 'seal.svg'));
  const terminal = join(root, 'node_modules/@xterm/xterm');
  cpSync(join(terminal, 'css/xterm.css'), join(folder, 'xterm.css'));
  cpSync(join(terminal, 'LICENSE'), join(folder, 'xterm.LICENSE'));
  for (const path of globSync('docs/mechanisms/*.md', { cwd: root })) {
    const page = documentPage(readFileSync(join(root, path), 'utf8'));
    writeFileSync(join(folder, 'docs', basename(path).replace(/\.md$/, '.html')), page);
  }
}
