/**
 * The reference machine and QEMU on random programs of hypervisors and guests. CASES=100000 runs that many; SEED=n begins
 * there. Where QEMU 10 does
 * otherwise is a list (cases/qemu-differences.testing.ts), or what random programs leave out (cases/guest-program.testing.ts), with
 * reasons.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { programPath } from '../../../test/toolbox.ts';
import { must } from '../../base/assert.ts';
import { type GuestProgram, guestProgram } from './cases/guest-program.testing.ts';
import { comparable } from './cases/qemu-differences.testing.ts';
import { runGuestsInQemu } from './cases/qemu-guests.testing.ts';
import { type GuestOutcome, referenceGuests } from './cases/reference-guests.testing.ts';

const COUNT = Number(process.env['CASES']) || 1024;

test('the reference machine and QEMU agree on hypervisors and guests', {
  ...requires('qemu'),
  timeout: 3_600_000,
}, async (t) => {
  const first = Number(process.env['SEED']) || (Date.now() & 0xfff_ffff) + 1;
  t.diagnostic(`seeds from ${first}`);
  const run = referenceGuests();
  const pairs: [GuestProgram, GuestOutcome][] = [];
  for (let seed = first; seed < first + COUNT; seed++) {
    const program = guestProgram(seed);
    const outcome = run(program);
    if (outcome) pairs.push([program, outcome]);
  }
  assert.ok(pairs.length > COUNT / 2, 'most programs come back to M-mode');
  const outcomes = await runGuestsInQemu(
    programPath('qemu-system-riscv64'),
    pairs.map(([program]) => program),
  );
  for (const [i, [program, expected]] of pairs.entries()) {
    const [theirs, ours] = comparable(must(outcomes[i]), expected);
    assert.deepEqual(theirs, ours, program.name);
  }
});
