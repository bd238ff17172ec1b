import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeMachine } from './pci.testing.ts';
import { Pciehp } from './pciehp.testing.ts';

const PORT = '00:01.0';
const CARD = '01:00.0';

/** A slot with its driver loaded; `serve` has the driver see to what its port's interrupt says, until it is silent. */
function driven(isPlugged: boolean) {
  const machine = new FakeMachine({
    ports: [{ id: 'rp0', device: 1, func: 0, isPlugged }],
    functions: [{ id: 'f', port: 'rp0', device: 0, func: 0 }],
  });
  machine.setConfig(PORT, 0x18, 4, 0x0001_0100);
  const driver = new Pciehp({
    read: (at, bytes) => machine.config(PORT, at, bytes),
    write: (at, bytes, value) => machine.setConfig(PORT, at, bytes, value),
  });
  const { slot } = machine.port();
  const serve = (): number => {
    let interrupts = 0;
    while (machine.port().func.interrupts.level) {
      assert.ok(driver.interrupt(), 'an interrupt has a cause');
      assert.ok(++interrupts < 10, 'the port falls silent');
    }
    return interrupts;
  };
  serve();
  return { machine, driver, slot, serve };
}

test('a driver takes a slot as it is: with a card in use, or empty and without power', () => {
  const full = driven(true);
  assert.deepEqual([full.driver.view, full.driver.did], ['on', []]);
  const empty = driven(false);
  assert.deepEqual([empty.driver.view, empty.slot.isPowered], ['off', false]);
  assert.equal(empty.slot.powerIndicator, 'off');
});

test('a card that comes is powered and found at once', () => {
  const { machine, driver, slot, serve } = driven(false);
  slot.plug();
  assert.ok(serve() > 0);
  assert.deepEqual(driver.did, ['add']);
  assert.deepEqual([driver.view, slot.powerIndicator, slot.isUp], ['on', 'on', true]);
  assert.equal(machine.config(CARD, 0, 4), 0x1041_1af4);
});

test('a card that is asked for goes after the driver has let go of it', () => {
  const { machine, driver, slot, serve } = driven(true);
  slot.requestRemoval();
  serve();
  assert.deepEqual([driver.view, slot.powerIndicator, slot.isPresent], ['blinking off', 'blink', true]);
  driver.later();
  serve();
  assert.deepEqual(driver.did, ['remove']);
  assert.deepEqual([driver.view, slot.isPresent, slot.isPowered], ['off', false, false]);
  assert.equal(machine.config(CARD, 0, 4), 0xffff_ffff);
});

test('a second press takes the first back', () => {
  const { driver, slot, serve } = driven(true);
  slot.requestRemoval();
  serve();
  slot.requestRemoval();
  serve();
  assert.deepEqual([driver.view, slot.powerIndicator], ['on', 'on']);
  assert.equal(slot.isPresent, true);
});

test('a card that is pulled out is noticed, and one that is put in again', () => {
  const { driver, slot, serve } = driven(true);
  for (let i = 1; i <= 3; i++) {
    slot.remove();
    assert.ok(serve() > 0);
    assert.equal(driver.view, 'off');
    slot.plug();
    assert.ok(serve() > 0);
    assert.equal(driver.view, 'on');
  }
  assert.deepEqual(driver.did, ['surprise', 'add', 'surprise', 'add', 'surprise', 'add']);
});

test('a card that comes and goes before the driver looks leaves an empty slot', () => {
  const { driver, slot, serve } = driven(false);
  slot.plug();
  slot.remove();
  serve();
  driver.later();
  assert.deepEqual([driver.view, slot.isPresent], ['off', false]);
  slot.plug();
  serve();
  driver.later();
  serve();
  assert.equal(driver.view, 'on');
});
