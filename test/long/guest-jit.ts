/**
 * JIT compilers at work in the guest, under our translator:
 *
 *   node test/long/guest-jit.ts [--cpus 2] [--translate off] [--hot-threshold N] [NAME...]
 *
 * Boots Debian's kernel once for each compiler (LuaJIT, PyPy, Node, Java, or those named), with its packages on a disk;
 * each runs the program of test/system/guest-jit.testing.ts. Prints how long it took; exit code 1 if a result is wrong,
 * or if a compiler compiled nothing. Some minutes, and 300 MB of packages the first time.
 */
import { parseArgs } from 'node:util';
import { JIT_COMPILERS, runJit } from '../system/guest-jit.testing.ts';

const LIMIT_MS = 15 * 60_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cpus: { type: 'string', default: '2' },
    translate: { type: 'string', default: 'on' },
    'hot-threshold': { type: 'string' },
  },
});
const wanted = positionals.map((name) => name.toLowerCase());
const chosen = JIT_COMPILERS.filter(({ name }) => wanted.length === 0 || wanted.includes(name.toLowerCase()));
if (chosen.length === 0) throw new Error(`choose among ${JIT_COMPILERS.map(({ name }) => name).join(', ')}`);
for (const compiler of chosen) {
  try {
    const { compiled, seconds } = await runJit(compiler, {
      limitMs: LIMIT_MS,
      cpus: Number(values.cpus),
      translate: values.translate !== 'off',
      ...(values['hot-threshold'] === undefined ? {} : { hotThreshold: Number(values['hot-threshold']) }),
    });
    console.log(`${compiler.name}: right; compiled ${compiled}; ${seconds.toFixed(1)} s`);
  } catch (error) {
    console.error(`${compiler.name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
