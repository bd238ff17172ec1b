import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockFor, checkRegisterModel, FakeClock } from './platform.testing.ts';
import { type Finish, TestFinisher } from './test-finisher.ts';

checkRegisterModel('test finisher', (journal, block = blockFor(TestFinisher.layout)) => ({
  device: new TestFinisher('test@100000', block, { finish: (wish) => journal.push(JSON.stringify(wish)) }),
  registers: TestFinisher.registers,
  clock: new FakeClock(),
}));

const rows: readonly [bytes: 2 | 4, value: number, wish: Finish | undefined][] = [
  [4, 0x5555, { kind: 'poweroff' }],
  [2, 0x5555, { kind: 'poweroff' }],
  [4, 0x0007_3333, { kind: 'failure', code: 7 }],
  [4, 0xffff_3333, { kind: 'failure', code: 0xffff }],
  [4, 0x3333, { kind: 'failure', code: 1 }],
  [2, 0x3333, { kind: 'failure', code: 1 }],
  [4, 0x7777, { kind: 'reset' }],
  [4, 0x1234, undefined],
];

for (const [bytes, value, wish] of rows) {
  test(`${bytes}-byte write of 0x${value.toString(16)}: ${wish?.kind ?? 'ignored'}`, () => {
    const wishes: Finish[] = [];
    const device = new TestFinisher('test', blockFor(TestFinisher.layout), { finish: (w) => wishes.push(w) });
    device.reset();
    device.write(0, bytes, value);
    assert.deepEqual(wishes, wish === undefined ? [] : [wish]);
    assert.equal(device.state.unknownWishes, wish === undefined ? 1 : 0);
  });
}

test('a byte does not end a machine', () => {
  const wishes: Finish[] = [];
  const device = new TestFinisher('test', blockFor(TestFinisher.layout), { finish: (w) => wishes.push(w) });
  device.reset();
  device.write(0, 1, 0x55);
  device.write(4, 4, 0x5555);
  assert.deepEqual(wishes, []);
  assert.equal(device.state.unassignedWrites, 2);
});
