/**
 * All interleavings of small programs through relay, port and interrupt service: the production code, step by step
 * (relay-model.testing.ts). And that the model sees what it is to see: with two steps in the other order each of these
 * programs' invariants breaks somewhere.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../base/assert.ts';
import type { Fault } from './relay-faults.testing.ts';
import { type ModelOptions, RelayModel } from './relay-model.testing.ts';

const LINE = 3;

/** Two functions of a partition, and one of another, which share a message. */
const sharedMessage = [
  { requester: 0, partition: 0, data: 7 },
  { requester: 1, partition: 0, data: 7 },
  { requester: 2, partition: 1, data: 7 },
] as const;

const sharedLine = [
  { requester: 0, partition: 0, source: LINE },
  { requester: 1, partition: 0, source: LINE },
  { requester: 2, partition: 1, source: LINE },
] as const;

interface Case {
  readonly name: string;
  readonly options: Omit<ModelOptions, 'relay'>;
  run(model: RelayModel): ReturnType<RelayModel['explore']>;
}

const cases: readonly Case[] = [
  {
    name: 'two functions of two partitions send the same message, and serve',
    options: { functions: sharedMessage },
    run: (model) => model.explore([model.messages(0), model.messages(2)]),
  },
  {
    name: 'two messages of one function, one of another, and all serve',
    options: { functions: sharedMessage.slice(0, 2) },
    run: (model) => model.explore([model.messages(0, 2), model.messages(1)]),
  },
  {
    name: 'three functions send, one thread serves',
    options: { functions: sharedMessage, sendersServe: false },
    run: (model) => model.explore([model.messages(0), model.messages(1), model.messages(2), model.consumer(3)]),
  },
  {
    name: 'two functions send, two threads serve',
    options: { functions: sharedMessage.slice(1), sendersServe: false },
    run: (model) => model.explore([model.messages(1), model.messages(2), model.consumer(2), model.consumer(2)]),
  },
  {
    name: 'a function sends twice, two threads serve',
    options: { functions: sharedMessage.slice(1), sendersServe: false },
    run: (model) => model.explore([model.messages(1, 2), model.consumer(2), model.consumer(2)]),
  },
  {
    name: 'different messages want the one place',
    options: { functions: [{ requester: 0, partition: 0 }], sendersServe: false },
    run: (model) => model.explore([model.different(0, 7, 8), model.consumer(3), model.consumer(2)]),
  },
  {
    name: 'a line rises for two functions, and falls for one',
    options: { functions: sharedLine.slice(0, 2) },
    run: (model) => model.explore([model.levels(0, 'assert', 'deassert'), model.levels(1, 'assert')]),
  },
  {
    name: 'a line of two partitions: each sees its own',
    options: { functions: sharedLine.slice(1) },
    run: (model) => model.explore([model.levels(1, 'assert', 'deassert'), model.levels(2, 'assert')]),
  },
  {
    name: 'a level up, down and up, one thread serves',
    options: { functions: sharedLine.slice(1), sendersServe: false },
    run: (model) => model.explore([model.levels(1, 'assert', 'deassert', 'assert'), model.consumer(4)]),
  },
  {
    name: 'a level up and down, two threads serve',
    options: { functions: sharedLine.slice(0, 1), sendersServe: false },
    run: (model) => model.explore([model.levels(0, 'assert', 'deassert'), model.consumer(3), model.consumer(3)]),
  },
  {
    name: 'functions of two ports',
    options: {
      functions: [
        { requester: 0, partition: 0, data: 1 },
        { requester: 0x100, partition: 1, source: LINE },
      ],
      ports: [
        { functions: 1, identifiers: 1 },
        { functions: 1, identifiers: 1 },
      ],
    },
    run: (model) => model.explore([model.messages(0), model.levels(0x100, 'assert')]),
  },
  {
    name: 'a function beyond its rate waits for the end of its window',
    options: { functions: sharedMessage.slice(0, 1), throttle: { most: 1, windowTicks: 100 } },
    run: (model) => model.explore([model.messages(0, 2), model.alarm(2, 100)]),
  },
  {
    name: 'a pin beyond its rate rises later, but falls at once',
    options: { functions: sharedLine.slice(0, 1), throttle: { most: 1, windowTicks: 100 } },
    run: (model) => model.explore([model.levels(0, 'assert', 'deassert', 'assert', 'deassert'), model.alarm(2, 100)]),
  },
  {
    name: 'a function that is held back sends on while its window ends',
    options: { functions: sharedMessage.slice(0, 1), throttle: { most: 1, windowTicks: 100 } },
    run: (model) => model.explore([model.messages(0, 3), model.alarm(3, 100)]),
  },
  {
    name: 'whoever serves for long leaves the rest to another',
    options: { functions: sharedMessage.slice(1), mostRounds: 1 },
    run: (model) => model.explore([model.messages(1), model.messages(2), model.alarm(3, 1)]),
  },
  {
    name: 'a function is taken from one partition and given to another while its pin rises',
    options: { functions: sharedLine.slice(0, 1) },
    run: (model) =>
      model.explore(
        [
          model.levels(0, 'assert'),
          model.program('manager', () => {
            model.service.unassign(0);
            model.assign({ requester: 0, partition: 1, source: LINE });
          }),
        ],
        { isMoved: true },
      ),
  },
  {
    name: 'a function is taken away while it sends',
    options: { functions: sharedMessage.slice(0, 1) },
    run: (model) =>
      model.explore([model.messages(0, 2), model.program('manager', () => model.service.unassign(0))], {
        isMoved: true,
      }),
  },
];

