import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readRepository } from '../tools/repository.ts';
import { type TidyFile, tidyProblems, tidyRules } from '../tools/tidy.ts';

const opening = '/** A file for the tests of the house rules, which says what it is. */\n';

function file(path: string, text: string): TidyFile {
  return { path, text, sizeBytes: text.length };
}

/** What the rule called `name` says of `files`. */
function saysOf(name: string, ...files: TidyFile[]): string[] {
  const rule = tidyRules.find((one) => one.name === name);
  assert.ok(rule, name);
  return rule.check(files);
}

// Put together here, so that this file does not break the rules that it tests.
const mark = (...parts: string[]) => parts.join('');

/** A rule, a file that breaks it, and one that does not. */
const cases: readonly [rule: string, bad: TidyFile, good: TidyFile][] = [
  ['opening comment', file('src/isa/a.ts', 'export {};\n'), file('src/isa/a.ts', `// hot\n${opening}export {};\n`)],
  [
    'length',
    file('src/isa/a.ts', opening + '\n'.repeat(500)),
    file(
      'src/isa/a.ts',
      `/**\n * The table of everything there is.\n *\n * Long: it is a table.\n */\n${'\n'.repeat(500)}`,
    ),
  ],
  ['no switched-off tests', file('a.test.ts', mark('test.', "skip('x')")), file('a.test.ts', "test('skip', f)")],
  ['no switched-off tests', file('a.test.ts', mark("test('x', { sk", 'ip: true }, f)')), file('a.ts', '')],
  ['no open ends', file('src/a.ts', mark('// TO', 'DO later')), file('src/a.ts', '// done')],
  ['no suppressed types', file('src/a.ts', mark('// @ts-', 'ignore')), file('src/a.ts', '// @ts-expect-error: proof')],
  [
    'no package registry',
    file('a.md', mark('from registry.', 'npmjs.org')),
    file('a.md', 'from the registry of [Debian](https://www.debian.org)'),
  ],
  ['no path of a machine', file('a.md', mark('in /ro', 'ot/x')), file('a.md', 'in ./work/x and ~/root/x')],
  ['size', { path: 'a.bin', text: '', sizeBytes: 1048577 }, { path: 'a.bin', text: '', sizeBytes: 1048576 }],
  ['links', file('docs/a.md', 'see [b](b.md)'), file('docs/a.md', '# One, two\nsee [it](#one-two)')],
  ['links', file('docs/a.md', 'see [b](#nothing)'), file('docs/a.md', '[x](https://example.org/a)')],
  ['doors', file('src/isa/a.ts', opening), file('src/isa/index.ts', opening)],
];

describe('a house rule tells bad from good', () => {
  for (const [rule, bad, good] of cases) {
    test(`${rule}: ${JSON.stringify(bad.text.slice(0, 40))}`, () => {
      assert.equal(saysOf(rule, bad).length, 1);
      assert.deepEqual(saysOf(rule, good), []);
    });
  }

  test('reasons of dependencies: a package wants its row', () => {
    const manifest = file('package.json', '{ "devDependencies": { "one": "1", "two": "2" } }');
    const table = file('docs/DEPENDENCIES.md', '\n| `one` | for the tests |\n');
    assert.match(saysOf('reasons of dependencies', manifest, table).join(), /^package\.json: two has no row[^,]*$/);
  });

  test('drawing: a stale one is told', () => {
    const fresh = readRepository().filter((one) => one.path === 'docs/ARCHITECTURE.md');
    const stale = fresh.map((one) => ({ ...one, text: one.text.replace('machine [core]', 'machine') }));
    assert.deepEqual(saysOf('drawing', ...fresh), []);
    assert.equal(saysOf('drawing', ...stale).length, 1);
  });

  test('core configuration: a core room that tsconfig.core.json forgets is told', () => {
    assert.equal(saysOf('core configuration', file('tsconfig.core.json', '{ "include": ["src/base"] }')).length, 1);
  });

  test('every rule is proved here', () => {
    const proved = new Set(cases.map(([rule]) => rule));
    const apart = ['reasons of dependencies', 'drawing', 'core configuration'];
    assert.deepEqual(
      tidyRules.map((rule) => rule.name).filter((name) => !proved.has(name) && !apart.includes(name)),
      [],
    );
  });
});

test('the repository keeps the house rules', () => {
  assert.deepEqual(tidyProblems(readRepository()), []);
});
