/**
 * The interrupt relay for as long as one likes: millions of interrupts of functions that share a line and a message, on
 * threads of the host, counted exactly; then programs for all interleavings that are too long for the tests.
 *
 *   node test/long/interrupt-relay.ts [--minutes 2] [--threads 3] [--interleavings yes|no]
 *
 * Ends with status 1 at the first interrupt that is lost or doubled.
 */
import { parseArgs } from 'node:util';
import { RelayModel } from '../../src/machine/interrupts/relay-model.testing.ts';
import { type StressOptions, stress } from '../../src/machine/interrupts/relay-threads.testing.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    threads: { type: 'string', default: '3' },
    interleavings: { type: 'string', default: 'yes' },
  },
});
const end = Date.now() + Number(values.minutes) * 60_000;
const threads = Number(values.threads);
const kinds: readonly StressOptions[] = [
  { relay: true, threads, interrupts: 1_000_000 },
  { relay: true, threads, interrupts: 500_000, throttle: { most: 5, windowTicks: 500 } },
  { relay: false, threads, interrupts: 200_000 },
];
let total = 0;
for (let round = 0; round === 0 || Date.now() < end; round++) {
  for (const options of kinds) {
    const result = await stress(options);
    total += result.sent;
    const isRight =
      result.lost === 0 &&
      result.done === result.sent &&
      result.delivered + result.merged === result.sent &&
      result.wrongLines === 0 &&
      (result.polls === 0) === options.relay;
    console.log(`${options.relay ? 'relay' : 'plain wire'}: ${JSON.stringify(result)}`);
    if (!isRight) {
      console.log('an interrupt is lost or doubled');
      process.exit(1);
    }
  }
}
console.log(`${total} interrupts, none lost, none doubled`);

if (values.interleavings === 'yes') {
  const functions = [0, 1, 2].map((requester) => ({ requester, partition: requester >> 1, data: 7 }));
  const pins = [0, 1, 2].map((requester) => ({ requester, partition: requester >> 1, source: 3 }));
  for (const relay of [true, false]) {
    const three = new RelayModel({ relay, functions });
    const levels = new RelayModel({ relay, functions: pins });
    const throttled = new RelayModel({ relay, functions, throttle: { most: 1, windowTicks: 100 } });
    const pin = new RelayModel({ relay, functions: pins.slice(0, 1), throttle: { most: 1, windowTicks: 100 } });
    const programs = {
      'three functions send and serve': () =>
        three.explore(
          [0, 1, 2].map((requester) => three.messages(requester)),
          {},
        ),
      'two functions whose pins go up and down, and serve': () =>
        levels.explore([levels.levels(0, 'assert', 'deassert'), levels.levels(1, 'assert', 'deassert', 'assert')]),
      'one function is throttled, another is not': () =>
        throttled.explore([throttled.messages(0, 2), throttled.messages(2), throttled.alarm(2, 100)]),
      'a pin goes on while its window ends': () =>
        pin.explore([pin.levels(0, 'assert', 'deassert', 'assert', 'deassert', 'assert'), pin.alarm(2, 100)]),
      'a function that is held back changes hands': () =>
        pin.explore(
          [
            pin.levels(0, 'assert', 'deassert', 'assert'),
            pin.program('manager', () => {
              pin.service.unassign(0);
              pin.assign({ requester: 0, partition: 1, source: 3 });
            }),
            pin.alarm(2, 100),
          ],
          { isMoved: true },
        ),
    };
    for (const [name, explore] of Object.entries(programs)) {
      const { states, ends, failure } = explore();
      console.log(`${relay ? 'relay' : 'plain wire'}: ${name}: ${states} states, ${ends} ends`);
      if (failure) {
        console.log([failure.what, ...failure.steps].join('\n'));
        process.exit(1);
      }
    }
  }
}
