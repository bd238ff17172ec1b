import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';

const root = dirname(import.meta.dirname);
let clone = '';

/** A small repository with our tools and the files given in place of everything else. */
before(() => {
  clone = mkdtempSync(join(tmpdir(), 'kagemusha-scripts-'));
  for (const path of ['package.json', 'package-lock.json', '.npmrc', 'tools', 'src/host/debian']) {
    // Without the tests of what is copied: the clone has its own.
    cpSync(join(root, path), join(clone, path), { recursive: true, filter: (from) => !from.endsWith('.test.ts') });
  }
  const ofTests = ['allowed-skips', 'capability', 'kage-command', 'slow-files', 'thorough', 'toolbox'];
  for (const path of [...ofTests.map((name) => `test/${name}.ts`), 'src/base/errors.ts'])
    cpSync(join(root, path), join(clone, path));
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
  write('.gitignore', 'node_modules\n.tmp/\n');
  execFileSync('git', ['init', '--quiet'], { cwd: clone });
});

after(() => rmSync(clone, { recursive: true, force: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(clone, path)), { recursive: true });
  writeFileSync(join(clone, path), text);
}

function bootstrap(args: readonly string[], options: { input?: string; ci?: boolean; cwd?: string } = {}) {
  const { NODE_TEST_CONTEXT: _, CI: __, ...environment } = process.env;
  return spawnSync(process.execPath, [join(clone, 'tools/bootstrap.mjs'), ...args], {
    cwd: clone,
    input: options.input ?? '',
    encoding: 'utf8',
    env: { ...environment, ...(options.ci ? { CI: 'true' } : {}), INIT_CWD: options.cwd ?? clone },
  });
}

describe('npm start', () => {
  before(() =>
    write(
      'src/cli/kage.ts',
      `process.stdin.toArray().then((chunks) => {
         process.stdout.write(JSON.stringify([process.argv.slice(2), chunks.join(''), process.cwd()]));
         process.exit(7);
       });`,
    ),
  );

  const arguments_: readonly [given: string[], passed: string[]][] = [
    [[], ['run']],
    [
      ['--exec', 'uname -a'],
      ['run', '--exec', 'uname -a'],
    ],
    [
      ['-c', '4'],
      ['run', '-c', '4'],
    ],
    [
      ['ps', '--format', 'json'],
      ['ps', '--format', 'json'],
    ],
    [['--help'], ['--help']],
  ];
  for (const [given, passed] of arguments_) {
    test(`${JSON.stringify(given)} becomes kage ${passed.join(' ')}; input, output and exit code pass through`, () => {
      const result = bootstrap(['start', ...given], { input: 'one\ntwo' });
      assert.deepEqual(JSON.parse(result.stdout), [passed, 'one\ntwo', clone]);
      assert.equal(result.stderr, '');
      assert.equal(result.status, 7);
    });
  }

  test('paths on the command line mean the folder in which npm was started', () => {
    mkdirSync(join(clone, 'docs'), { recursive: true });
    const result = bootstrap(['start', '--kernel', './Image'], { cwd: join(clone, 'docs') });
    assert.equal(JSON.parse(result.stdout)[2], join(clone, 'docs'));
  });
});

describe('the Node that the scripts run on', () => {
  const modules = () => join(clone, 'node_modules');

  /** Our node_modules again, with a pinned Node that does not run. */
  before(() => {
    rmSync(modules());
    mkdirSync(join(modules(), 'node/bin'), { recursive: true });
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (name !== 'node') symlinkSync(join(root, 'node_modules', name), join(modules(), name));
    }
    write('node_modules/node/bin/node', '#!/bin/sh\necho "libatomic.so.1: cannot open" >&2\nexit 127\n');
    write('node_modules/node/installArchSpecificPackage.js', 'process.exit(1);\n');
    chmodSync(join(modules(), 'node/bin/node'), 0o755);
    write('src/cli/kage.ts', 'console.log(process.execPath);\n');
  });

  after(() => {
    rmSync(modules(), { recursive: true });
    symlinkSync(join(root, 'node_modules'), modules());
  });

  test("is the machine's own where the pinned one does not run", () => {
    const result = bootstrap(['start']);
    assert.equal(result.stdout, `${process.execPath}\n`);
    assert.match(result.stderr, /does not run here \(libatomic\.so\.1: cannot open\); going on with v\d+/);
    assert.equal(result.status, 0);
  });
});

describe('npm test', () => {
  const passing = "import { test } from 'node:test';\ntest('holds', () => {});\n";
  const skipping = `${passing}test('wants more', { ${'skip'}: 'needs gold: there is none' }, () => {});\n`;
  const failing = `${passing}test('fails', () => { throw new Error('no'); });\n`;
  const runner = ['tools/test.ts'];

  function withTest(text: string): void {
    write('src/base/one.test.ts', text);
  }

  test('prints the closing counts and exits 0 when all pass', () => {
    withTest(passing);
    const result = bootstrap(runner, { ci: true });
    assert.match(result.stdout, /tests 1\n[\s\S]*pass 1\n[\s\S]*fail 0\n/);
    assert.equal(result.status, 0);
  });

  test('exits 1 when one fails', () => {
    withTest(failing);
    const result = bootstrap(runner);
    assert.match(result.stdout, /pass 1\n[\s\S]*fail 1\n/);
    assert.equal(result.status, 1);
  });

  test('exits 1 when a file cannot be loaded', () => {
    withTest("import './not-there.ts';\n");
    assert.equal(bootstrap(runner).status, 1);
  });

  test('lists what was left out and why', () => {
    withTest(skipping);
    const result = bootstrap(runner);
    assert.match(result.stderr, /left out: 1\n +src\/base\/one\.test\.ts: wants more\n +needs gold: there is none\n/);
    assert.equal(result.status, 0);
  });

  test('in CI, what was left out fails the run', () => {
    withTest(skipping);
    const result = bootstrap(runner, { ci: true });
    assert.match(result.stderr, /1 left out without a row/);
    assert.equal(result.status, 1);
  });

  test('in CI, what was left out passes with a row that gives the reason', () => {
    withTest(skipping);
    const row = "{ reason: 'needs gold:', file: 'src/base/', why: 'gold is dear' }";
    write('test/allowed-skips.ts', `export const allowedSkips = [${row}];\n`);
    const result = bootstrap(runner, { ci: true });
    assert.match(result.stderr, /listed: gold is dear/);
    assert.equal(result.status, 0);
  });

  test('test/system is for --system', () => {
    withTest(passing);
    write('test/system/boot.test.ts', passing.replace('holds', 'boots'));
    assert.doesNotMatch(bootstrap(runner).stdout, /boots/);
    const result = bootstrap([...runner, '--system']);
    assert.match(result.stdout, /boots/);
    assert.doesNotMatch(result.stdout, /holds/);
  });

  test('--accept tells golden tests to write what they find', () => {
    withTest(
      "import assert from 'node:assert';\nimport { test } from 'node:test';\n" +
        "test('accepts', () => assert.equal(process.env.ACCEPT, '1'));\n",
    );
    assert.equal(bootstrap([...runner, '--accept']).status, 0);
    assert.equal(bootstrap(runner).status, 1);
  });

  test('a path that holds no test is an error', () => {
    assert.equal(bootstrap([...runner, 'src/nowhere']).status, 1);
  });
});
