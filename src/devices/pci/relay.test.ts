import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../base/assert.ts';
import { fieldsOf } from '../../base/struct.ts';
import { SharedWords, type Words } from '../../base/words.ts';
import { InterruptPort, portLayout } from './interrupt-port.ts';
import type { InterruptTransaction } from './transaction.ts';

const shape = { functions: 40, identifiers: 4 };

/** A port whose every change of a word is noted: `pins of 7`, `message`. */
function noted(relay: boolean) {
  const buffer = new SharedArrayBuffer(portLayout(shape).sizeBytes);
  const real = new SharedWords(buffer);
  const layout = portLayout(shape);
  const view = layout.view(buffer, 0);
  const log: string[] = [];
  let before = save();
  function save() {
    return {
      ...fieldsOf(layout, view),
      wire: view.wire,
      records: view.records.map(({ pins, pending }) => `${pins} ${pending}`),
    };
  }
  const note = (): void => {
    const now = save();
    if (now.message !== before.message) log.push('message');
    now.records.forEach((record, row) => {
      if (record !== before.records[row]) log.push(`record ${row}`);
    });
    if ([...view.indicator].join() !== indicator) log.push('indicator');
    indicator = [...view.indicator].join();
    before = now;
  };
  let indicator = [...view.indicator].join();
  const words = new Proxy(real, {
    get: (target, name) => {
      return (...args: number[]) => {
        const result = (target[name as keyof Words] as (...args: number[]) => number).call(target, ...args);
        note();
        return result;
      };
    },
  });
  const parts = { words: words as Words, at: 0, relay, ticks: () => 1, raise: () => void log.push('raise') };
  const port = new InterruptPort(shape, parts);
  return { port, log, view };
}

const message: InterruptTransaction = { requester: 0x108, kind: 'message', address: 0x2800_0000, data: 7 };
const rise: InterruptTransaction = { requester: 0x108, kind: 'assert', address: 0, data: 2 };

for (const [name, transaction] of Object.entries({ message, rise })) {
  test(`${name}: record, then indicator, then message, then the VMM is told`, () => {
    const { port, log } = noted(true);
    const row = must(port.records.attach(0x108));
    log.length = 0;
    port.line.send(transaction);
    assert.deepEqual(log, [`record ${row}`, 'indicator', 'message', 'raise']);
    assert.equal(must(port.relay).take(row >> 5), 1 << (row & 31));
    assert.equal(must(port.relay).take(row >> 5), 0, 'once');
  });

  test(`${name}: a plain wire leaves no trace of who it was but in the function`, () => {
    const { port, log, view } = noted(false);
    const row = must(port.records.attach(0x108));
    log.length = 0;
    port.line.send(transaction);
    assert.deepEqual(log, [`record ${row}`, 'message', 'raise']);
    assert.ok(view.indicator.every((word) => word === 0));
    assert.equal(port.takeWire(), name === 'message' ? 16 : 2, 'only by which line, or that it was a message');
  });
}

test('the relay forwards what it gets, unmodified, known or not, sense or nonsense', () => {
  const { port } = noted(true);
  port.records.attach(0x108);
  const forwarded: InterruptTransaction[] = [];
  const relay = must(port.relay);
  relay.forward = (transaction) => void forwarded.push(transaction);
  const all = [
    message,
    rise,
    { ...rise, kind: 'deassert' as const },
    { ...message, requester: 0x999 },
    { ...rise, data: 77 },
  ];
  for (const transaction of all) relay.send(transaction);
  assert.ok(forwarded.length === all.length && forwarded.every((one, i) => one === all[i]));
  assert.equal(port.unknown, 1);
});

test('a record keeps levels, rises and different messages, and merges equal ones', () => {
  const { port } = noted(true);
  const { records } = port;
  const row = must(records.attach(0x108));
  for (const kind of ['assert', 'deassert'] as const) port.line.send({ ...rise, kind });
  port.line.send({ ...rise, data: 4 });
  assert.equal(records.pins(row), 0b1010_1000, 'both rose, one is high');
  assert.equal(records.takeRise(row, 1), false);
  assert.equal(records.takeRise(row, 3), true);
  assert.equal(records.pins(row), 0b1000);
  for (const data of [1, 2, 3, 2, 4, 5]) port.line.send({ ...message, data });
  const places = [0, 1, 2, 3].filter((place) => (records.waiting(row, 0) & (1 << place)) !== 0);
  assert.deepEqual(places.map((place) => records.dataOf(row, place)).sort(), [1, 2, 3, 4]);
  assert.deepEqual(records.counters(row), { interrupts: 8, merged: 1, dropped: 1 });
  for (const place of places) records.take(row, place);
  port.line.send({ ...message, address: 0x1f_ffff_ffff_fffc, data: 0xffff_ffff });
  const place = 31 - Math.clz32(records.waiting(row, 0));
  assert.equal(records.addressOf(row, place), 0x1f_ffff_ffff_fffc);
  assert.equal(records.dataOf(row, place), 0xffff_ffff);
});

test('requesters come and go, as many as there is room for', () => {
  const { records } = noted(true).port;
  const rows = Array.from({ length: 40 }, (_, i) => must(records.attach(i * 8)));
  assert.equal(new Set(rows).size, 40);
  assert.equal(records.attach(999), undefined);
  for (let i = 0; i < 40; i += 2) records.detach(must(rows[i]));
  assert.equal(records.rowOf(0), undefined);
  for (let i = 1; i < 40; i += 2) assert.equal(records.rowOf(i * 8), rows[i], 'the others are found past them');
  for (let i = 0; i < 20; i++) assert.equal(records.requesterOf(must(records.attach(5000 + i))), 5000 + i);
  assert.equal(records.attach(999), undefined);
});
