/** The examples of docs/library.md that stand for themselves run as they are written, and say what they should. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { requires } from '../capability.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-library-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The first program under a heading, its import of the package led to these sources. */
function example(heading: string): string {
  const page = readFileSync(new URL('../../docs/library.md', import.meta.url), 'utf8');
  const program = /^```ts\n(.*?)^```/ms.exec(page.slice(page.indexOf(`\n## ${heading}\n`)))?.[1] ?? '';
  const door = new URL('../../src/index.ts', import.meta.url).href;
  assert.match(program, /from 'kagemusha';/);
  return program.replace("from 'kagemusha'", `from '${door}'`);
}

test('snapshots: whole, and as an increment, each restored', { ...requires('apt') }, () => {
  const path = join(folder, 'snapshots.ts');
  writeFileSync(path, example('Snapshots'));
  const { status, stdout, stderr } = spawnSync(process.execPath, [path], {
    ...{ cwd: folder, encoding: 'utf8', timeout: 120_000 },
    env: { ...process.env, XDG_RUNTIME_DIR: folder },
  });
  assert.equal(status, 0, stderr);
  assert.equal(stdout, '512 MiB\none\none and two\n', stderr);
});