for (const relay of [true, false]) {
  for (const { name, options, run } of cases) {
    test(`${relay ? 'relay' : 'plain wire'}: ${name}`, (t) => {
      const { failure, states, ends } = run(new RelayModel({ ...options, relay }));
      t.diagnostic(`${states} states, ${ends} ends`);
      assert.equal(failure && `${failure.what}\n${failure.steps.join('\n')}`, undefined);
      assert.ok(states > 20 && ends > 0, `${states} states`);
    });
  }
}

/** What is seen where two steps come in the other order, or one is not there. */
const faults: readonly { fault: Fault; relay: boolean; of: string; sees: RegExp }[] = [
  { fault: 'data after indicator', relay: true, of: 'two functions send, two threads serve', sees: /lost wake-up/ },
  { fault: 'data after indicator', relay: false, of: 'two functions send, two threads serve', sees: /lost wake-up/ },
  {
    fault: 'indicator after message',
    relay: true,
    of: 'two functions send, two threads serve',
    sees: /lost wake-up/,
  },
  {
    fault: 'requester before identifier',
    relay: true,
    of: 'two functions send, two threads serve',
    sees: /lost wake-up/,
  },
  { fault: 'take before clear', relay: true, of: 'two functions send, two threads serve', sees: /lost wake-up/ },
  { fault: 'take before clear', relay: false, of: 'two functions send, two threads serve', sees: /lost wake-up/ },
  {
    fault: 'no second look',
    relay: true,
    of: 'two functions of two partitions send the same message, and serve',
    sees: /lost/,
  },
  {
    fault: 'no second look',
    relay: false,
    of: 'two functions of two partitions send the same message, and serve',
    sees: /lost/,
  },
  { fault: 'take in two steps', relay: true, of: 'three functions send, one thread serves', sees: /lost wake-up/ },
  {
    fault: 'lifted after taking',
    relay: true,
    of: 'a function that is held back sends on while its window ends',
    sees: /a message still waits/,
  },
  {
    fault: 'lifted after taking',
    relay: true,
    of: 'a pin beyond its rate rises later, but falls at once',
    sees: /its partition sees/,
  },
  {
    fault: 'falls are left to others',
    relay: true,
    of: 'a line of two partitions: each sees its own',
    sees: /no longer seen/,
  },
  {
    fault: 'falls are left to others',
    relay: false,
    of: 'a line of two partitions: each sees its own',
    sees: /no longer seen/,
  },
  {
    fault: 'read after taking',
    relay: true,
    of: 'different messages want the one place',
    sees: /message \d: \d came of \d/,
  },
];

for (const { fault, relay, of, sees } of faults) {
  test(`${relay ? 'relay' : 'plain wire'} with ${fault}: ${of}: it is found`, () => {
    const { options, run } = must(cases.find(({ name }) => name === of));
    const { failure } = run(new RelayModel({ ...options, relay, fault }));
    assert.match(String(failure?.what), sees);
  });
}

test('where a line is as a partition sees it depends on its order, too: shown late, it is wrong', () => {
  const options = {
    functions: sharedLine.slice(1),
    sendersServe: false,
    relay: true,
    fault: 'indicator after message',
  } as const;
  const model = new RelayModel(options);
  const { failure } = model.explore([model.levels(1, 'assert', 'deassert'), model.consumer(2)]);
  assert.match(String(failure?.what), /lost wake-up|partition sees|delivered of/);
});
