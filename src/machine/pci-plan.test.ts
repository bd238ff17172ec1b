import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planPci } from './pci-plan.ts';
import { slotsOf } from './slots.ts';

const slots = slotsOf({ vsock: {}, shares: [1], drives: [1] });
const plan = (id: string, queues?: number) =>
  planPci(slots, {
    ports: [{ id: 'rp0', device: 1, func: 0 }],
    functions: [{ id, port: 'rp0', device: 0, func: 0, ...(queues === undefined ? {} : { queues }) }],
  });

test('every device can be a function; those that are not named stay in slots', () => {
  for (const { id, kind } of slots) {
    const { slots: rest, pci } = plan(id);
    assert.deepEqual(
      rest.map((slot) => slot.id),
      slots.map((slot) => slot.id).filter((one) => one !== id),
    );
    assert.equal(pci?.functions[0]?.kind, kind);
  }
  assert.deepEqual(planPci(slots, true).slots, []);
});

test('disks and network interfaces have as many queues as their devices can have, others one', () => {
  assert.equal(plan('net0', 8).pci?.functions[0]?.queues, 8);
  assert.equal(plan('disk0', 4).pci?.functions[0]?.queues, 4);
  for (const [id, queues, fix] of [
    ['net0', 9, 'Give it a number from 1 to 8.'],
    ['net0', 0, 'Give it a number from 1 to 8.'],
    ['disk0', 5, 'Give it a number from 1 to 4.'],
    ['vsock0', 2, 'Leave them out.'],
  ] as const)
    assert.throws(() => plan(id, queues), { code: 'bad-pci', fix });
});
