import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Aclint, NEVER } from './aclint.ts';
import { blockFor, checkRegisterModel, FakeClock, type Journal } from './platform.testing.ts';

const HARTS = 3;
const compareAt = (hart: number) => 0x4000 + hart * 8;
const MTIME = 0xbff8;

function makeAclint(journal: Journal = [], block = blockFor(Aclint.layout(HARTS))) {
  const clock = new FakeClock();
  const software = new Map<number, boolean>();
  const deadlines = new Map<number, bigint>();
  const offsets: bigint[] = [];
  const aclint = new Aclint('clint@2000000', block, HARTS, {
    clock,
    out: {
      setSoftware: (hart, level) => {
        software.set(hart, level);
        journal.push(`software ${hart} ${level ? 1 : 0}`);
      },
      setTimerDeadline: (hart, ticks) => {
        deadlines.set(hart, ticks);
        journal.push(`deadline ${hart} ${ticks}`);
      },
      setTimeOffset: (ticks) => {
        offsets.push(ticks);
        journal.push(`offset ${ticks}`);
      },
    },
  });
  return { aclint, clock, software, deadlines, offsets };
}

function started() {
  const all = makeAclint();
  all.aclint.reset();
  return all;
}

checkRegisterModel('aclint', (journal, block) => {
  const { aclint, clock } = makeAclint(journal, block);
  return { device: aclint, registers: aclint.registers, clock };
});

test('msip drives the software interrupt of its hart with bit 0', () => {
  const { aclint, software } = started();
  aclint.write(4, 4, 0xffff_ffff);
  assert.equal(aclint.read(4, 4), 1);
  assert.deepEqual([software.get(0), software.get(1), software.get(2)], [false, true, false]);
  aclint.write(4, 4, 0xffff_fffe);
  assert.equal(software.get(1), false);
  aclint.write(4 * HARTS, 4, 1);
  assert.equal(aclint.state.unassignedWrites, 1, 'there is no such hart');
});

test('nothing is due after reset; a comparator ahead of the clock is a deadline, one behind it is now', () => {
  const { aclint, clock, deadlines } = started();
  assert.deepEqual([...deadlines.values()], [NEVER, NEVER, NEVER]);
  clock.now = 1000n;
  aclint.wide.write(compareAt(1), 1500n);
  assert.equal(deadlines.get(1), 1500n);
  aclint.wide.write(compareAt(1), 1000n);
  assert.equal(deadlines.get(1), 0n);
  aclint.wide.write(compareAt(1), NEVER);
  assert.equal(deadlines.get(1), NEVER);
  assert.equal(aclint.wide.read(compareAt(1)), NEVER);
});

test('halves: written apart they make one value, and no false deadline comes of the usual order', () => {
  const { aclint, clock, deadlines } = started();
  clock.now = 0x1_0000_0000n;
  aclint.write(compareAt(0), 4, 0xffff_ffff);
  aclint.write(compareAt(0) + 4, 4, 2);
  assert.equal(deadlines.get(0), 0x2_ffff_ffffn);
  aclint.write(compareAt(0), 4, 5);
  assert.equal(deadlines.get(0), 0x2_0000_0005n);
  assert.equal(aclint.read(compareAt(0), 4), 5);
  assert.equal(aclint.read(compareAt(0) + 4, 4), 2);
});

test('mtime follows the clock; writing it shifts every deadline and the time CSR', () => {
  const { aclint, clock, deadlines, offsets } = started();
  clock.now = 0x5_0000_0007n;
  assert.equal(aclint.wide.read(MTIME), 0x5_0000_0007n);
  assert.deepEqual([aclint.read(MTIME, 4), aclint.read(MTIME + 4, 4)], [7, 5]);
  aclint.wide.write(compareAt(2), 100n);
  assert.equal(deadlines.get(2), 0n);
  aclint.wide.write(MTIME, 40n);
  assert.equal(deadlines.get(2), 0x5_0000_0007n + 60n);
  assert.equal(offsets.at(-1), BigInt.asUintN(64, 40n - 0x5_0000_0007n));
  clock.now += 3n;
  assert.equal(aclint.wide.read(MTIME), 43n);
  aclint.write(MTIME, 4, 0);
  assert.equal(aclint.wide.read(MTIME), 0n);
});

test('a deadline beyond the clock is never', () => {
  const { aclint, clock, deadlines } = started();
  clock.now = 10n;
  aclint.wide.write(MTIME, 0n);
  aclint.wide.write(compareAt(0), NEVER - 1n);
  assert.equal(deadlines.get(0), NEVER);
});

test('an 8-byte access elsewhere is two of 4 bytes', () => {
  const { aclint, software } = started();
  aclint.wide.write(0, 0x1_0000_0001n);
  assert.deepEqual([software.get(0), software.get(1)], [true, true]);
  assert.equal(aclint.wide.read(0), 0x1_0000_0001n);
  assert.equal(aclint.wide.read(0x8000), 0n);
  assert.equal(aclint.state.unassignedReads, 2);
});
