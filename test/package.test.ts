import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';

const root = dirname(import.meta.dirname);
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-package-'));
const installed = join(folder, 'app/node_modules/kagemusha');

/** Packs the package and installs it, without network and with an empty cache, into an empty folder. */
before(() => {
  npm(root, 'pack', '--pack-destination', folder);
  const [archive] = globSync('kagemusha-*.tgz', { cwd: folder });
  assert.ok(archive);
  mkdirSync(join(folder, 'app'));
  writeFileSync(join(folder, 'app/package.json'), '{ "private": true, "type": "module" }\n');
  npm(join(folder, 'app'), 'install', '--offline', join(folder, archive));
});

after(() => rmSync(folder, { recursive: true, force: true }));

function npm(cwd: string, ...args: string[]): void {
  execFileSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd,
    env: environment(),
    stdio: 'pipe',
  });
}

/** Ours, without what an npm above this process says, and with the pinned Node in front. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_TEST_CONTEXT$/i.test(name));
  const path = `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
  return { ...Object.fromEntries(own), PATH: path, npm_config_cache: join(folder, 'cache') };
}

describe('the published package', () => {
  test('brings nothing but itself', () => {
    const packages = readdirSync(join(folder, 'app/node_modules')).filter((name) => !name.startsWith('.'));
    assert.deepEqual(packages, ['kagemusha']);
    assert.deepEqual(
      globSync('**/*.ts', { cwd: installed }).filter((path) => !path.endsWith('.d.ts')),
      [],
    );
    assert.deepEqual(globSync('**/*.{test,testing}.*', { cwd: installed }), []);
  });

  test('npx kage --help shows the verbs', () => {
    const result = spawnSync('npx', ['--no-install', 'kage', '--help'], {
      cwd: join(folder, 'app'),
      env: environment(),
      encoding: 'utf8',
    });
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stdout, /\brun\b[\s\S]*\bexec\b/);
  });

  test('every file that the code names beside itself (workers, guest files) is there', () => {
    const missing = globSync('dist/**/*.js', { cwd: installed }).flatMap((path) => {
      const code = readFileSync(join(installed, path), 'utf8');
      const named = [...code.matchAll(/new URL\(\s*['"](\.[^'"]+)['"]\s*,\s*import\.meta\.url/g)];
      return named
        .map(([, relative = '']) => join(dirname(path), relative))
        .filter((target) => globSync(target, { cwd: installed }).length === 0)
        .map((target) => `${path} names ${target}`);
    });
    assert.deepEqual(missing, []);
  });

  test('the demo page and the console find what they name', () => {
    const pages = globSync('dist/{browser,console}/**/*.html', { cwd: installed });
    for (const path of ['dist/browser/demo/index.html', 'dist/console/index.html'])
      assert.ok(pages.includes(path), path);
    for (const path of pages) {
      const named = [...readFileSync(join(installed, path), 'utf8').matchAll(/"(\.[^"\s]+)"/g)];
      assert.ok(named.length >= (path.includes('/docs/') ? 2 : 4));
      for (const [, relative = ''] of named) {
        assert.equal(globSync(join(dirname(path), relative), { cwd: installed }).length, 1, relative);
      }
    }
  });

  test('the library for pages has declarations that satisfy a strict program', () => {
    const program =
      "import { BrowserMachine } from 'kagemusha/browser';\nawait BrowserMachine.start({ kernel: 'k' });\n";
    writeFileSync(join(folder, 'app/page.ts'), program);
    const options = [
      '--strict',
      '--noEmit',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--lib',
      'es2024,dom,esnext.disposable',
    ];
    const result = spawnSync(join(root, 'node_modules/.bin/tsc'), [...options, '--types', '', 'page.ts'], {
      cwd: join(folder, 'app'),
      encoding: 'utf8',
    });
    assert.equal(result.stdout, '');
    assert.equal(result.status, 0);
  });

  test('the library loads, and its declarations satisfy a strict program', () => {
    const program = "import * as kagemusha from 'kagemusha';\nconsole.log(Object.keys(kagemusha).length > 0);\n";
    writeFileSync(join(folder, 'app/program.ts'), program);
    const app = { cwd: join(folder, 'app'), encoding: 'utf8' } as const;
    assert.equal(execFileSync(process.execPath, ['program.ts'], app), 'true\n');
    const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2024', '--types', 'node'];
    const types = ['--typeRoots', join(root, 'node_modules/@types')];
    const result = spawnSync(join(root, 'node_modules/.bin/tsc'), [...options, ...types, 'program.ts'], app);
    assert.equal(result.stdout, '');
    assert.equal(result.status, 0);
  });
});
