/**
 * A JIT compiler of Debian's at work in the guest: LuaJIT, which is small. test/long/guest-jit.ts has PyPy, Node and
 * Java as well.
 */
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { requires } from '../capability.ts';
import { JIT_COMPILERS, runJit } from './guest-jit.testing.ts';

const compiler = must(JIT_COMPILERS.find(({ name }) => name === 'LuaJIT'));

test('LuaJIT compiles and computes in the guest, on two harts', requires('apt'), async () => {
  await runJit(compiler, { cpus: 2 });
});
