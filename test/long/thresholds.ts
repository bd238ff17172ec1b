/**
 * The system tests with nothing translated, and with everything translated when it is first reached:
 *
 *   node test/long/thresholds.ts [--translate off] [--hot-threshold 1] [--limit-minutes 30] [PATH...]
 *
 * Both ways, one after the other, unless one is named; all of test/system, or the files whose paths begin so, each by
 * itself. A file that fails is named with the end of what it printed; exit code 1 then. Tests in a browser are as they
 * always are: their machines' defaults are the page's.
 */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { testFiles } from '../../tools/files.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    translate: { type: 'string' },
    'hot-threshold': { type: 'string' },
    'limit-minutes': { type: 'string', default: '30' },
  },
});
const root = dirname(dirname(import.meta.dirname));
const files = testFiles(root, 'system').filter(
  (file) => positionals.length === 0 || positionals.some((path) => file.startsWith(path)),
);
const named = [values.translate, values['hot-threshold']].filter((way) => way !== undefined);

/** Runs a test file; gives its last lines if it failed. */
async function run(file: string, way: string): Promise<string | undefined> {
  const child = spawn(process.execPath, [join(root, 'tools/test.ts'), '--system', file], {
    cwd: root,
    env: {
      ...process.env,
      KAGEMUSHA_TEST_TRANSLATE: way,
      NODE_OPTIONS: `--import=${join(root, 'test/code-defaults.ts')}`,
    },
    timeout: Number(values['limit-minutes']) * 60_000,
  });
  let said = '';
  const hear = (bytes: Buffer): void => {
    said = (said + bytes.toString('utf8')).slice(-6000);
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return code === 0 ? undefined : said;
}

for (const way of named.length > 0 ? named : ['off', '1']) {
  const title = way === 'off' ? 'translation off' : `translated at ${way}`;
  for (const file of files) {
    const started = performance.now();
    const failure = await run(file, way);
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.log(`${title}: ${file}: ${failure === undefined ? 'passes' : 'fails'} (${seconds} s)`);
    if (failure === undefined) continue;
    console.error(failure);
    process.exitCode = 1;
  }
}
